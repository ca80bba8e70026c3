package pegasus_test

import (
	"context"
	"math"
	"runtime/metrics"
	"slices"
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

// TestDefect18LongWaits has an operation wait for a day, by its context or by the client's own limit:
// its pauses do not come to an end, be the primary away or the server refusing.
func TestDefect18LongWaits(t *testing.T) {
	const day = 24 * time.Hour
	for name, hinder := range map[string]func(b *box) (mend func()){
		"no primary": func(b *box) func() {
			b.withoutPrimary(0)
			return func() { require.NoError(b.t, b.AssignPrimary(tableName, 0, 1)) }
		},
		"refused":      func(b *box) func() { return b.Replica(0).Inject(onebox.Fault{Error: wire.ErrSplitting}) },
		"server dead":  func(b *box) func() { b.Replica(0).Kill(); return b.Replica(0).Restart },
		"server apart": func(b *box) func() { b.Replica(0).Blackhole(true); return func() { b.Replica(0).Blackhole(false) } },
	} {
		for limit, ctx := range map[string]func(b *box) context.Context{
			"context": func(b *box) context.Context { return b.within(day) },
			"client":  func(b *box) context.Context { return b.t.Context() },
		} {
			t.Run(name+", limited by the "+limit, func(t *testing.T) {
				inBubble(t, onebox.Config{FailoverDelay: 2 * day}, single, func(t *testing.T, b *box) {
					mend := hinder(b)
					wait := b.inBackground(func() { require.NoError(t, set(ctx(b), b.table)) })
					pass(20 * time.Minute) // the old client's pauses ended after 15
					requests, queries, dials := b.requests(wire.Put), b.queries(), b.network.Dials(b.Replica(0).Address())
					const minutes = 2
					pass(minutes * time.Minute)
					require.LessOrEqual(t, b.requests(wire.Put)-requests, minutes*60*3, "a busy loop")
					require.LessOrEqual(t, b.queries()-queries, minutes*60*3)
					require.LessOrEqual(t, b.network.Dials(b.Replica(0).Address())-dials, minutes*60*20, "rpc.Options.BackoffMax and its jitter")
					mend()
					require.Less(t, elapsed(wait), 3*time.Second)
				}, pegasus.WithOperationTimeout(day))
			})
		}
	}
}

// TestDefect20WaitingContexts measures what a call costs while ten thousand others wait on the same
// node, each with a context of its own: about as much as if there were none. The old client looked at
// every one of them, for every call. The best of many calls is compared, with room for a busy machine.
func TestDefect20WaitingContexts(t *testing.T) {
	const waiting = 10_000
	var held atomic.Int64
	s := openStub(t, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		if methodOf(request.Name) == wire.TTL {
			held.Inc()
			return "", nil // never answered
		}
		return wire.ErrOK, &wire.GetResponse{Origin: wire.Origin{GPID: stubGPID}}
	}, pegasus.WithConnections(rpc.Options{Window: 2 * waiting, SilenceLimit: time.Minute, ReadSilenceLimit: time.Minute}), pegasus.WithOperationTimeout(10*time.Minute))
	best := func() time.Duration {
		least := time.Duration(math.MaxInt64)
		for range 400 {
			least = min(least, elapsed(func() { present(t, get(t.Context(), s.table)) }))
		}
		return least
	}
	alone := best()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range waiting {
		running.Go(func() {
			own, done := context.WithCancel(ctx)
			defer done()
			_, _, err := s.table.TTL(own, []byte("key"), nil)
			require.ErrorIs(t, err, context.Canceled)
		})
	}
	for held.Load() < waiting {
		present(t, get(t.Context(), s.table))
	}
	among := best()
	cancel()
	running.Wait()
	t.Logf("a get took %v alone and %v among %d waiting calls", alone, among, waiting)
	require.Less(t, among, 8*alone+200*time.Microsecond)
}

