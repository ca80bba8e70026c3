package pegasus_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// hedgedAfter returns after what time a secondary is asked for a record whose primary takes long.
func (b *box) hedgedAfter(key string) time.Duration {
	b.t.Helper()
	var asked atomic.Duration
	began := time.Now()
	for _, node := range b.Replicas() {
		defer node.Inject(onebox.Fault{Match: func(r *onebox.Request) bool {
			if r.Header.Backup {
				asked.CompareAndSwap(0, time.Since(began))
			}
			return false
		}})()
		defer node.Inject(onebox.Fault{Delay: time.Second, Match: func(r *onebox.Request) bool { return !r.Header.Backup }})()
	}
	b.holds(key, "value")
	require.NotZero(b.t, asked.Load(), "nobody was asked")
	return asked.Load()
}

// The delay that follows from what is known about nodes stays within its limits.
func TestHedgeDelayHasLimits(t *testing.T) {
	hedging := pegasus.Hedging{MinDelay: 5 * time.Millisecond, MaxDelay: 20 * time.Millisecond, MaxExtraLoad: 1, Burst: 1_000_000}
	inHedgedBubble(t, hedging, func(t *testing.T, b *box) {
		require.Equal(t, hedging.MaxDelay, b.hedgedAfter("key"), "nothing is known")
		for range 400 { // which take no time
			b.holds("key", "value")
		}
		require.Equal(t, hedging.MinDelay, b.hedgedAfter("key"))
		var remove []func()
		for _, node := range b.Replicas() {
			remove = append(remove, node.Inject(onebox.Fault{Delay: 100 * time.Millisecond}))
		}
		for range 4000 {
			b.holds("key", "value")
		}
		for _, remove := range remove {
			remove()
		}
		require.Equal(t, hedging.MaxDelay, b.hedgedAfter("key"))
	})
}

// The slow answers of an uneven primary are told by the fastest of the others, or as long as that takes.
func TestHedgeDelayFollowsTheFastest(t *testing.T) {
	for name, test := range map[string]struct {
		others [2]time.Duration // how long one in ten of their answers takes
		want   time.Duration
	}{
		"both fast": {[2]time.Duration{2 * time.Millisecond, 2 * time.Millisecond}, 4 * time.Millisecond},
		"one fast":  {[2]time.Duration{40 * time.Millisecond, 2 * time.Millisecond}, 4 * time.Millisecond},
		"none fast": {[2]time.Duration{40 * time.Millisecond, 40 * time.Millisecond}, 40 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
				keys := make(map[*onebox.Node]string) // by the primary that is asked
				for i := range b.PartitionCount(tableName) {
					key := ""
					for n := 0; key == "" || int(wire.KeyHash([]byte(key), []byte("sort"))%3) != i; n++ {
						key = string(rune('a' + n))
					}
					b.set(key, "value")
					b.set(key, "value") // which has the secondaries know of the first
					keys[b.Primary(tableName, i)] = key
				}
				require.Len(t, keys, 3)
				var primary *onebox.Node
				var remove []func()
				others := 0
				for i := range 3 {
					node := b.Primary(tableName, i)
					slow, oneIn := 200*time.Millisecond, int64(5)
					if i == 0 {
						primary = node
					} else {
						slow, oneIn = test.others[others], 10
						others++
					}
					var reads atomic.Int64
					remove = append(remove, node.Inject(onebox.Fault{Delay: slow, Match: func(r *onebox.Request) bool {
						return r.Is(wire.Get) && reads.Inc()%oneIn == 0
					}}), node.Inject(onebox.Fault{Match: onebox.OnMethod(wire.Get), Delay: 2 * time.Millisecond}))
				}
				for range 600 {
					for _, key := range keys {
						b.holds(key, "value")
					}
				}
				for _, remove := range remove {
					remove()
				}
				for node, key := range keys {
					for range 50 {
						if node != primary { // what a hedge costs
							b.holds(key, "value")
						}
					}
				}
				got := b.hedgedAfter(keys[primary])
				require.GreaterOrEqual(t, got, test.want)
				require.LessOrEqual(t, got, test.want*5/4+time.Millisecond)
			}, pegasus.WithHedgedReads(pegasus.Hedging{MaxDelay: time.Second, Burst: 1}))
		})
	}
}

