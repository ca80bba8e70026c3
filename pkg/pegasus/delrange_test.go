package pegasus_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

func TestDelRange(t *testing.T) {
	type options = pegasus.DelRangeOptions
	for name, test := range map[string]struct {
		start, stop string
		options     *options
		want        func(sortKey string) bool
	}{
		"everything":  {"", "", nil, func(string) bool { return true }},
		"a range":     {"020", "150", nil, func(k string) bool { return k >= "020" && k < "150" }},
		"other flags": {"020", "150", &options{StartExclusive: true, StopInclusive: true}, func(k string) bool { return k > "020" && k <= "150" }},
		"filtered": {"020", "", &options{SortKeyFilter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("7")}},
			func(k string) bool { return k >= "020" && strings.HasSuffix(k, "7") }},
		"nothing":     {"5", "4", nil, func(string) bool { return false }},
		"by ones":     {"", "", &options{BatchSize: 1}, func(string) bool { return true }},
		"all at once": {"", "", &options{BatchSize: 5000}, func(string) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
				rows := users(2, 250)
				b.load(rows)
				var left []row
				for _, r := range rows {
					if r.hashKey != "user 1" || !test.want(r.sortKey) {
						left = append(left, r)
					}
				}
				deleted, err := b.table.DelRange(t.Context(), []byte("user 1"), []byte(test.start), []byte(test.stop), test.options)
				require.NoError(t, err)
				require.EqualValues(t, len(rows)-len(left), deleted)
				require.Equal(t, left, sorted(drain(t, b.table.ScanTable(t.Context(), nil))))
			})
		})
	}
}

// Requests stay below what servers accept, however long the sort keys are.
func TestDelRangeOfLongKeys(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for i := range 20 {
			key := append(fmt.Appendf(nil, "%02d", i), bytes.Repeat([]byte("k"), 130_000)...)
			require.NoError(t, b.table.Set(t.Context(), hashKey, key, nil))
		}
		deleted, err := b.table.DelRange(t.Context(), hashKey, nil, nil, nil)
		require.NoError(t, err)
		require.EqualValues(t, 20, deleted)
		require.Equal(t, 3, b.requests(wire.MultiRemove))
	})
}

// TestDefect47DelRangeSaysHowFarItCame has a DelRange fail at every request: the error says what was
// deleted and where to go on, and does not hide its cause.
func TestDefect47DelRangeSaysHowFarItCame(t *testing.T) {
	rows := users(1, 100)
	for at := range 9 {
		for _, method := range []*wire.Method{wire.MultiRemove, wire.Scan} {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				b.load(rows)
				requests := atomic.Int64{}
				remove := b.Primary(tableName, 0).Inject(onebox.Fault{Error: wire.ErrACLDeny, Match: func(r *onebox.Request) bool {
					return r.Is(method) && int(requests.Inc()) > at
				}})
				deleted, err := b.table.DelRange(t.Context(), []byte("user 0"), []byte("005"), []byte("095"), &pegasus.DelRangeOptions{BatchSize: 10})
				var failure *pegasus.DelRangeError
				require.ErrorAs(t, err, &failure)
				require.Equal(t, wire.ErrACLDeny, failed(t, err).Server)
				require.Equal(t, deleted, failure.Deleted)
				left := drain(t, b.table.Scan(t.Context(), []byte("user 0"), nil, nil, &pegasus.ScanOptions{BatchSize: 1000}))
				require.EqualValues(t, len(rows)-len(left), deleted)
				start := failure.NextSortKey
				if start == nil {
					require.Zero(t, deleted)
					start = []byte("005")
				} else {
					require.Equal(t, string(start), left[5].sortKey)
				}
				remove()
				more, err := b.table.DelRange(t.Context(), []byte("user 0"), start, []byte("095"), nil)
				require.NoError(t, err)
				require.EqualValues(t, 90, deleted+more)
				require.Equal(t, append(rows[:5:5], rows[95:]...), drain(t, b.table.Scan(t.Context(), []byte("user 0"), nil, nil, nil)))
			})
		}
	}
}

// A DelRange ends with its context, in doubt about the last batch, and goes on through failovers.
func TestDelRangeInDoubt(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.load(users(1, 100))
		requests := atomic.Int64{}
		remove := b.Primary(tableName, 0).Inject(onebox.Fault{DropReply: true, Match: func(r *onebox.Request) bool {
			return r.Is(wire.MultiRemove) && requests.Inc() > 4
		}})
		deleted, err := b.table.DelRange(b.within(pegasus.DefaultOperationTimeout), []byte("user 0"), nil, nil, &pegasus.DelRangeOptions{BatchSize: 10})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, pegasus.InDoubt, failed(t, err).Outcome)
		require.EqualValues(t, 40, deleted)
		var failure *pegasus.DelRangeError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, "040", string(failure.NextSortKey))
		require.ErrorContains(t, err, "40 records")
		remove()
		finished := b.inBackground(func() {
			for range 5 {
				b.movePrimaries()
				pass(1)
			}
		})
		_, err = b.table.DelRange(t.Context(), []byte("user 0"), failure.NextSortKey, nil, &pegasus.DelRangeOptions{BatchSize: 3})
		require.NoError(t, err)
		finished()
		require.Empty(t, drain(t, b.table.ScanTable(t.Context(), nil)))
	})
}
