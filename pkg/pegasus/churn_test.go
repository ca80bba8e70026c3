package pegasus_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestAllPrimariesMoveAtOnce has every primary of two tables of 64 partitions move while a thousand
// callers are at work: all succeed in no time, and each table is asked for once.
func TestAllPrimariesMoveAtOnce(t *testing.T) {
	const partitions, callers = 64, 500
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions}, func(t *testing.T, b *box) {
		_, err := b.CreateTable("other", onebox.TableOptions{Partitions: partitions})
		require.NoError(t, err)
		other, err := b.client.OpenTable(t.Context(), "other")
		require.NoError(t, err)
		for _, name := range []string{tableName, "other"} {
			for i := range partitions {
				require.NoError(t, b.MovePrimary(name, i, (b.Primary(name, i).Index()+1)%3))
			}
		}
		queries, requests := b.queries(), b.requests(wire.Put)
		took := elapsed(func() {
			var running sync.WaitGroup
			for _, table := range []*pegasus.Table{b.table, other} {
				for i := range callers {
					running.Go(func() {
						require.NoError(t, table.Set(t.Context(), fmt.Appendf(nil, "key %d", i), nil, []byte("value")))
					})
				}
			}
			running.Wait()
		})
		require.Zero(t, took)
		require.Equal(t, 2, b.queries()-queries)
		require.LessOrEqual(t, b.requests(wire.Put)-requests, 2*2*callers, "each at the old place and at the new one")
		require.NoError(t, b.client.Close())
	})
}

// TestCountHalved has the client learn of a split that is cancelled afterwards: the table has half as
// many partitions as the client knows, and nothing of that is noticed by those who use it.
func TestCountHalved(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		load := startLoad(t, b.table, 4, 8, 5*time.Millisecond)
		for range 3 {
			require.NoError(t, b.StartSplit(tableName))
			b.learn(8)
			pass(100 * time.Millisecond)
			require.NoError(t, b.CancelSplit(tableName))
			b.learn(4)
			pass(100 * time.Millisecond)
		}
		load.stop()
		b.holdsRouting()
	})
}

// learn moves a primary, so that the client asks for the routing, and checks how many partitions it
// finds.
func (b *box) learn(partitions int) {
	b.t.Helper()
	require.NoError(b.t, b.MovePrimary(tableName, 0, (b.Primary(tableName, 0).Index()+1)%3))
	pass(100 * time.Millisecond)
	require.Len(b.t, b.client.Snapshot().Tables[0].Partitions, partitions)
}

// TestTableMadeAnewUnderLoad drops a table that a hundred callers use, and makes it again half a
// second later with half, or twice, as many partitions: until then they are told that there is no such
// table, without each asking a meta server; from then on nobody fails.
func TestTableMadeAnewUnderLoad(t *testing.T) {
	for _, partitions := range []int{1, 2, 8, 3} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
				const callers, pause = 100, 20 * time.Millisecond
				b.set("key", "of the first")
				var made, ended atomic.Bool
				var failures, successes atomic.Int64
				var running sync.WaitGroup
				for i := range callers {
					running.Go(func() {
						for !ended.Load() {
							time.Sleep(pause)
							sure := made.Load()
							err := b.table.Set(t.Context(), fmt.Appendf(nil, "key %d", i), nil, nil)
							switch {
							case err == nil:
								successes.Inc()
							case sure:
								require.NoError(t, err, "there is a table again")
							default:
								require.ErrorIs(t, err, pegasus.ErrNoSuchTable)
								failures.Inc()
							}
						}
					})
				}
				pass(10 * pause)
				queries := b.queries()
				require.NoError(t, b.DropTable(tableName))
				pass(500 * time.Millisecond)
				require.Less(t, b.queries()-queries, 15)
				b.create(onebox.TableOptions{Partitions: partitions})
				made.Store(true)
				before := successes.Load()
				pass(2 * time.Second)
				ended.Store(true)
				running.Wait()
				require.Less(t, b.queries()-queries, 20)
				require.Positive(t, failures.Load())
				require.Greater(t, successes.Load()-before, int64(callers))
				_, err := b.get("key")
				require.Same(t, pegasus.ErrNotFound, err)
			})
		})
	}
}

// TestMetasReplacedOneByOne replaces every meta server by one that nobody configured, twice over, with
// routing that must be asked for all the time. At the end no server is left that the client was told of
// when it was opened.
func TestMetasReplacedOneByOne(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		configured := b.MetaAddresses()
		load := startLoad(t, b.table, 4, 4, 5*time.Millisecond)
		for i := range 6 {
			added := b.AddMeta()
			b.ElectLeader(added.Index())
			b.movesAreFollowed()
			b.Meta(i).Kill()
			b.movesAreFollowed()
			require.Equal(t, added.Address(), b.client.Snapshot().Meta.Leader)
		}
		for _, node := range b.Metas() {
			require.False(t, node.IsAlive() && slices.Contains(configured, node.Address()))
		}
		_, err := b.CreateTable("made last", single)
		require.NoError(t, err)
		table, err := b.client.OpenTable(t.Context(), "made last")
		require.NoError(t, err)
		require.NoError(t, set(t.Context(), table))
		load.stop()
	})
}

// movesAreFollowed moves primaries, which the client must find at the meta servers of the moment.
func (b *box) movesAreFollowed() {
	b.t.Helper()
	for i := range b.PartitionCount(tableName) {
		require.NoError(b.t, b.MovePrimary(tableName, i, (b.Primary(tableName, i).Index()+1)%3))
		pass(300 * time.Millisecond)
	}
	b.holdsRouting()
}