// Only reads, and not those of scans, may be answered by secondaries, and what follows a read that was is
// sent to primaries as if there had been none.
func TestOnlyReadsAreHedged(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay, MaxExtraLoad: 1}, func(t *testing.T, b *box) {
		var mu sync.Mutex
		hedged := make(map[string]bool)
		b.injectAll(onebox.Fault{Match: func(r *onebox.Request) bool {
			if r.Header.Backup {
				mu.Lock()
				defer mu.Unlock()
				hedged[r.Method] = true
				require.False(t, b.Primary(tableName, 0) == r.Node, "a primary was taken for a secondary")
			}
			return false
		}})
		run := func() {
			for _, o := range operations {
				present(t, o.run(t.Context(), b.table))
			}
			drain(t, b.table.ScanTable(t.Context(), nil))
		}
		remove := b.slow(2 * hedgeDelay)
		run()
		want := map[string]bool{}
		for _, method := range []*wire.Method{wire.Get, wire.TTL, wire.MultiGet, wire.BatchGet, wire.SortKeyCount} {
			want[method.Name()] = true
		}
		synctest.Wait()
		require.Equal(t, want, hedged)
		remove()

		require.NoError(t, b.ClearPrimary(tableName, 0))
		for range 3 {
			b.holds("key", "value")
		}
		require.NoError(t, b.AssignPrimary(tableName, 0, b.Secondaries(tableName, 0)[0].Index()))
		pass(2 * time.Second)
		b.holds("key", "value")
		pass(time.Second)
		before := b.backups()
		run()
		require.Equal(t, before, b.backups(), "the client has not noticed that there is a primary")
	})
}

// What secondaries are told about the time, and primaries that are asked again, is what is left of it.
func TestHedgesAnnounceTheTimeLeft(t *testing.T) {
	var mu sync.Mutex
	var announced []int32
	note := onebox.Fault{Match: func(r *onebox.Request) bool {
		if r.Is(wire.Get) {
			mu.Lock()
			defer mu.Unlock()
			announced = append(announced, r.Header.TimeoutMillis)
		}
		return false
	}}
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.injectAll(note)
		b.slow(2 * hedgeDelay)
		for _, node := range b.Secondaries(tableName, 0) {
			node.Inject(onebox.Fault{Garbage: wire.AppendResponse(nil, wire.ErrOK, wire.Get, 0, nonsense("\x0c\x00\x00\x08\x00\x01\x00\x00\x00\x00\x08"))})
		}
		b.holds("key", "value")
		synctest.Wait()
		require.Equal(t, []int32{5000, 4990, 4990}, announced)
	})
	announced = nil
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		b.slow(2 * hedgeDelay)
		for range 50 { // after which there are connections to all
			b.holds("key", "value")
		}
		for _, node := range b.Replicas() {
			defer node.Inject(note)()
		}
		b.holds("key", "value")
		synctest.Wait()
		require.Len(t, announced, 1, "the fault before it keeps the primary's from being noted")
		require.EqualValues(t, 4990, announced[0])
	})
	announced = nil
	inHedgedBubble(t, pegasus.Hedging{Delay: time.Minute}, func(t *testing.T, b *box) {
		b.injectAll(note)
		b.Primary(tableName, 0).Pause()
		took := elapsed(func() { b.holds("key", "value") })
		synctest.Wait()
		require.Equal(t, int32(5000-took.Milliseconds()), announced[len(announced)-1])
		require.Greater(t, took, 400*time.Millisecond)
	})
}

// Who has given up before there was a primary is no reason to ask secondaries.
func TestNoHedgeForWhoGaveUp(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		require.NoError(t, b.ClearPrimary(tableName, 0))
		b.holds("key", "value")
		before := b.hedges()
		_, err := b.table.Get(cancelled(), []byte("key"), []byte("sort"))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, before, b.hedges())
	})
}
