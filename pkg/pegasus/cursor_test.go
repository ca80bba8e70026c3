package pegasus_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// A cursor taken after any number of records goes on after exactly these, by another client, with the
// same range and filters, whatever the options say.
func TestCursorResumesAnywhere(t *testing.T) {
	rows := users(12, 5)
	withRows(t, 3, rows, func(t *testing.T, b *box, _ *pegasus.Scanner) {
		another, err := b.open().OpenTable(t.Context(), tableName)
		require.NoError(t, err)
		o := batches(4)
		o.SortKeyFilter = pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("0")}
		hostile := &pegasus.ScanOptions{
			StartExclusive: true, StopInclusive: true, SortKeyFilter: pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte("x")},
		}
		scanners, err := b.table.TableScanners(1, o)
		require.NoError(t, err)
		s := scanners[0]
		for taken := range rows {
			again, err := another.ResumeScanner(s.Cursor(), hostile)
			require.NoError(t, err)
			require.Len(t, rest(t, again), len(rows)-taken)
			take(t, s, 1)
		}
		for range 2 { // before and after the end was returned
			again, err := another.ResumeScanner(s.Cursor(), nil)
			require.NoError(t, err)
			require.Empty(t, rest(t, again))
			require.Empty(t, rest(t, s))
		}
	})
}

func TestCursorOfHashKey(t *testing.T) {
	rows := users(2, 50)
	withRows(t, 2, rows, func(t *testing.T, b *box, _ *pegasus.Scanner) {
		want := drain(t, b.table.Scan(t.Context(), []byte("user 1"), []byte("010"), []byte("030"), &pegasus.ScanOptions{StartExclusive: true, StopInclusive: true}))
		require.Len(t, want, 20)
		s, err := b.table.NewScanner([]byte("user 1"), []byte("010"), []byte("030"), &pegasus.ScanOptions{StartExclusive: true, StopInclusive: true, BatchSize: 7})
		require.NoError(t, err)
		for _, r := range want {
			again, err := b.table.ResumeScanner(s.Cursor(), nil)
			require.NoError(t, err)
			count, err := again.Count(t.Context())
			require.NoError(t, err)
			found := take(t, s, 1)
			require.Equal(t, r, found[0])
			again, err = b.table.ResumeScanner(s.Cursor(), nil)
			require.NoError(t, err)
			require.Len(t, rest(t, again), int(count)-1)
		}
		before := b.requests(wire.GetScanner)
		again, err := b.table.ResumeScanner(s.Cursor(), nil)
		require.NoError(t, err)
		require.Empty(t, rest(t, again))
		require.Equal(t, before, b.requests(wire.GetScanner), "nothing can be after the stop")
	})
}

func TestForeignCursors(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		_, err := b.CreateTable("another", onebox.TableOptions{})
		require.NoError(t, err)
		another, err := b.client.OpenTable(t.Context(), "another")
		require.NoError(t, err)
		s, err := another.NewScanner(hashKey, nil, nil, nil)
		require.NoError(t, err)
		_, err = b.table.ResumeScanner(s.Cursor(), nil)
		require.ErrorIs(t, err, pegasus.ErrTableReplaced)
		_, err = b.table.ResumeScanner([]byte("no cursor"), nil)
		require.ErrorIs(t, err, pegasus.ErrCursor)
		require.Equal(t, "scan", failed(t, err).Operation)
		_, err = b.table.ResumeScanner(s.Cursor(), &pegasus.ScanOptions{BatchSize: -1})
		require.ErrorIs(t, err, pegasus.ErrInvalidArgument)
	})
}

// Cursors stay small, also in the midst of a table of many partitions.
func TestCursorSize(t *testing.T) {
	rows := users(500, 1)
	withRows(t, 256, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		for range 10 {
			take(t, s, 49)
			require.Less(t, len(s.Cursor()), 4<<10)
		}
		require.Len(t, rest(t, s), 10)
		require.Less(t, len(s.Cursor()), 64)
	})
}
