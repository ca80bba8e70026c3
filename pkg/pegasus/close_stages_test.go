package pegasus_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// stages are what a client can be in the middle of when it is closed, besides those of
// TestCloseEndsOperations: each gets one operation to that point, which must end with ErrClosed.
var stages = map[string]struct {
	options []pegasus.Option
	hinder  func(b *box)
	run     func(ctx context.Context, b *box) error
}{
	"dialling": {
		options: []pegasus.Option{pegasus.WithoutWarmUp()},
		hinder:  everywhere(func(b *box, node *onebox.Node) { b.network.SetLatency(node.Address(), time.Second) }),
		run:     setKey,
	},
	"pause after a failed dial": {
		options: []pegasus.Option{pegasus.WithConnections(rpc.Options{BackoffMin: time.Second, BackoffMax: time.Second})},
		hinder:  everywhere(func(_ *box, node *onebox.Node) { node.Kill() }),
		run:     setKey,
	},
	"in the middle of an answer": {
		hinder: everywhere(func(b *box, node *onebox.Node) { // which fills the network several times
			b.network.SetLatency(node.Address(), 40*time.Millisecond)
		}),
		run: func(ctx context.Context, b *box) error {
			_, err := b.table.Get(ctx, []byte("large"), nil)
			return err
		},
	},
	"full socket": {
		hinder: everywhere(func(_ *box, node *onebox.Node) { node.Pause() }),
		run: func(ctx context.Context, b *box) error {
			return b.table.Set(ctx, []byte("key"), nil, make([]byte, 900_000))
		},
	},
	"scan": {
		hinder: stalls(wire.Scan),
		run: func(ctx context.Context, b *box) error {
			for _, err := range b.table.ScanTable(ctx, batches(3)) {
				if err != nil {
					return err
				}
			}
			return errors.New("the scan ended")
		},
	},
	"first batch of a scan": {
		hinder: stalls(wire.GetScanner),
		run: func(ctx context.Context, b *box) error {
			scanners, err := b.table.TableScanners(4, nil)
			require.NoError(b.t, err)
			_, err = scanners[0].Next(ctx)
			for _, s := range scanners {
				s.Close()
			}
			return err
		},
	},
	"pause of a scan": {
		hinder: func(b *box) { b.LimitIterations(5) },
		run: func(ctx context.Context, b *box) error {
			nobody := batches(10)
			nobody.HashKeyFilter = pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("nobody")}
			for _, err := range b.table.ScanTable(ctx, nobody) {
				return err
			}
			return errors.New("the scan ended")
		},
	},
	"place among those under way": {
		options: []pegasus.Option{pegasus.WithMaxInFlight(1)},
		hinder:  func(b *box) { stalls(wire.Get)(b); b.inBackground(func() { _ = get(b.t.Context(), b.table) }) },
		run:     setKey,
	},
	"count": {
		hinder: stalls(wire.GetScanner),
		run: func(ctx context.Context, b *box) error {
			_, err := b.table.CountTable(ctx, nil)
			return err
		},
	},
	"range to be deleted": {
		hinder: stalls(wire.MultiRemove),
		run: func(ctx context.Context, b *box) error {
			_, err := b.table.DelRange(ctx, []byte("user 0"), nil, nil, &pegasus.DelRangeOptions{BatchSize: 2})
			return err
		},
	},
	"batch of reads": {
		hinder: stalls(wire.BatchGet),
		run: func(ctx context.Context, b *box) error {
			_, err := b.table.BatchGet(ctx, inPartitions(20, 2), &pegasus.BatchOptions{ChunkItems: 1, Concurrency: 8})
			return err
		},
	},
	"batch of writes": {
		hinder: stalls(wire.Remove),
		run: func(ctx context.Context, b *box) error {
			_, err := b.table.BatchDel(ctx, inPartitions(20, 2), nil)
			return err
		},
	},
	"hedged read": {
		options: []pegasus.Option{pegasus.WithHedgedReads(pegasus.Hedging{Delay: time.Millisecond})},
		hinder:  everywhere(func(_ *box, node *onebox.Node) { node.Pause() }),
		run: func(ctx context.Context, b *box) error {
			_, err := b.table.Get(ctx, []byte("key"), nil)
			return err
		},
	},
	"hedged read whose secondary is being dialled": {
		options: []pegasus.Option{pegasus.WithHedgedReads(pegasus.Hedging{Delay: time.Millisecond}), pegasus.WithoutWarmUp()},
		hinder:  everywhere(func(_ *box, node *onebox.Node) { node.Blackhole(true) }),
		run: func(ctx context.Context, b *box) error {
			_, err := b.table.Get(ctx, []byte("key"), nil)
			return err
		},
	},
	"table being opened": {
		hinder: func(b *box) {
			for _, node := range b.Metas() {
				node.Pause()
			}
		},
		run: func(ctx context.Context, b *box) error {
			_, err := b.client.OpenTable(ctx, "another")
			return err
		},
	},
}

