package pegasus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// disturbances are things that clusters live through. During none of them may an operation fail or a
// read be wrong.
var disturbances = map[string]func(t *testing.T, b *box){
	"primary killed": func(_ *testing.T, b *box) {
		b.Replica(0).Kill()
		pass(time.Second)
		b.Replica(0).Restart()
	},
	"primary restarted before anybody noticed": func(_ *testing.T, b *box) {
		b.Replica(0).Kill()
		b.Replica(0).Restart()
		pass(50 * time.Millisecond)
		b.Replica(0).Kill()
		pass(150 * time.Millisecond)
		b.Replica(0).Restart()
	},
	"primaries moved": func(t *testing.T, b *box) {
		for i := range 12 {
			require.NoError(t, b.MovePrimary(tableName, i%b.PartitionCount(tableName), i%3))
			pass(20 * time.Millisecond)
		}
	},
	"replicas removed": func(t *testing.T, b *box) {
		for i := range b.PartitionCount(tableName) {
			require.NoError(t, b.RemoveReplica(tableName, i, b.Primary(tableName, i).Index()))
			pass(20 * time.Millisecond)
		}
	},
	"primary and meta leader killed at once": func(_ *testing.T, b *box) {
		leader := b.Leader()
		leader.Kill()
		b.Replica(1).Kill()
		pass(time.Second)
		leader.Restart()
		b.Replica(1).Restart()
	},
	"meta leaders elected": func(_ *testing.T, b *box) {
		for i := range 6 {
			b.ElectLeader(i % 3)
			require.NoError(b.t, b.MovePrimary(tableName, 0, i%3))
			pass(50 * time.Millisecond)
		}
	},
	"all meta servers down": func(_ *testing.T, b *box) {
		for _, node := range b.Metas() {
			node.Kill()
		}
		pass(3 * time.Second)
		for _, node := range b.Metas() {
			node.Restart()
		}
	},
	"primary moved while all meta servers are down": func(t *testing.T, b *box) {
		for _, node := range b.Metas() {
			node.Kill()
		}
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		pass(2 * time.Second)
		for _, node := range b.Metas() {
			node.Restart()
		}
	},
	"partition without a primary": func(t *testing.T, b *box) {
		require.NoError(t, b.ClearPrimary(tableName, 0))
		pass(2 * time.Second)
		require.NoError(t, b.AssignPrimary(tableName, 0, 2))
	},
	"connections lost": func(_ *testing.T, b *box) {
		for range 2 {
			b.injectAll(onebox.Fault{CloseBefore: true, Times: 1})
			b.injectAll(onebox.Fault{CloseAfter: true, Times: 1})
			b.injectAll(onebox.Fault{Garbage: []byte("garbage"), Times: 1})
			pass(300 * time.Millisecond)
		}
	},
	"server paused": func(_ *testing.T, b *box) {
		b.Replica(0).Pause()
		pass(3 * time.Second)
		b.Replica(0).Resume()
	},
	"server unreachable": func(_ *testing.T, b *box) {
		b.Replica(2).Blackhole(true)
		pass(3 * time.Second)
		b.Replica(2).Blackhole(false)
	},
}

func TestDisturbances(t *testing.T) {
	for name, disturb := range disturbances {
		for _, partitions := range []int{1, 3, 6} {
			t.Run(fmt.Sprintf("%s, %d partitions", name, partitions), func(t *testing.T) {
				options := onebox.TableOptions{Partitions: partitions}
				inBubble(t, onebox.Config{}, options, func(t *testing.T, b *box) {
					load := startLoad(t, b.table, 6, 3, 5*time.Millisecond)
					pass(100 * time.Millisecond)
					disturb(t, b)
					pass(300 * time.Millisecond)
					load.stop()
				}, pegasus.WithConnections(rpc.Options{SilenceLimit: time.Second, DialTimeout: time.Second}))
			})
		}
	}
}

// TestDefect14InFlightCallsMove has more calls in flight than a budget of retries is large when their
// connection is lost: all of them end well, on the next primary.
func TestDefect14InFlightCallsMove(t *testing.T) {
	const calls = 4000
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Replica(0).Pause()
		var running sync.WaitGroup
		var good atomic.Uint32
		for range calls {
			running.Go(func() {
				if value, err := b.get("key"); err == nil && value == "value" {
					good.Inc()
				}
			})
		}
		pass(10 * time.Millisecond)
		queries := b.queries()
		b.Replica(0).Kill()
		took := elapsed(running.Wait)
		require.Equal(t, uint32(calls), good.Load())
		require.Less(t, took, time.Second)
		require.Less(t, b.queries()-queries, 20, "each of them asked the meta servers")
	})
}

// Retries go where the primary is, not where it was.
func TestDefect05And17MovedPrimary(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		old, queries := b.Replica(0).Requests(wire.Get), b.queries()
		b.holds("key", "value")
		require.Equal(t, old+1, b.Replica(0).Requests(wire.Get), "ERR_INVALID_STATE, once")
		require.Equal(t, 1, b.Replica(1).Requests(wire.Get))
		require.Equal(t, queries+1, b.queries())
		b.holds("key", "value")
		require.Equal(t, old+1, b.Replica(0).Requests(wire.Get))
	})
}

// A node that is back is found with the next dial, not after a minute, and not when the meta servers
// are next asked: by an operation that waited for it and by a new one, however long it was away.
func TestDefect01And15Redial(t *testing.T) {
	inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Replica(0).Kill()
		_, err := b.table.Get(b.within(50*time.Millisecond), []byte("key"), nil)
		require.ErrorIs(t, err, rpc.ErrConnect)
		pass(10 * time.Second)
		const longestPause = 100 * time.Millisecond // rpc.Options.BackoffMax
		for _, away := range []time.Duration{200 * time.Millisecond, 3 * time.Second} {
			wait := b.inBackground(func() { b.holds("key", "value") })
			pass(away)
			b.Replica(0).Restart()
			took := elapsed(func() {
				b.holds("key", "value")
				wait()
			})
			require.LessOrEqual(t, took, longestPause)
			b.Replica(0).Kill()
		}
	})
}

