package pegasus_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// arrivals are operations that come at a fixed rate, whatever becomes of those before them.
type arrivals struct {
	b       *box
	began   time.Time
	ended   atomic.Bool
	running sync.WaitGroup

	mu   sync.Mutex // guards what follows
	made []arrival
}

// arrival is one operation.
type arrival struct {
	begin, end time.Duration // since the first one
	write      bool
	err        error
}

// arrive has operations begin at the rate, reads and writes in turn, all over the table.
func (b *box) arrive(perSecond int) *arrivals {
	a := &arrivals{b: b, began: time.Now()}
	a.running.Go(func() {
		for i := 0; !a.ended.Load(); i++ {
			time.Sleep(time.Second / time.Duration(perSecond))
			a.running.Go(func() { a.one(i) })
		}
	})
	return a
}

func (a *arrivals) one(i int) {
	key := fmt.Appendf(nil, "key %d", rand.IntN(10_000))
	begin := time.Since(a.began)
	var err error
	if i%2 == 0 {
		err = a.b.table.Set(a.b.t.Context(), key, nil, []byte("value"))
	} else if _, err = a.b.table.Get(a.b.t.Context(), key, nil); err == pegasus.ErrNotFound { //nolint:errorlint // as documented
		err = nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made = append(a.made, arrival{begin, time.Since(a.began), i%2 == 0, err})
}

// stop waits for the last operation, and returns them all.
func (a *arrivals) stop() []arrival {
	a.ended.Store(true)
	a.running.Wait()
	return a.made
}

// outages are ways in which a server can be of no use to anybody. The rest of the cluster notices, and
// names other primaries.
var outages = map[string]struct {
	begin         func(b *box, node *onebox.Node)
	reads, writes time.Duration // for which those may still wait when there is a primary again
}{
	// To be refused a connection takes no time, so only the next refresh is waited for, one second at most.
	"killed": {func(_ *box, node *onebox.Node) { node.Kill() }, 1500 * time.Millisecond, 1500 * time.Millisecond},
	// Nor is there to be told by a follower who leads the meta servers now.
	"killed, and a meta leader before": {func(b *box, node *onebox.Node) {
		b.Leader().Kill()
		pass(2 * time.Second)
		node.Kill()
	}, 1500 * time.Millisecond, 1500 * time.Millisecond},
	// Up to four times rpc.Options.ReadSilenceLimit for reads, SilenceLimit for writes, and then a refresh.
	"stopped": {func(_ *box, node *onebox.Node) { node.Pause() }, 3 * time.Second, 5 * time.Second},
	"cut off": {func(_ *box, node *onebox.Node) { node.Blackhole(true) }, 3 * time.Second, 5 * time.Second},
	// Nothing was lost, so nobody waits at all.
	"relieved": {func(b *box, node *onebox.Node) {
		for i := range b.PartitionCount(tableName) {
			if b.Primary(tableName, i) == node {
				require.NoError(b.t, b.MovePrimary(tableName, i, (node.Index()+1)%3))
			}
		}
	}, 0, 0},
}

// TestLatencyAfterFailover measures for how long operations go on waiting once every partition has a
// primary that serves, whether they began before or after, and what the search costs the meta servers.
func TestLatencyAfterFailover(t *testing.T) {
	for name, outage := range outages {
		for _, failover := range []time.Duration{200 * time.Millisecond, 3 * time.Second, 22 * time.Second} {
			t.Run(fmt.Sprint(name, ", noticed after ", failover), func(t *testing.T) {
				inBubble(t, onebox.Config{FailoverDelay: failover}, onebox.TableOptions{Partitions: 6}, func(t *testing.T, b *box) {
					load := b.arrive(100)
					pass(time.Second)
					node, queries := b.Primary(tableName, 0), b.queries()
					outage.begin(b, node)
					for node == b.Primary(tableName, 0) {
						pass(time.Millisecond)
					}
					serves := time.Since(load.began)
					pass(3 * time.Second)
					reads, writes := waits(t, load.stop(), serves)
					queries = b.queries() - queries
					t.Logf("after %v: reads waited %v, writes %v; %d queries", serves-time.Second, reads, writes, queries)
					require.LessOrEqual(t, reads, outage.reads)
					require.LessOrEqual(t, writes, outage.writes)
					require.LessOrEqual(t, queries, 10+3*int(serves.Seconds()), "a few, and then one every half a second or less")
				}, pegasus.WithOperationTimeout(30*time.Second))
			})
		}
	}
}

// TestLatencyAfterSplit measures the same for partitions that split: from when the meta servers tell of
// their children.
func TestLatencyAfterSplit(t *testing.T) {
	for _, lasts := range []time.Duration{0, 30 * time.Millisecond, time.Second} {
		t.Run(fmt.Sprint("registered for ", lasts), func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
				load := b.arrive(200)
				pass(time.Second)
				queries := b.queries()
				require.NoError(t, b.StartSplit(tableName))
				require.NoError(t, b.SwitchSplit(tableName))
				pass(lasts)
				require.NoError(t, b.RegisterSplit(tableName))
				pass(lasts)
				require.NoError(t, b.FinishSplit(tableName))
				serves := time.Since(load.began)
				pass(3 * time.Second)
				reads, writes := waits(t, load.stop(), serves)
				queries = b.queries() - queries
				t.Logf("after %v: reads waited %v, writes %v; %d queries", serves-time.Second, reads, writes, queries)
				require.LessOrEqual(t, max(reads, writes), 1500*time.Millisecond)
				require.LessOrEqual(t, queries, 10+3*int(lasts.Seconds()))
			})
		})
	}
}

