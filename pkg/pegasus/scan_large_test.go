package pegasus_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// inNarrowBubble runs a test with a client that takes answers of up to 200,000 bytes.
func inNarrowBubble(t *testing.T, test func(t *testing.T, b *box)) {
	t.Helper()
	inBubble(t, onebox.Config{}, single, test, pegasus.WithConnections(rpc.Options{MaxResponseBytes: 200_000}))
}

// lost returns how many connections to the only server f costs.
func (b *box) lost(f func()) int {
	synctest.Wait() // the server may have yet to count the last one
	before := b.Primary(tableName, 0).Accepted()
	f()
	synctest.Wait()
	return b.Primary(tableName, 0).Accepted() - before
}

// A scan whose answers are too large for the client goes on with smaller ones, which cost no more
// connections: 1000 records are halved to 15, of which each has 10,000 bytes.
func TestScanAnswersTooLarge(t *testing.T) {
	inNarrowBubble(t, func(t *testing.T, b *box) {
		b.fill(100, 10_000)
		for name, options := range map[string]*pegasus.ScanOptions{
			"prefetch": nil, "no prefetch": {NoPrefetch: true}, "a large batch": {BatchSize: 1 << 30},
		} {
			lost := b.lost(func() {
				rows := drain(t, b.table.Scan(t.Context(), hashKey, nil, nil, options))
				require.Len(t, rows, 100, name)
				for i, r := range rows {
					require.Equal(t, fmt.Sprintf("%03d", i), r.sortKey)
					require.Len(t, r.value, 10_000)
				}
			})
			require.Equal(t, 6, lost, name)
		}
		require.Zero(t, b.lost(func() {
			require.Len(t, drain(t, b.table.Scan(t.Context(), hashKey, nil, nil, &pegasus.ScanOptions{NoValue: true})), 100)
			require.Len(t, drain(t, b.table.Scan(t.Context(), hashKey, nil, nil, &pegasus.ScanOptions{BatchSize: 15})), 100)
		}))
	})
}

// Large records may come late, when a server has a context of the scan, which is of no use any more then.
func TestScanAnswersTooLargeFromContexts(t *testing.T) {
	inNarrowBubble(t, func(t *testing.T, b *box) {
		var rows []row
		for i := range 200 {
			size := 10
			if i >= 130 && i < 170 {
				size = 15_000
			}
			rows = append(rows, row{"hash key", fmt.Sprintf("%03d", i), strings.Repeat("v", size)})
		}
		b.load(rows)
		options := &pegasus.ScanOptions{BatchSize: 50}
		require.Equal(t, 2, b.lost(func() { // 13 large records are one too many, so that it comes down to 12
			require.Equal(t, rows, drain(t, b.table.Scan(t.Context(), []byte("hash key"), nil, nil, options)))
		}))
		require.Equal(t, rows, drain(t, b.table.ScanTable(t.Context(), options)))
		count, err := b.table.CountTable(t.Context(), nil)
		require.NoError(t, err)
		require.EqualValues(t, len(rows), count)
	})
}

// A record that is too large by itself fails the scan in the end, after as many tries as there are halves,
// and only then. The scan is where it was.
func TestScanOfARecordTooLarge(t *testing.T) {
	inNarrowBubble(t, func(t *testing.T, b *box) {
		rows := []row{{"hash key", "1", "small"}, {"hash key", "2", strings.Repeat("v", 300_000)}, {"hash key", "3", "small"}}
		b.load(rows)
		s, err := b.table.NewScanner([]byte("hash key"), nil, nil, &pegasus.ScanOptions{BatchSize: 8})
		require.NoError(t, err)
		defer s.Close()
		require.Equal(t, rows[:1], take(t, s, 1))
		for range 2 {
			lost := b.lost(func() {
				_, err = s.Next(t.Context())
				require.ErrorIs(t, err, pegasus.ErrAnswerTooLarge)
			})
			require.LessOrEqual(t, lost, 4)
		}
		require.NoError(t, b.table.Del(t.Context(), []byte("hash key"), []byte("2")))
		require.Equal(t, rows[2:], rest(t, s))
	})
}

// MultiGetAll does the same, in both directions: 3000 records are halved to 11.
func TestMultiGetAllAnswersTooLarge(t *testing.T) {
	inNarrowBubble(t, func(t *testing.T, b *box) {
		b.fill(100, 10_000)
		for _, reverse := range []bool{false, true} {
			options := &pegasus.RangeOptions{Reverse: reverse}
			lost := b.lost(func() {
				found, err := b.collect("", "", options)
				require.NoError(t, err)
				require.Len(t, found, 100)
				for i, r := range found {
					if reverse {
						i = 99 - i
					}
					require.Equal(t, fmt.Sprintf("%03d", i), string(r.SortKey))
				}
			})
			require.Equal(t, 8, lost)
			require.Zero(t, options.MaxCount, "options are the caller's")
		}
		sent := b.requests(wire.MultiGet)
		_, err := b.table.MultiGetRange(t.Context(), hashKey, nil, nil, nil)
		require.ErrorIs(t, err, pegasus.ErrAnswerTooLarge, "one answer is what the caller has asked for")
		require.Equal(t, sent+1, b.requests(wire.MultiGet))
	})
}