// TestDefect25IdleConnectionsSleep counts how often anything runs at all in a minute in which nobody
// uses a client with connections to thirty servers. The old client woke up a thousand times a second
// for each of them.
func TestDefect25IdleConnectionsSleep(t *testing.T) {
	const servers = 30
	config := onebox.Config{Replicas: servers}
	inBubble(t, config, onebox.TableOptions{Partitions: servers}, func(t *testing.T, b *box) {
		for i := range servers {
			b.set(keyIn(i, servers), "value")
		}
		pass(time.Second) // until the last timer found nothing to do
		began := wakeUps()
		pass(time.Minute)
		idle := wakeUps() - began
		for range 10_000 { // what a sixth of the minute costs one connection that wakes up
			time.Sleep(time.Millisecond)
		}
		require.Less(t, 20*idle, wakeUps()-began, "of the idle, and of one that ticks")
	})
}

// wakeUps returns how often goroutines were scheduled in this process, of which the runtime counts
// about an eighth.
func wakeUps() (count uint64) {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(sample)
	for _, n := range sample[0].Value.Float64Histogram().Counts {
		count += n
	}
	return 8 * count
}

// TestDefect27BatchGetIsFewRequests reads a thousand keys of four partitions: a request for each
// hundred of a partition's, not one for each key.
func TestDefect27BatchGetIsFewRequests(t *testing.T) {
	const keys, partitions = 1000, 4
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions}, func(t *testing.T, b *box) {
		_, err := b.table.BatchGet(t.Context(), inPartitions(keys/partitions, partitions), nil)
		require.NoError(t, err)
		require.LessOrEqual(t, b.requests(wire.BatchGet), keys/pegasus.DefaultBatchChunkItems+partitions)
		require.Zero(t, b.requests(wire.Get))
	})
}

// TestDefect32DelRangeOptionsAreNotWritten has calls of DelRange share their options, and others have
// none: the options stay as they are, and no call sees what another is about.
func TestDefect32DelRangeOptionsAreNotWritten(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
		rows := users(8, 30)
		b.load(rows)
		options := pegasus.DelRangeOptions{BatchSize: 4, SortKeyFilter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("5")}}
		shared := options
		shared.SortKeyFilter.Pattern = slices.Clone(options.SortKeyFilter.Pattern)
		var waiting []func()
		for i := range 8 {
			waiting = append(waiting, b.inBackground(func() {
				hashKey := []byte(users(8, 1)[i].hashKey)
				if i%2 == 0 {
					deleted, err := b.table.DelRange(t.Context(), hashKey, nil, nil, &shared)
					require.NoError(t, err)
					require.EqualValues(t, 3, deleted)
					return
				}
				deleted, err := b.table.DelRange(t.Context(), hashKey, []byte("010"), nil, nil)
				require.NoError(t, err)
				require.EqualValues(t, 20, deleted)
			}))
		}
		for _, wait := range waiting {
			wait()
		}
		require.Equal(t, options, shared)
	})
}

// TestDefect34And35RoutingChangesUnderOperations has operations on one table run while its routing
// changes all the time, while tables on the same nodes are opened and closed, and while snapshots are
// taken: for the race detector, and nothing may fail.
func TestDefect34And35RoutingChangesUnderOperations(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 4},
		pegasus.WithDirectory(meta.Options{RefreshPause: time.Millisecond}))
	for _, name := range []string{"second", "third"} {
		_, err := b.CreateTable(name, single)
		require.NoError(t, err)
	}
	load := startLoad(t, b.table, 4, 4, time.Millisecond)
	ended := make(chan struct{})
	var running sync.WaitGroup
	for _, name := range []string{"second", "third"} {
		running.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
				}
				table, err := b.client.OpenTable(t.Context(), name)
				require.NoError(t, err)
				require.NoError(t, set(t.Context(), table))
				_ = b.client.Snapshot()
				table.Close()
			}
		})
	}
	for i := range 40 {
		require.NoError(t, b.MovePrimary(tableName, i%4, i%3))
		load.done.await(10)
	}
	require.NoError(t, b.StartSplit(tableName))
	load.done.await(20)
	require.NoError(t, b.FinishSplit(tableName))
	load.done.await(20)
	close(ended)
	running.Wait()
	load.stop()
}
