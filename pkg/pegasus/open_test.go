package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// silenceOnce has every meta server swallow its next question.
func (b *box) silenceOnce() {
	for _, node := range b.Metas() {
		node.Inject(onebox.Fault{DropRequest: true, Times: 1})
	}
}

func TestOpenTableIsCached(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		client := b.open()
		var opening sync.WaitGroup
		var tables [20]*pegasus.Table
		for i := range tables {
			opening.Go(func() { tables[i], _ = client.OpenTable(t.Context(), tableName) })
		}
		opening.Wait()
		require.NotNil(t, tables[0])
		require.Equal(t, tableName, tables[0].Name())
		for _, table := range tables {
			require.Same(t, tables[0], table)
		}
		require.Equal(t, 1, b.queries())
		again, err := client.OpenTable(t.Context(), tableName)
		require.NoError(t, err)
		require.Same(t, tables[0], again)
		require.Equal(t, 1, b.queries())
	})
}

// A table that cannot be opened delays nobody who wants another, or one that is open already.
func TestDefect38StuckOpen(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		for _, name := range []string{"open", "another", "stuck"} {
			_, err := b.CreateTable(name, onebox.TableOptions{})
			require.NoError(t, err)
		}
		client := b.open()
		open := func(name string, want time.Duration) {
			t.Helper()
			took := elapsed(func() {
				_, err := client.OpenTable(t.Context(), name)
				require.NoError(t, err)
			})
			require.Equal(t, want, took)
		}
		open("open", 0)
		b.silenceOnce()
		var stuck time.Duration
		wait := b.inBackground(func() {
			stuck = elapsed(func() {
				_, err := client.OpenTable(t.Context(), "stuck")
				require.NoError(t, err)
			})
		})
		pass(500 * time.Millisecond) // by now all of them have swallowed it
		open("open", 0)
		open("another", 0)
		wait()
		require.Greater(t, stuck, time.Second)
	})
}

// TestOpenTableSharesTheWait has the first caller give up: those who came after it get their table.
func TestOpenTableSharesTheWait(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		client := b.open()
		b.silenceOnce()
		ctx, cancel := context.WithCancel(t.Context())
		first := b.inBackground(func() {
			_, err := client.OpenTable(ctx, tableName)
			require.ErrorIs(t, err, context.Canceled)
		})
		short := b.inBackground(func() {
			_, err := client.OpenTable(b.within(400*time.Millisecond), tableName)
			require.EqualError(t, err, `pegasus: open table "temp": no meta leader answered: context deadline exceeded`)
		})
		others := b.inBackground(func() {
			_, err := client.OpenTable(t.Context(), tableName)
			require.NoError(t, err)
		})
		pass(100 * time.Millisecond)
		cancel()
		first()
		short()
		others()
		require.Less(t, b.queries(), 8, "they did not share their question")
	})
}

func TestOpenTableAfterFailure(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		client := b.open()
		for range 3 {
			_, err := client.OpenTable(t.Context(), "not yet")
			require.ErrorIs(t, err, pegasus.ErrNoSuchTable)
			require.True(t, as[*meta.ServerError](err))
			e := *failed(t, err)
			e.Err = nil
			require.Equal(t, pegasus.Error{
				Operation: "open table", Table: "not yet", Partition: -1, Node: b.Leader().Address(),
				Server: wire.ErrObjectNotFound, Outcome: pegasus.Answered, Tries: 1,
			}, e)
			require.EqualError(t, err, `pegasus: open table "not yet": query routing of table "not yet": `+
				`meta 10.0.0.1:34601 answered ERR_OBJECT_NOT_FOUND`)
		}
		require.Equal(t, 3, b.queries())
		_, err := b.CreateTable("not yet", onebox.TableOptions{})
		require.NoError(t, err)
		_, err = client.OpenTable(t.Context(), "not yet")
		require.NoError(t, err)
	})
}

// TestOpenTableTakesItsTime has the meta servers away for longer than one question may take: whoever
// has more time waits for them, also who comes when the question of somebody else is about to end.
func TestOpenTableTakesItsTime(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		client := b.open()
		for _, node := range b.Metas() {
			node.Kill()
		}
		took := elapsed(func() {
			_, err := client.OpenTable(t.Context(), tableName)
			require.ErrorIs(t, err, meta.ErrNoLeader)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, syscall.ECONNREFUSED, "what is the matter?")
		})
		require.Equal(t, pegasus.DefaultOperationTimeout, took)
		took = elapsed(func() {
			_, err := client.OpenTable(b.within(12*time.Second), tableName)
			require.ErrorIs(t, err, meta.ErrNoLeader)
			require.True(t, as[*meta.NoLeaderError](err))
		})
		require.Equal(t, 12*time.Second, took)

		began := time.Now()
		var waiting []func()
		for range 4 {
			waiting = append(waiting, b.inBackground(func() {
				_, err := client.OpenTable(b.within(30*time.Second), tableName)
				require.NoError(t, err)
			}))
			pass(4900 * time.Millisecond)
		}
		for _, node := range b.Metas() {
			node.Restart()
		}
		for _, wait := range waiting {
			wait()
		}
		require.Less(t, time.Since(began), 25*time.Second)
	})
}

