package pegasus_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestClose closes a client any number of times, side by side, and looks at what is left.
func TestClose(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{}, func(t *testing.T, b *box) {
		b.set("key", "value")
		var closing sync.WaitGroup
		for range 8 {
			closing.Go(func() { require.NoError(t, b.client.Close()) })
		}
		closing.Wait()
		require.NoError(t, b.client.Close())
		for name, o := range operations {
			require.ErrorIs(t, o.run(t.Context(), b.table), pegasus.ErrClosed, name)
		}
		for _, name := range []string{tableName, "another"} {
			_, err := b.client.OpenTable(t.Context(), name)
			require.ErrorIs(t, err, pegasus.ErrClosed)
			require.EqualError(t, err, `pegasus: open table "`+name+`": client closed`)
		}
		b.table.Close()
		for _, node := range append(b.Metas(), b.Replicas()...) {
			require.Zero(t, b.network.Open(node.Address()))
		}
	})
}

// TestCloseEndsOperations closes a client while operations wait for anything that there is to wait
// for: they end at once, with ErrClosed and nothing else, and so does Close.
func TestCloseEndsOperations(t *testing.T) {
	tests := map[string]struct {
		options []pegasus.Option
		hinder  func(b *box)
	}{
		"answer": {hinder: func(b *box) { b.Replica(0).Pause() }},
		"answer of a lost node": {hinder: func(b *box) {
			b.Replica(0).Blackhole(true)
		}},
		"stuck writer": {hinder: func(b *box) {
			b.Replica(0).Blackhole(true)
			b.inBackground(func() { _ = b.table.Set(b.t.Context(), nil, nil, make([]byte, 500_000)) })
		}},
		"admission": {
			options: []pegasus.Option{pegasus.WithConnections(rpc.Options{Window: 1})},
			hinder:  func(b *box) { b.Replica(0).Pause() },
		},
		"connection": {
			options: []pegasus.Option{pegasus.WithoutWarmUp()},
			hinder:  func(b *box) { b.Replica(0).Blackhole(true) },
		},
		"primary": {hinder: func(b *box) { b.withoutPrimary(0) }},
		"end of a pause": {
			options: []pegasus.Option{pegasus.WithRetry(retry.Policy{InitialBackoff: time.Second})},
			hinder:  func(b *box) { b.injectAll(onebox.Fault{Error: wire.ErrSplitting}) },
		},
		"routing": {hinder: func(b *box) {
			for _, node := range b.Metas() {
				node.Pause()
			}
			b.Replica(0).Kill()
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
				b.client.Snapshot()
				test.hinder(b)
				var waiting []func()
				for range 10 {
					for _, operation := range []func(context.Context, *pegasus.Table) error{get, set} {
						waiting = append(waiting, b.inBackground(func() {
							err := operation(t.Context(), b.table)
							require.ErrorIs(t, err, pegasus.ErrClosed)
							require.NotErrorIs(t, err, context.Canceled)
							require.NotErrorIs(t, err, context.DeadlineExceeded)
						}))
					}
				}
				pass(200 * time.Millisecond)
				took := elapsed(func() {
					require.NoError(t, b.client.Close())
					for _, wait := range waiting {
						wait()
					}
				})
				require.Zero(t, took)
			}, test.options...)
		})
	}
}

// TestCloseEndsOpenings closes a client while tables are being opened.
func TestCloseEndsOpenings(t *testing.T) {
	for name, hinder := range map[string]func(node *onebox.Node){
		"silent":      (*onebox.Node).Pause,
		"unreachable": func(node *onebox.Node) { node.Blackhole(true) },
		"away":        (*onebox.Node).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
				client := b.open()
				for _, node := range b.Metas() {
					hinder(node)
				}
				var waiting []func()
				for _, table := range []string{tableName, tableName, "another"} {
					waiting = append(waiting, b.inBackground(func() {
						_, err := client.OpenTable(t.Context(), table)
						require.ErrorIs(t, err, pegasus.ErrClosed)
						require.NotErrorIs(t, err, context.Canceled)
					}))
				}
				pass(2 * time.Second)
				took := elapsed(func() {
					require.NoError(t, client.Close())
					for _, wait := range waiting {
						wait()
					}
				})
				require.Zero(t, took)
			})
		})
	}
}

// TestCloseDuringWarmUp closes a client while a table that is open already is being connected to.
func TestCloseDuringWarmUp(t *testing.T) {
	inCluster(t, onebox.Config{FailoverDelay: time.Hour}, func(t *testing.T, b *box) {
		client := b.open()
		b.Replica(0).Blackhole(true)
		var table *pegasus.Table
		wait := b.inBackground(func() {
			var err error
			table, err = client.OpenTable(t.Context(), tableName)
			require.NoError(t, err)
		})
		pass(100 * time.Millisecond)
		require.Zero(t, elapsed(func() { require.NoError(t, client.Close()) }))
		wait()
		require.ErrorIs(t, get(t.Context(), table), pegasus.ErrClosed)
	})
}

// openingWith returns a client of which a table is being opened by a goroutine that calls f at the end.
func (b *box) openingWith(f func(client *pegasus.Client)) *pegasus.Client {
	var client *pegasus.Client
	installed := func(meta.Reason, *meta.Routing) { f(client) }
	client = b.open(pegasus.WithDirectory(meta.Options{Hooks: meta.Hooks{RoutingInstalled: installed}}))
	b.t.Cleanup(b.inBackground(func() { _, _ = client.OpenTable(b.t.Context(), tableName) }))
	pass(time.Second)
	return client
}

