package pegasus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

const hedgeDelay = 10 * time.Millisecond

// inHedgedBubble runs a test with a table of one partition on three servers and a client that hedges
// after hedgeDelay. The partition has a record "key" that all its servers know.
func inHedgedBubble(t *testing.T, hedging pegasus.Hedging, test func(t *testing.T, b *box)) {
	t.Helper()
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 1}, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.set("other key", "tells the secondaries that the first one is committed")
		test(t, b)
	}, pegasus.WithHedgedReads(hedging))
}

// slow delays the answers of a partition's primary to reads by clients.
func (b *box) slow(delay time.Duration) (remove func()) {
	return b.Primary(tableName, 0).Inject(onebox.Fault{
		Match: func(r *onebox.Request) bool { return !r.Header.Backup }, Delay: delay,
	})
}

// backups returns how many reads secondaries were sent.
func (b *box) backups() (count int) {
	for _, node := range b.Secondaries(tableName, 0) {
		count += node.Requests(wire.Get) + node.Requests(wire.TTL) + node.Requests(wire.MultiGet) +
			node.Requests(wire.BatchGet) + node.Requests(wire.SortKeyCount)
	}
	return count
}

// hedges returns for how many tries the client says that it has asked a secondary.
func (b *box) hedges() (count uint64) {
	for _, o := range b.client.Stats().Operations {
		count += o.Hedges
	}
	return count
}

// Every read that a secondary may answer is answered by one when the primary is slow, after the delay.
func TestHedgedReads(t *testing.T) {
	reads := map[string]func(ctx context.Context, table *pegasus.Table) (any, error){
		"get": func(ctx context.Context, table *pegasus.Table) (any, error) {
			value, err := table.Get(ctx, []byte("key"), []byte("sort"))
			return string(value), err
		},
		"append get": func(ctx context.Context, table *pegasus.Table) (any, error) {
			value, err := table.AppendGet(ctx, []byte("the "), []byte("key"), []byte("sort"))
			return string(value[4:]), err
		},
		"exist": func(ctx context.Context, table *pegasus.Table) (any, error) {
			return table.Exist(ctx, []byte("key"), []byte("sort"))
		},
		"multi get": func(ctx context.Context, table *pegasus.Table) (any, error) {
			result, err := table.MultiGet(ctx, []byte("key"), [][]byte{[]byte("sort")}, nil)
			if err != nil {
				return nil, err
			}
			return string(result.Records[0].Value), nil
		},
		"batch get": func(ctx context.Context, table *pegasus.Table) (any, error) {
			results, err := table.BatchGet(ctx, []pegasus.Key{{HashKey: []byte("key"), SortKey: []byte("sort")}}, nil)
			if err != nil {
				return nil, err
			}
			return string(results[0].Value), results[0].Err
		},
		"sort key count": func(ctx context.Context, table *pegasus.Table) (any, error) {
			return table.SortKeyCount(ctx, []byte("key"))
		},
	}
	want := map[string]any{"exist": true, "sort key count": int64(1)}
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
				b.slow(time.Second)
				var got any
				var err error
				require.Equal(t, hedgeDelay, elapsed(func() { got, err = read(t.Context(), b.table) }))
				require.NoError(t, err)
				if want[name] == nil {
					want[name] = "value"
				}
				require.EqualValues(t, want[name], got)
				require.Equal(t, 1, b.backups())
				require.EqualValues(t, 1, b.hedges())
			})
		})
	}
}

// A primary that answers in time is all that is asked, and a client that was not told to never asks
// others.
func TestReadsAreNotHedgedNeedlessly(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.slow(hedgeDelay - 1)
		for range 10 {
			b.holds("key", "value")
		}
		require.Zero(t, b.backups())
	})
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.slow(300 * time.Millisecond)
		require.Equal(t, 300*time.Millisecond, elapsed(func() { b.holds("key", "value") }))
		require.Zero(t, b.backups())
	})
}

// The primary's answer counts if it comes first, and the secondary's call is given up.
func TestHedgeIsLost(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.slow(2 * hedgeDelay)
		for _, node := range b.Secondaries(tableName, 0) {
			node.Inject(onebox.Fault{Delay: time.Minute})
		}
		require.Equal(t, 2*hedgeDelay, elapsed(func() { b.holds("key", "value") }))
		require.Equal(t, 1, b.backups())
		synctest.Wait()
		for _, node := range b.client.Snapshot().Nodes {
			require.Zero(t, node.InFlight, "the secondary is still waited for")
		}
	})
}

// Secondaries that refuse change nothing.
func TestHedgeIsRefused(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.slow(2 * hedgeDelay)
		for _, node := range b.Secondaries(tableName, 0) {
			node.Inject(onebox.Fault{Error: wire.ErrInvalidState})
		}
		require.Equal(t, 2*hedgeDelay, elapsed(func() { b.holds("key", "value") }))
	})
}

