package meta

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/onebox"
)

// Every lost connection makes the routing doubtful, and every refresh restores trust in it. As long as
// the meta server has no other primary to offer, that is no news: requests to a dead server must not
// keep the client asking a hundred times a second.
func TestRestoredTrustIsNoNews(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		b.Replica(0).Kill()
		before, version, doubts := b.queries(), table.Load().Serial(), 0
		for end := time.Now().Add(time.Minute); time.Now().Before(end); pass(5 * time.Millisecond) {
			_, p := table.Load().Value().Locate(0)
			require.ErrorIs(t, p.Primary.Connect(t.Context()), rpc.ErrConnect)
			if !p.Trusted() {
				doubts++
				table.Refresh(ReasonNodeTrouble)
			}
		}
		require.LessOrEqual(t, b.queries()-before, 2*60+8)
		require.Greater(t, table.Load().Serial(), version+30, "trust was restored again and again")
		require.Greater(t, doubts, 1000)
	})
}

// A lost connection is doubted at once in all partitions of that server and in no others, until a meta
// server was asked.
func TestTrust(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		trusted := func() (list []bool) {
			r := table.Load().Value()
			for i := range r.Partitions {
				list = append(list, r.Partitions[i].Trusted())
			}
			return list
		}
		for _, p := range table.Load().Value().Partitions {
			require.NoError(t, p.Primary.Connect(t.Context()))
		}
		first := table.Load()
		b.Replica(0).Kill()
		synctest.Wait()
		require.Equal(t, []bool{false, true, true, false}, trusted())
		require.False(t, first.Value().trusted())

		table.Refresh(ReasonNodeTrouble)
		synctest.Wait()
		require.Equal(t, []bool{true, true, true, true}, trusted())
		require.Equal(t, first.Serial()+1, table.Load().Serial())
		require.False(t, first.Value().Partitions[0].Trusted(), "published is frozen")
	})
}

// A partition whose newer configuration is kept against an older answer is trusted again as well.
func TestTrustOfWhatIsKept(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		p := &table.Load().Value().Partitions[0]
		require.NoError(t, p.Primary.Connect(t.Context()))
		answer, err := table.manager.QueryConfig(t.Context(), tableName)
		require.NoError(t, err)
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		table.Refresh(ReasonRefused)
		synctest.Wait()
		p = &table.Load().Value().Partitions[0]
		require.NoError(t, p.Primary.Connect(t.Context()))
		b.Replica(1).Kill()
		synctest.Wait()
		require.False(t, p.Trusted())
		next, older, news := table.Load().Value().succeededBy(mustRoute(t, table.manager.pool, answer), false)
		require.True(t, older)
		require.False(t, news)
		require.Same(t, p.Primary, next.Partitions[0].Primary)
		require.True(t, next.Partitions[0].Trusted())
		require.False(t, p.Trusted())
	})
}

// Connections that no table and no meta state needs any more are closed, others are not.
func TestUnusedConnectionsAreClosed(t *testing.T) {
	inBubble(t, onebox.Config{MinReplicas: 1}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		open := func(name string) *Table {
			_, err := b.CreateTable(name, onebox.TableOptions{Partitions: 1, Replicas: 1})
			require.NoError(t, err)
			table, err := m.OpenTable(t.Context(), name)
			require.NoError(t, err)
			return table
		}
		one, two := open("one"), open("two")
		connect := func(table *Table) {
			require.NoError(t, table.Load().Value().Partitions[0].Primary.Connect(t.Context()))
		}
		connections := func() (list []int) {
			synctest.Wait()
			for _, node := range b.Replicas() {
				list = append(list, node.Connections())
			}
			require.Equal(t, 1, b.Meta(0).Connections())
			return list
		}
		move := func(table *Table, server int) {
			require.NoError(t, b.MovePrimary(table.Name(), 0, server))
			require.NoError(t, b.RemoveReplica(table.Name(), 0, (server+2)%3)) // where it was
			table.Refresh(ReasonRefused)
			pass(2 * time.Second)
			connect(table)
		}
		connect(one)
		connect(two)
		require.Equal(t, []int{1, 0, 0}, connections())
		move(one, 1)
		require.Equal(t, []int{1, 1, 0}, connections(), "the other table needs the old one")
		move(two, 1)
		require.Equal(t, []int{0, 1, 0}, connections())
		move(one, 2)
		require.Equal(t, []int{0, 1, 1}, connections())
		one.Close()
		require.Equal(t, []int{0, 1, 0}, connections())
		require.Equal(t, b.Replica(1).Accepted(), 1, "it was used all the time")
	})
}