// TestCloseWaitsForOpenings has the goroutine that opens a table take longer than everything else that
// Close ends: it waits for that as well, but not for ever.
func TestCloseWaitsForOpenings(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		release := make(chan struct{})
		client := b.openingWith(func(*pegasus.Client) { <-release })
		time.AfterFunc(time.Second, func() { close(release) })
		require.Equal(t, time.Second, elapsed(func() { require.NoError(t, client.Close()) }))
	})
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		release := make(chan struct{})
		client := b.openingWith(func(*pegasus.Client) { <-release })
		require.Equal(t, 5*time.Second, elapsed(func() { require.ErrorIs(t, client.Close(), context.DeadlineExceeded) }))
		close(release)
		require.NoError(t, client.Close())
	})
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		var closing error
		client := b.openingWith(func(client *pegasus.Client) { closing = client.Close() })
		pass(10 * time.Second)
		require.ErrorIs(t, closing, context.DeadlineExceeded, "it was asked to wait for its caller")
		require.NoError(t, client.Close())
	})
}

// stuck is foreign code that lets go of nothing before it is released.
type stuck struct{ release chan struct{} }

func (s *stuck) dial(context.Context, string, string) (net.Conn, error) {
	<-s.release
	return nil, net.ErrClosed
}

func (s *stuck) resolve(context.Context, string) ([]netip.Addr, error) {
	<-s.release
	return nil, net.ErrClosed
}

// TestCloseIsBounded has foreign code not come back: Close says so after a while, and callers do not
// wait for that.
func TestCloseIsBounded(t *testing.T) {
	for address, options := range map[string]func(s *stuck) []pegasus.Option{
		"10.0.0.1": func(s *stuck) []pegasus.Option { return []pegasus.Option{pegasus.WithDialer(s.dial)} },
		"pegasus.example": func(s *stuck) []pegasus.Option {
			return []pegasus.Option{pegasus.WithDirectory(meta.Options{Resolve: s.resolve}), pegasus.WithDialer(memnet.New().DialContext)}
		},
	} {
		t.Run(address, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stuck{make(chan struct{})}
				client, err := pegasus.Open([]string{address}, append(options(s), pegasus.WithOperationTimeout(time.Minute))...)
				require.NoError(t, err)
				began := time.Now()
				go func() {
					_, err := client.OpenTable(t.Context(), tableName)
					require.ErrorIs(t, err, pegasus.ErrClosed)
					require.Equal(t, time.Second, time.Since(began))
				}()
				pass(time.Second)
				require.ErrorIs(t, client.Close(), context.DeadlineExceeded)
				require.Equal(t, 6*time.Second, time.Since(began))
				close(s.release)
				require.NoError(t, client.Close(), "all is well that ends well")
			})
		})
	}
}

// TestCloseWithStuckResolver checks that what hinders the search for meta servers does not keep
// operations in flight.
func TestCloseWithStuckResolver(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		s := &stuck{make(chan struct{})}
		client, err := pegasus.Open(append(b.MetaAddresses(), "pegasus.example"), pegasus.WithDialer(b.DialContext),
			pegasus.WithDirectory(meta.Options{Resolve: s.resolve}))
		require.NoError(t, err)
		table, err := client.OpenTable(t.Context(), tableName)
		require.NoError(t, err)
		for _, node := range b.Replicas() {
			node.Pause()
		}
		began := time.Now()
		wait := b.inBackground(func() {
			require.ErrorIs(t, get(t.Context(), table), pegasus.ErrClosed)
			require.Zero(t, time.Since(began))
		})
		require.Error(t, client.Close())
		wait()
		close(s.release)
		require.NoError(t, client.Close())
	})
}

// TestOpenAndClose opens and closes clients in the middle of everything, again and again.
func TestOpenAndClose(t *testing.T) {
	b := newCluster(t, onebox.Config{}, single)
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 5 {
				client := b.open()
				running.Go(func() { require.NoError(t, client.Close()) })
				table, err := client.OpenTable(t.Context(), tableName)
				if err == nil {
					err = set(t.Context(), table)
				}
				if err != nil {
					require.ErrorIs(t, err, pegasus.ErrClosed)
				}
			}
		})
	}
	running.Wait()
}

// Connections to servers that a table has left are closed.
func TestDefect23NodesThatLeft(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
		for i := range 3 {
			b.set(keyIn(i, 3), "value")
		}
		require.Equal(t, 1, b.network.Open(b.Replica(0).Address()))
		for i := range 3 {
			require.NoError(t, b.RemoveReplica(tableName, i, 0))
		}
		b.set(keyIn(0, 3), "value")
		pass(time.Second)
		require.Zero(t, b.network.Open(b.Replica(0).Address()))
		require.Equal(t, 1, b.network.Open(b.Replica(1).Address()))
	})
}

// A connection that the server closed is closed here as well.
func TestDefect24LostConnectionsAreClosed(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for _, fault := range []onebox.Fault{{CloseBefore: true}, {CloseAfter: true}, {Garbage: []byte("nonsense")}, {HugeLength: true}} {
			fault.Times = 1
			b.injectAll(fault)
			b.set("key", "value")
			require.Equal(t, 1, b.network.Open(b.Replica(0).Address()))
		}
	})
}

// Calls that were given up leave nothing behind.
func TestDefect21AbandonedCalls(t *testing.T) {
	inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Replica(0).Pause()
		for range 500 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			require.Error(t, b.table.Set(ctx, []byte("key"), nil, make([]byte, 100)))
			cancel()
		}
		for _, stats := range b.client.Snapshot().Nodes {
			if stats.Address == node {
				require.Zero(t, stats.InFlight)
				require.Equal(t, uint64(500), stats.Abandoned)
			}
		}
		b.Replica(0).Resume()
		b.set("key", "another value")
		b.holds("key", "another value")
	})
}