// A secondary's answer that makes no sense ends the primary's call, but must not be taken for the
// caller's doing: the primary is asked again.
func TestHedgeIsUnreadable(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.slow(10 * hedgeDelay)
		for _, node := range b.Secondaries(tableName, 0) {
			node.Inject(onebox.Fault{Garbage: wire.AppendResponse(nil, wire.ErrOK, wire.Get, 0, nonsense("\x0c\x00\x00\x08\x00\x01\x00\x00\x00\x00\x08"))})
		}
		require.Equal(t, 11*hedgeDelay, elapsed(func() { b.holds("key", "value") }))
		require.Equal(t, 1, b.backups())
	})
}

func TestHedgeEndsWithItsCaller(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Delay: time.Minute})
		_, err := b.table.Get(b.within(5*hedgeDelay), []byte("key"), []byte("sort"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, b.backups())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*hedgeDelay, cancel)
		_, err = b.table.Get(ctx, []byte("key"), []byte("sort"))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 2, b.backups())
		synctest.Wait()
	})
}

// Secondaries get no more than their share, whatever the primary does.
func TestHedgingHasABudget(t *testing.T) {
	const reads, burst = 1000, 7
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay, Burst: burst, MaxExtraLoad: 0.1}, func(t *testing.T, b *box) {
		b.slow(2 * hedgeDelay)
		for range reads {
			b.holds("key", "value")
		}
		require.LessOrEqual(t, b.backups(), burst+reads/10)
		require.GreaterOrEqual(t, b.backups(), reads/10)
	})
}

// By default the delay is what most reads stay below.
func TestHedgeDelayFollowsTheNode(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{}, func(t *testing.T, b *box) {
		remove := b.slow(20 * time.Millisecond)
		for range 400 {
			b.holds("key", "value")
		}
		require.Zero(t, b.backups(), "less than the longest delay, then less than usual")
		remove()
		b.slow(time.Second)
		took := elapsed(func() { b.holds("key", "value") })
		require.GreaterOrEqual(t, took, 20*time.Millisecond)
		require.LessOrEqual(t, took, 25*time.Millisecond)
	})
}

// inUnequalBubble runs a test with a partition on each of three servers, that of partition 0 a slow one,
// and a client that has learnt how long each takes: 2 ms, and on the slow one 200 ms for one in so many.
func inUnequalBubble(t *testing.T, slowOneIn int, test func(b *box, keys []string)) {
	t.Helper()
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
		keys := make([]string, b.PartitionCount(tableName))
		for i := range 200 { // enough for every partition, so that its last is not the one that is read
			key := fmt.Sprint("key", i)
			b.set(key, "value")
			if p := wire.KeyHash([]byte(key), []byte("sort")) % uint64(len(keys)); keys[p] == "" {
				keys[p] = key
			}
		}
		var reads atomic.Int64
		slow := func(r *onebox.Request) bool { return r.Is(wire.Get) && reads.Inc()%int64(slowOneIn) == 0 }
		b.Primary(tableName, 0).Inject(onebox.Fault{Match: slow, Delay: 200 * time.Millisecond})
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Get), Delay: 2 * time.Millisecond})
		for range 500 {
			for _, key := range keys {
				b.holds(key, "value")
			}
		}
		test(b, keys)
	}, pegasus.WithHedgedReads(pegasus.Hedging{MaxDelay: time.Second, MaxExtraLoad: 1}))
}

// A primary of which more answers are slow than the quantile leaves out is hedged in time all the same:
// the other replicas tell what is slow.
func TestHedgeDelayOfAnUnevenPrimary(t *testing.T) {
	inUnequalBubble(t, 5, func(b *box, keys []string) {
		for range 200 {
			require.LessOrEqual(b.t, elapsed(func() { b.holds(keys[0], "value") }), 8*time.Millisecond)
		}
	})
}

// A primary that is always slower than the others is not hedged for that.
func TestHedgeDelayOfAFarPrimary(t *testing.T) {
	inUnequalBubble(t, 1, func(b *box, keys []string) {
		before := b.backups()
		for range 200 {
			require.Equal(b.t, 200*time.Millisecond, elapsed(func() { b.holds(keys[0], "value") }))
		}
		require.Equal(b.t, before, b.backups())
	})
}

