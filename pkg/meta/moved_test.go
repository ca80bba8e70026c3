package meta

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// headerOf is that of a request for the partition that has the hash.
func (t *Table) headerOf(hash uint64) (header *wire.Header, address string) {
	_, p := t.Load().Value().Locate(hash)
	return &wire.Header{GPID: p.GPID, PartitionHash: hash}, p.Primary.Address()
}

func TestMoved(t *testing.T) {
	const hash = 4 + 1 // of partition 1, and of 5 after a split
	for name, test := range map[string]struct {
		change func(b *box) error
		moved  bool
	}{
		"nothing":           {func(*box) error { return nil }, false},
		"another partition": {func(b *box) error { return b.MovePrimary(tableName, 2, 1) }, false},
		"moved":             {func(b *box) error { return b.MovePrimary(tableName, 1, 2) }, true},
		"no primary":        {func(b *box) error { return b.ClearPrimary(tableName, 1) }, true},
		"split begun":       {func(b *box) error { return b.StartSplit(tableName) }, false},
		"split": {func(b *box) error {
			require.NoError(b.t, b.StartSplit(tableName))
			return b.FinishSplit(tableName)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
				header, address := table.headerOf(hash)
				moved, news := table.Moved(header, address)
				require.False(t, moved)
				before := table.Load()
				require.NoError(t, test.change(b))
				require.NoError(t, table.Confirm(t.Context()))
				synctest.Wait()
				select {
				case <-news:
					require.NotSame(t, before, table.Load())
				default:
					require.Same(t, before, table.Load())
				}
				moved, news = table.Moved(header, address)
				require.Equal(t, test.moved, moved)
				select {
				case <-news:
					require.Fail(t, "there are no news yet")
				default:
				}
				header.Backup = true
				moved, news = table.Moved(header, "10.9.9.9:1")
				require.False(t, moved, "secondaries are chosen otherwise")
				require.Nil(t, news)
			})
		})
	}
}

// The closed channel of a table that was closed must not have anybody ask again and again.
func TestMovedOfAClosedTable(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		header, address := table.headerOf(1)
		_, news := table.Moved(header, address)
		table.Close()
		<-news
		moved, news := table.Moved(header, address)
		require.False(t, moved)
		require.Nil(t, news)
	})
}