// TestNoPrimary takes the primary of one partition away: the others do not notice, and whoever needs
// it waits as long as time permits.
func TestDefect08NoPrimary(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
		b.withoutPrimary(1)
		var err error
		took := elapsed(func() { _, err = b.get(keyIn(1, 3)) })
		require.ErrorIs(t, err, pegasus.ErrNoPrimary)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
		require.Equal(t, 1, failed(t, err).Partition)
		require.Equal(t, pegasus.DefaultOperationTimeout, took)
		for _, partition := range []int{0, 2} {
			took := elapsed(func() { b.set(keyIn(partition, 3), "value") })
			require.Zero(t, took)
		}
	})
}

// TestPrimaryInTheLastMoment has a primary come back shortly before the deadline, when the pauses
// have become longer than the time that is left.
func TestPrimaryInTheLastMoment(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for range 20 {
			b.withoutPrimary(0)
			wait := b.inBackground(func() {
				pass(800 * time.Millisecond)
				require.NoError(t, b.AssignPrimary(tableName, 0, 2))
			})
			require.NoError(t, set(b.within(time.Second), b.table))
			wait()
		}
	}, pegasus.WithDirectory(meta.Options{MaxRefreshPause: 20 * time.Millisecond}))
}

// Of two tables on a silent node, each must find out and recover.
func TestDefect16SilentNode(t *testing.T) {
	for name, silence := range map[string]func(node *onebox.Node, on bool){
		"paused": func(node *onebox.Node, on bool) {
			if on {
				node.Pause()
			} else {
				node.Resume()
			}
		},
		"unreachable": (*onebox.Node).Blackhole,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				_, err := b.CreateTable("other", single)
				require.NoError(t, err)
				other, err := b.client.OpenTable(t.Context(), "other")
				require.NoError(t, err)
				silence(b.Replica(0), true)
				for _, table := range []*pegasus.Table{b.table, other} {
					took := elapsed(func() { require.NoError(t, set(t.Context(), table)) })
					require.Less(t, took, 1100*time.Millisecond)
				}
				silence(b.Replica(0), false)
				pass(time.Second)
				require.Less(t, b.Replica(0).Connections(), 2, "a connection was left open")
			}, pegasus.WithConnections(rpc.Options{SilenceLimit: time.Second, DialTimeout: time.Second}))
		})
	}
}

// Callers whose deadlines are shorter than the silence find out together.
func TestSilenceAcrossShortDeadlines(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Replica(0).Pause()
		began := time.Now()
		for {
			if _, err := b.table.Get(b.within(100*time.Millisecond), []byte("key"), []byte("sort")); err == nil {
				break
			}
			require.Less(t, time.Since(began), 2*time.Second)
		}
	}, pegasus.WithConnections(rpc.Options{SilenceLimit: time.Second}))
}

// TestDoubtIsCleared checks that trouble which fails nobody, or only who has little time, has the
// routing asked for all the same, and once.
func TestDoubtIsCleared(t *testing.T) {
	for name, trouble := range map[string]func(b *box){
		"node restarted": func(b *box) {
			b.Replica(0).Kill()
			b.Replica(0).Restart()
			pass(0)
			b.holds("key", "value")
		},
		"out of time": func(b *box) {
			b.injectAll(onebox.Fault{DropReply: true, Times: 1})
			_, err := b.table.Get(b.within(50*time.Millisecond), []byte("key"), nil)
			require.ErrorIs(b.t, err, context.DeadlineExceeded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				b.set("key", "value")
				queries := b.queries()
				trouble(b)
				pass(time.Second)
				require.Equal(t, queries+1, b.queries())
				b.holds("key", "value")
				pass(time.Second)
				require.Equal(t, queries+1, b.queries())
			})
		})
	}
}

// TestFewQueries has a thousand operations fail for seconds and counts what that costs the meta
// servers.
func TestFewQueries(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Error: wire.ErrInvalidState})
		queries := b.queries()
		var running sync.WaitGroup
		for range 1000 {
			running.Go(func() { _, _ = b.get("key") })
		}
		running.Wait()
		require.Less(t, b.queries()-queries, 20)
	})
}

// TestTableMadeAnew drops a table and makes it again: the number is another.
func TestTableMadeAnew(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{}, func(t *testing.T, b *box) {
		b.set("key", "of the first")
		require.NoError(t, b.DropTable(tableName))
		b.create(onebox.TableOptions{Partitions: 3})
		_, err := b.get("key")
		require.Same(t, pegasus.ErrNotFound, err)
		b.set("key", "of the second")
		b.holds("key", "of the second")
		require.Equal(t, b.appID, b.client.Snapshot().Tables[0].AppID)
	})
}

// What was said about the table before an operation began must not fail it: the table may be there
// again.
func TestTableMadeAnewAfterLong(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "of the first")
		require.NoError(t, b.DropTable(tableName))
		for range 50 { // refreshes that bring nothing become rare
			_, err := b.get("key")
			require.ErrorIs(t, err, pegasus.ErrNoSuchTable)
			pass(10 * time.Millisecond)
		}
		b.create(single)
		for range 5 {
			b.set("key", "of the second")
		}
	}, pegasus.WithDirectory(meta.Options{BackupDelay: 50 * time.Millisecond}))
}