// Where there is no primary, or it cannot be reached, secondaries answer at once. The client goes on
// asking for news, and goes back to the new primary.
func TestReadsWithoutAPrimary(t *testing.T) {
	for name, lose := range map[string]func(b *box){
		"none":   func(b *box) { require.NoError(b.t, b.ClearPrimary(tableName, 0)) },
		"killed": func(b *box) { b.Primary(tableName, 0).Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			config := onebox.Config{FailoverDelay: 10 * time.Second}
			inBubble(t, config, onebox.TableOptions{Partitions: 1}, func(t *testing.T, b *box) {
				b.set("key", "value")
				b.set("other key", "")
				lose(b)
				b.holds("key", "value") // the one that finds out
				require.Less(t, elapsed(func() {
					for range 100 {
						b.holds("key", "value")
					}
				}), time.Second)
				require.NotZero(t, b.backups())
				pass(time.Minute)
				if b.Primary(tableName, 0) == nil {
					require.NoError(t, b.AssignPrimary(tableName, 0, b.Secondaries(tableName, 0)[0].Index()))
				}
				b.holds("key", "value")
				pass(time.Second)
				before := b.backups()
				b.holds("key", "value")
				require.LessOrEqual(t, b.backups(), before+1, "on the primary")
				b.set("key", "new value")
				b.holds("key", "new value")
			}, pegasus.WithHedgedReads(pegasus.Hedging{Delay: hedgeDelay}))
		})
	}
}

// Secondaries that are asked in place of a primary, but refuse, cost tokens like all that reaches servers,
// although to find that there is no primary, or none that can be dialled, does not.
func TestSecondariesAskedInVainCostTokens(t *testing.T) {
	const tokens = 3
	for name, lose := range map[string]func(b *box) error{
		"no primary":     func(b *box) error { b.withoutPrimary(0); return pegasus.ErrNoPrimary },
		"primary killed": func(b *box) error { b.Primary(tableName, 0).Kill(); return rpc.ErrConnect },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
				b.injectAll(onebox.Fault{Error: wire.ErrInvalidState})
				why := lose(b)
				before := b.backups()
				_, err := b.get("key")
				require.ErrorIs(t, err, why)
				require.ErrorIs(t, err, retry.ErrBudget)
				require.ErrorContains(t, err, "secondary")
				require.LessOrEqual(t, failed(t, err).Tries, 2+tokens)
				require.LessOrEqual(t, b.backups()-before, 2+tokens)
			}, pegasus.WithHedgedReads(pegasus.Hedging{Delay: hedgeDelay}),
				pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(tokens, 0.001)}))
		})
	}
}

// A silent primary delays nobody by more than the hedge's delay.
func TestReadsFromASilentPrimary(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.Primary(tableName, 0).Blackhole(true)
		for range 50 {
			took := elapsed(func() { b.holds("key", "value") })
			require.LessOrEqual(t, took, hedgeDelay)
		}
	})
}

// Secondaries that gave trouble lately are not asked.
func TestHedgingAvoidsTroubledSecondaries(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.slow(20 * hedgeDelay)
		dead := b.Secondaries(tableName, 0)[0]
		dead.Blackhole(true)
		slow := 0
		for range 100 {
			if elapsed(func() { b.holds("key", "value") }) > hedgeDelay {
				slow++
			}
		}
		require.Less(t, slow, 20, "the dead one is found out after its first silence")
	})
}

func TestHedgingChecksItsSettings(t *testing.T) {
	for name, hedging := range map[string]pegasus.Hedging{
		"Delay":        {Delay: -1},
		"Quantile":     {Quantile: 1},
		"MinDelay":     {MinDelay: time.Nanosecond},
		"MaxDelay":     {MinDelay: time.Second, MaxDelay: time.Millisecond},
		"MaxExtraLoad": {MaxExtraLoad: 1.5},
		"Burst":        {Burst: -1},
	} {
		_, err := pegasus.Open([]string{"10.0.0.1"}, pegasus.WithHedgedReads(hedging))
		require.ErrorContains(t, err, "Hedging."+name)
	}
	client := openClient(t, []string{"10.0.0.1"}, pegasus.WithHedgedReads(pegasus.Hedging{MinDelay: time.Second}))
	require.Equal(t, &pegasus.Hedging{
		Quantile: 0.95, MinDelay: time.Second, MaxDelay: time.Second, MaxExtraLoad: 0.05, Burst: 100,
	}, client.Settings().Hedging)
}

// Primary and secondary race for every read, on a real network, while callers give up: each gets its
// own record or an error of its own.
func TestStressHedging(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, pegasus.WithHedgedReads(pegasus.Hedging{
		Delay: 200 * time.Microsecond, MaxExtraLoad: 1, Burst: 1_000_000,
	}))
	const keys = 16
	for range 2 {
		for key := range keys {
			b.set(fmt.Sprint("key ", key), fmt.Sprint("value ", key))
		}
	}
	b.injectAll(onebox.Fault{Match: func(*onebox.Request) bool { return rand.IntN(2) == 0 }, Delay: 300 * time.Microsecond})
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 300 {
				key := rand.IntN(keys)
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Millisecond)+100*time.Microsecond)
				buffer := append(make([]byte, 0, 64), "before "...)
				got, err := b.table.AppendGet(ctx, buffer, fmt.Append(nil, "key ", key), []byte("sort"))
				cancel()
				if err == nil && string(got) != fmt.Sprint("before value ", key) {
					t.Errorf("key %d has %q", key, got)
				}
			}
		})
	}
	running.Wait()
	require.Empty(t, b.Violations())
}