// waits returns for how long operations lasted after the given moment, or after their own begin if that
// was later. None may have failed.
func waits(t *testing.T, made []arrival, serves time.Duration) (reads, writes time.Duration) {
	t.Helper()
	require.NotEmpty(t, made)
	for _, o := range made {
		require.NoError(t, o.err)
		waited := o.end - max(o.begin, serves)
		if o.write {
			writes = max(writes, waited)
		} else {
			reads = max(reads, waited)
		}
	}
	return reads, writes
}

// TestAmplification has one of three servers be of no use for half a minute, in ways that the cluster
// does not notice, while two hundred operations a second begin. What the other servers are sent stays
// what it was. All together are sent at most a tenth more than there are operations, and the retries
// that the client saved in good times; by default those are pegasus.DefaultRetryTokens.
func TestAmplification(t *testing.T) {
	const perSecond, seconds, savings = 200, 30, 200
	budget := func() pegasus.Option {
		return pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(savings, pegasus.DefaultRetryRatio)})
	}
	for name, hinder := range map[string]func(node *onebox.Node){
		"killed":            (*onebox.Node).Kill,
		"stopped":           (*onebox.Node).Pause,
		"cut off":           func(node *onebox.Node) { node.Blackhole(true) },
		"never answers":     func(node *onebox.Node) { node.DenyClients(true) },
		"loses connections": func(node *onebox.Node) { node.Inject(onebox.Fault{CloseBefore: true}) },
		"refuses":           func(node *onebox.Node) { node.Inject(onebox.Fault{Error: wire.ErrSplitting}) },
		"refuses its role":  func(node *onebox.Node) { node.Inject(onebox.Fault{Error: wire.ErrInvalidState}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, onebox.TableOptions{Partitions: 6}, func(t *testing.T, b *box) {
				load := b.arrive(perSecond)
				pass(time.Second)
				all, useless, queries := b.sent(b.Replicas()...), b.sent(b.Replica(0)), b.queries()
				hinder(b.Replica(0))
				pass(seconds * time.Second)
				all, useless, queries = b.sent(b.Replicas()...)-all, b.sent(b.Replica(0))-useless, b.queries()-queries
				load.stop()
				const operations = perSecond * seconds
				t.Logf("%d operations: %d requests, %d of them to the useless server; %d queries", operations, all, useless, queries)
				require.InEpsilon(t, operations*2/3, all-useless, 0.08, "what the others were sent")
				require.LessOrEqual(t, all, operations*11/10+savings)
				require.Less(t, queries, 4*seconds)
			}, budget())
		})
	}
}

// sent returns how many requests for data the servers together were sent.
func (b *box) sent(nodes ...*onebox.Node) (count int) {
	for _, node := range nodes {
		for _, method := range methods[1:] {
			count += node.Requests(method)
		}
	}
	return count
}

// TestNoStampede has a thousand callers wait for the only server of their table. While it is away it is
// dialled, and the meta servers are asked, as often as if there was one; when it is back, it gets one
// connection, and the requests of all callers once, besides those that were on their way before.
func TestNoStampede(t *testing.T) {
	const callers, away = 1000, 6
	for name, outage := range map[string]struct{ begin, end func(node *onebox.Node) }{
		"killed":  {(*onebox.Node).Kill, (*onebox.Node).Restart},
		"stopped": {(*onebox.Node).Pause, (*onebox.Node).Resume},
		"cut off": {func(node *onebox.Node) { node.Blackhole(true) }, func(node *onebox.Node) { node.Blackhole(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
				b.set("key", "value")
				node := b.Replica(0)
				outage.begin(node)
				var waiting []func()
				for range callers {
					waiting = append(waiting, b.inBackground(func() { require.NoError(t, set(t.Context(), b.table)) }))
				}
				pass(2 * time.Second)
				dials, queries := b.dials(node), b.queries()
				pass(away * time.Second)
				dials, queries = b.dials(node)-dials, b.queries()-queries
				require.LessOrEqual(t, dials, 20*away, "rpc.Options.BackoffMax, and its jitter")
				require.LessOrEqual(t, queries, 3*away)
				requests, connections, asked := b.sent(node), b.dials(node), b.queries()
				outage.end(node)
				took := elapsed(func() {
					for _, wait := range waiting {
						wait()
					}
				})
				requests, connections, asked = b.sent(node)-requests, b.dials(node)-connections, b.queries()-asked
				t.Logf("%d dials and %d queries in %d s; served %v after its return: %d dials, %d queries, %d requests",
					dials, queries, away, took, connections, asked, requests)
				require.LessOrEqual(t, took, 300*time.Millisecond)
				require.LessOrEqual(t, connections, 1)
				require.LessOrEqual(t, asked, 2)
				require.LessOrEqual(t, requests, 2*callers, "what waited in the network, and what had been given up and repeated")
			}, pegasus.WithOperationTimeout(10*time.Minute))
		})
	}
}

// dials returns how often the client has tried to connect to a server.
func (b *box) dials(node *onebox.Node) int { return int(b.stats(node).Dials) }