// A context that has ended ends every operation, also one that needs nobody.
func TestOpenTableWithEndedContext(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for _, name := range []string{tableName, "another"} {
			_, err := b.client.OpenTable(cancelled(), name)
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Equal(t, 1, b.queries())
	})
}

// slowDialer takes its time.
func (b *box) slowDialer(d time.Duration) pegasus.Option {
	return pegasus.WithDialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		time.Sleep(d)
		return b.DialContext(ctx, network, address)
	})
}

// TestWarmUp checks that a table that was opened is connected to, for all who opened it, and also if
// the first of them gave up.
func TestWarmUp(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		client := openClient(t, b.MetaAddresses(), b.slowDialer(100*time.Millisecond))
		gaveUp := b.inBackground(func() {
			_, err := client.OpenTable(b.within(50*time.Millisecond), tableName)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		for range 3 {
			b.inBackground(func() {
				table, err := client.OpenTable(t.Context(), tableName)
				require.NoError(t, err)
				took := elapsed(func() {
					for i := range 8 {
						_, err := table.Get(t.Context(), []byte(keyIn(i, 8)), nil)
						present(t, err)
					}
				})
				require.Zero(t, took)
			})
		}
		gaveUp()
		pass(time.Second)
		for _, node := range b.Replicas() {
			require.Equal(t, 1, node.Accepted())
		}
	})
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		client := b.open(pegasus.WithoutWarmUp())
		_, err := client.OpenTable(t.Context(), tableName)
		require.NoError(t, err)
		pass(time.Second)
		for _, node := range b.Replicas() {
			require.Zero(t, node.Accepted())
		}
	})
}

// TestWarmUpOfAbsentServers checks that what cannot be connected to fails nobody, and delays whoever
// has not much time no longer than that.
func TestWarmUpOfAbsentServers(t *testing.T) {
	inCluster(t, onebox.Config{FailoverDelay: time.Hour}, func(t *testing.T, b *box) {
		b.Replica(0).Kill()
		b.Replica(1).Blackhole(true)
		took := elapsed(func() {
			_, err := b.open().OpenTable(b.within(time.Second), tableName)
			require.NoError(t, err)
		})
		require.Equal(t, time.Second, took)
		took = elapsed(func() {
			_, err := b.open().OpenTable(t.Context(), tableName)
			require.NoError(t, err)
		})
		require.Equal(t, 2*time.Second, took, "the limit of one dial")
	})
}

// TestOpenUnassignedTable opens a table that was created a moment ago.
func TestOpenUnassignedTable(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2, Unassigned: true}, func(t *testing.T, b *box) {
		b.refused("key")
		b.inBackground(func() {
			for i := range 2 {
				pass(time.Second)
				require.NoError(t, b.AssignPrimary(tableName, i, i))
			}
		})
		b.set(keyIn(0, 2), "value")
		b.set(keyIn(1, 2), "value")
	})
}

// A closed table is no longer in the cache.
func TestDefect44ClosedTable(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		closed := b.table
		for range 2 {
			closed.Close()
			for name, o := range operations {
				require.ErrorIs(t, o.run(t.Context(), closed), pegasus.ErrClosed, name)
			}
		}
		b.table = b.openTable()
		require.NotSame(t, closed, b.table)
		b.holds("key", "value")
		closed.Close() // of the old one
		b.holds("key", "value")
		require.Same(t, b.table, b.openTable())
		require.ErrorIs(t, get(t.Context(), closed), pegasus.ErrClosed)
	})
}

// Concurrent first questions share one connection, and none is left after Close.
func TestDefect13ConcurrentFirstOpens(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		b.ElectLeader(2) // so that all are forwarded
		client := b.open()
		var opening sync.WaitGroup
		for i := range 20 {
			opening.Go(func() {
				name := fmt.Sprint("table ", i)
				_, err := b.CreateTable(name, single)
				require.NoError(t, err)
				_, err = client.OpenTable(t.Context(), name)
				require.NoError(t, err)
			})
		}
		opening.Wait()
		for _, node := range b.Metas() {
			require.LessOrEqual(t, node.Accepted(), 1)
		}
		require.NoError(t, client.Close())
		for _, node := range append(b.Metas(), b.Replicas()...) {
			require.Zero(t, b.network.Open(node.Address()))
		}
	})
}

// Names are looked up when they are needed, and again when they no longer help; one that stands for
// nothing is no reason to fail, and certainly not to end the process.
func TestDefect41And42MetaNames(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		for _, node := range b.Metas() {
			b.ElectLeader(node.Index())
			resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
				if host == "pegasus.example" {
					return []netip.Addr{netip.MustParseAddrPort(node.Address()).Addr()}, nil
				}
				return nil, errors.New("no such host")
			}
			client := openClient(t, []string{"unknown.example, pegasus.example"},
				pegasus.WithDialer(b.DialContext), pegasus.WithDirectory(meta.Options{Resolve: resolve}))
			_, err := client.OpenTable(t.Context(), tableName)
			require.NoError(t, err)
		}
		client := openClient(t, []string{"unknown.example"}, pegasus.WithDialer(b.DialContext),
			pegasus.WithDirectory(meta.Options{Resolve: func(context.Context, string) ([]netip.Addr, error) {
				return nil, errors.New("no such host")
			}}))
		_, err := client.OpenTable(t.Context(), tableName)
		require.ErrorIs(t, err, meta.ErrNoLeader)
	})
}