func setKey(ctx context.Context, b *box) error { return set(ctx, b.table) }

// everywhere does the same to all replica servers.
func everywhere(hinder func(b *box, node *onebox.Node)) func(b *box) {
	return func(b *box) {
		for _, node := range b.Replicas() {
			hinder(b, node)
		}
	}
}

// stalls has no server answer a method.
func stalls(method *wire.Method) func(b *box) {
	return func(b *box) {
		b.injectAll(onebox.Fault{DropRequest: true, Match: func(r *onebox.Request) bool { return r.Is(method) }})
	}
}

// peers are what the servers do while the client is closed.
var peers = map[string]func(b *box){
	"with peers at work": func(*box) {},
	"with stuck peers": func(b *box) {
		for _, node := range append(b.Metas(), b.Replicas()...) {
			node.Pause()
		}
	},
	"with peers that cannot be reached": func(b *box) {
		for _, node := range append(b.Metas(), b.Replicas()...) {
			node.Blackhole(true)
		}
	},
}

// TestCloseAtEveryStage closes a client in the middle of everything. Close and the operations return at
// once, no goroutine and no connection is left, and nothing is sent any more.
func TestCloseAtEveryStage(t *testing.T) {
	for name, stage := range stages {
		for state, arrange := range peers {
			t.Run(name+" "+state, func(t *testing.T) {
				inBubble(t, onebox.Config{FailoverDelay: time.Hour}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
					b.load(append(users(3, 20), row{"large", "", strings.Repeat("v", 900_000)}))
					stage.hinder(b)
					var err error
					wait := b.inBackground(func() { err = stage.run(t.Context(), b) })
					pass(200 * time.Millisecond)
					require.NoError(t, err, "the stage is over before it can be tested")
					arrange(b)
					require.Zero(t, elapsed(func() {
						require.NoError(t, b.client.Close())
						wait()
					}))
					require.ErrorIs(t, err, pegasus.ErrClosed)
					require.NotErrorIs(t, err, context.Canceled)
					sent := b.sent(b.Replicas()...)
					pass(time.Minute)
					require.Equal(t, sent, b.sent(b.Replicas()...))
					for _, node := range append(b.Metas(), b.Replicas()...) {
						require.Zero(t, b.network.Open(node.Address()))
					}
				}, stage.options...)
			})
		}
	}
}

// TestCloseFromInside calls Close from code that the client itself runs, and that Close therefore waits
// for in vain: it says so after 5 s. Another Close finds that all is well.
func TestCloseFromInside(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		var client *pegasus.Client
		var closing error
		var took time.Duration
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			took += elapsed(func() { closing = errors.Join(closing, client.Close()) })
			return b.DialContext(ctx, network, address)
		}
		var err error
		client, err = pegasus.Open(b.MetaAddresses()[:1], pegasus.WithDialer(dial))
		require.NoError(t, err)
		_, err = client.OpenTable(t.Context(), tableName)
		require.ErrorIs(t, err, pegasus.ErrClosed)
		pass(10 * time.Second)
		require.ErrorIs(t, closing, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, took)
		require.NoError(t, client.Close())
	})
}
