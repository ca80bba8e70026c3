package pegasus_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// splits are the ways a partition split can go. During none of them may an operation fail or a read
// be wrong.
var splits = map[string]func(t *testing.T, b *box){
	"at once": func(t *testing.T, b *box) {
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.FinishSplit(tableName))
	},
	"partition by partition": func(t *testing.T, b *box) {
		require.NoError(t, b.StartSplit(tableName))
		pass(50 * time.Millisecond)
		for parent := range b.PartitionCount(tableName) / 2 {
			require.NoError(t, b.SwitchSplit(tableName, parent))
			pass(50 * time.Millisecond)
			require.NoError(t, b.RegisterSplit(tableName, parent))
			pass(50 * time.Millisecond) // the routing still shows the child unready
			require.NoError(t, b.FinishSplit(tableName, parent))
			pass(50 * time.Millisecond)
		}
	},
	"cancelled": func(t *testing.T, b *box) {
		require.NoError(t, b.StartSplit(tableName))
		pass(50 * time.Millisecond)
		require.NoError(t, b.SwitchSplit(tableName))
		pass(50 * time.Millisecond)
		require.NoError(t, b.CancelSplit(tableName))
		pass(50 * time.Millisecond)
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.CancelSplit(tableName))
	},
	"with failover": func(t *testing.T, b *box) {
		require.NoError(t, b.StartSplit(tableName))
		b.Replica(0).Kill()
		pass(500 * time.Millisecond)
		require.NoError(t, b.RegisterSplit(tableName))
		require.NoError(t, b.MovePrimary(tableName, 0, 2))
		pass(50 * time.Millisecond)
		require.NoError(t, b.FinishSplit(tableName))
		b.Replica(0).Restart()
	},
	"twice": func(t *testing.T, b *box) {
		for range 2 {
			require.NoError(t, b.StartSplit(tableName))
			pass(20 * time.Millisecond)
			require.NoError(t, b.FinishSplit(tableName))
			pass(20 * time.Millisecond)
		}
	},
}

func TestSplitUnderLoad(t *testing.T) {
	for name, split := range splits {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
				load := startLoad(t, b.table, 6, 5, 5*time.Millisecond)
				pass(50 * time.Millisecond)
				split(t, b)
				pass(200 * time.Millisecond)
				load.stop()
				b.holdsRouting()
			})
		})
	}
}

// holdsRouting has the client find out, and checks that it knows the table as it is.
func (b *box) holdsRouting() {
	b.t.Helper()
	count := b.PartitionCount(tableName)
	for i := range count {
		_, err := b.get(keyIn(i, count))
		present(b.t, err)
	}
	partitions := b.client.Snapshot().Tables[0].Partitions
	require.Len(b.t, partitions, count)
	for i, partition := range partitions {
		require.Equal(b.t, b.Primary(tableName, i).Address(), partition.Primary)
	}
}

// TestDefect07SplitWithoutPrimary has a table split while a partition has no primary: nothing panics,
// and who does not need that partition is served.
func TestDefect07SplitWithoutPrimary(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		b.withoutPrimary(0)
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.FinishSplit(tableName, 1, 2, 3))
		b.set(keyIn(5, 8), "of a child")
		b.set(keyIn(1, 8), "of a parent")
		b.refused(keyIn(0, 8))
		b.refused(keyIn(4, 8)) // the child of the one without a primary
		require.NoError(t, b.AssignPrimary(tableName, 0, 1))
		require.NoError(t, b.FinishSplit(tableName))
		b.set(keyIn(4, 8), "of the last child")
		b.holds(keyIn(5, 8), "of a child")
		b.holds(keyIn(1, 8), "of a parent")
	})
}

// TestChildIsNotToldYet has a parent refuse the keys of a child that the meta servers do not name yet:
// the client asks again and again, with pauses.
func TestChildIsNotToldYet(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 1}, func(t *testing.T, b *box) {
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.RegisterSplit(tableName))
		queries := b.queries()
		wait := b.inBackground(func() {
			pass(time.Second)
			require.NoError(t, b.FinishSplit(tableName))
		})
		took := elapsed(func() { b.set(keyIn(1, 2), "value") })
		require.GreaterOrEqual(t, took, time.Second)
		require.Less(t, b.queries()-queries, 15)
		require.Less(t, b.requests(wire.Put), 15)
		wait()
		b.holds(keyIn(1, 2), "value")
	})
}
