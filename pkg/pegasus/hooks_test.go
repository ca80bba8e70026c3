package pegasus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// hookNames are all the hooks there are.
var hookNames = []string{
	"DialBegin", "DialEnd", "ConnectionLost", "CircuitChanged", "AttemptBegin", "AttemptEnd", "OperationEnd", "Retry", "Hedge",
	"RateChanged", "Refresh", "MetaInstalled", "RoutingInstalled",
}

// hooksTo returns hooks that all call one function, with the hook's name and what it was told.
func hooksTo(call func(name string, event any)) pegasus.Hooks {
	return pegasus.Hooks{
		DialBegin:      func(e pegasus.DialBegin) { call("DialBegin", e) },
		DialEnd:        func(e pegasus.DialEnd) { call("DialEnd", e) },
		ConnectionLost: func(e pegasus.ConnectionLost) { call("ConnectionLost", e) },
		CircuitChanged: func(e rpc.CircuitChange) { call("CircuitChanged", e) },
		AttemptBegin: func(ctx context.Context, e pegasus.Attempt) context.Context {
			call("AttemptBegin", e)
			return ctx
		},
		AttemptEnd:       func(_ context.Context, e pegasus.AttemptEnd) { call("AttemptEnd", e) },
		OperationEnd:     func(_ context.Context, e pegasus.OperationEnd) { call("OperationEnd", e) },
		Retry:            func(_ context.Context, e pegasus.Retry) { call("Retry", e) },
		Hedge:            func(_ context.Context, e pegasus.Hedge) { call("Hedge", e) },
		RateChanged:      func(e pegasus.RateChange) { call("RateChanged", e) },
		Refresh:          func(e pegasus.Refresh) { call("Refresh", e) },
		MetaInstalled:    func(e pegasus.MetaInstalled) { call("MetaInstalled", e) },
		RoutingInstalled: func(e pegasus.RoutingInstalled) { call("RoutingInstalled", e) },
	}
}

// eventLog keeps what hooks were told.
type eventLog struct {
	mu     sync.Mutex
	events map[string][]any
}

func (l *eventLog) hooks() pegasus.Hooks {
	l.events = make(map[string][]any)
	return hooksTo(func(name string, event any) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events[name] = append(l.events[name], event)
	})
}

// take returns the events of one hook since it was last called.
func (l *eventLog) take(name string) []any {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events[name]
	delete(l.events, name)
	return events
}

// excite has every hook called: the primary of the only partition cannot write, is busy, is slow, then
// moves, then dies.
func excite(b *box) {
	b.breakWrites()
	_ = set(b.within(time.Second), b.table)
	defer b.Primary(tableName, 0).Inject(onebox.Fault{Error: wire.ErrBusy, Times: 1, Match: onebox.OnMethod(wire.Get)})()
	_ = get(b.within(time.Second), b.table)
	defer b.slow(time.Second)()
	_ = get(b.within(2*time.Second), b.table)
	if b.MovePrimary(tableName, 0, 1) == nil {
		_ = set(b.within(2*time.Second), b.table)
	}
	b.Replica(1).Kill()
	_ = get(b.within(2*time.Second), b.table)
	pass(time.Second)
}

// inExcitableBubble runs a test with a client whose hedged reads find a table of one partition.
func inExcitableBubble(t *testing.T, test func(t *testing.T, b *box), options ...pegasus.Option) {
	t.Helper()
	inBubble(t, onebox.Config{}, single, test, append(options, excitable()...)...)
}

// excitable are options with which excite has every hook called.
func excitable() []pegasus.Option {
	return []pegasus.Option{
		pegasus.WithHedgedReads(pegasus.Hedging{Delay: hedgeDelay}), pegasus.WithoutWarmUp(),
		pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}),
	}
}

// TestHooksTell looks at what hooks are told.
func TestHooksTell(t *testing.T) {
	log := new(eventLog)
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		now, primary, meta := time.Now(), b.Primary(tableName, 0), b.Leader().Address()
		pass(0)
		require.Equal(t, []any{
			pegasus.DialBegin{At: now, Node: meta}, pegasus.DialBegin{At: now, Node: primary.Address()},
		}, log.take("DialBegin"))
		require.Equal(t, []any{
			pegasus.DialEnd{At: now, Node: meta}, pegasus.DialEnd{At: now, Node: primary.Address()},
		}, log.take("DialEnd"))
		require.Equal(t, []any{pegasus.MetaInstalled{
			At: now, Event: "meta leader found", State: b.client.Snapshot().Meta,
		}}, log.take("MetaInstalled"))
		require.Equal(t, []any{pegasus.RoutingInstalled{
			At: now, Table: tableName, AppID: b.appID, Version: 1, Partitions: 1, Reason: "opened",
		}}, log.take("RoutingInstalled"))

		b.injectAll(onebox.Fault{Delay: 3 * time.Millisecond})
		b.set("key", "value")
		attempt := pegasus.Attempt{Operation: "set", Table: tableName, Node: primary.Address(), Try: 1}
		require.Equal(t, []any{attempt}, log.take("AttemptBegin"))
		require.Equal(t, []any{pegasus.AttemptEnd{Attempt: attempt, Took: 3 * time.Millisecond}}, log.take("AttemptEnd"))

		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		b.set("key", "value")
		pass(0)
		ends := log.take("AttemptEnd")
		require.Len(t, ends, 2)
		refused, last := ends[0].(pegasus.AttemptEnd), ends[1].(pegasus.AttemptEnd)
		var refusal *rpc.ServerError
		require.ErrorAs(t, refused.Err, &refusal)
		require.Equal(t, wire.ErrInvalidState, refusal.Name)
		require.NoError(t, last.Err)
		require.Equal(t, pegasus.Attempt{Operation: "set", Table: tableName, Node: b.Replica(1).Address(), Try: 2}, last.Attempt)
		require.Equal(t, 3*time.Millisecond, last.Took, "it had to connect, which took no time")
		retries := log.take("Retry")
		require.Len(t, retries, 1)
		retry := retries[0].(pegasus.Retry)
		require.Equal(t, attempt, retry.Attempt)
		require.Equal(t, refused.Err, retry.Err)
		refreshes := log.take("Refresh")
		require.Len(t, refreshes, 1)
		require.Equal(t, pegasus.Refresh{
			At: refreshes[0].(pegasus.Refresh).At, Table: tableName, Reason: "refused", News: true,
		}, refreshes[0])
		require.Equal(t, uint64(2), log.take("RoutingInstalled")[0].(pegasus.RoutingInstalled).Version)

		b.Replica(1).Kill()
		pass(0)
		lost := log.take("ConnectionLost")
		require.NotEmpty(t, lost)
		require.Equal(t, b.Replica(1).Address(), lost[len(lost)-1].(pegasus.ConnectionLost).Node)
		require.Error(t, lost[len(lost)-1].(pegasus.ConnectionLost).Cause)
		_, err := b.table.Get(b.within(time.Millisecond), []byte("key"), nil)
		require.Error(t, err)
		pass(0)
		for _, end := range log.take("DialEnd") {
			if end := end.(pegasus.DialEnd); end.Node == b.Replica(1).Address() && end.Err != nil {
				require.ErrorIs(t, end.Err, rpc.ErrConnect)
				return
			}
		}
		require.Fail(t, "no dial has failed")
	}, pegasus.WithHooks(log.hooks()))
}

// TestAttemptTimes has attempts spend their time in different places.
func TestAttemptTimes(t *testing.T) {
	log := new(eventLog)
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		defer b.Primary(tableName, 0).Inject(onebox.Fault{Delay: 10 * time.Millisecond})()
		for range 2 {
			b.inBackground(func() { b.set("key", "value") })
		}
		pass(20 * time.Millisecond)
		var queued []time.Duration
		for _, end := range log.take("AttemptEnd") {
			end := end.(pegasus.AttemptEnd)
			require.Equal(t, 10*time.Millisecond, end.Took-end.Queued)
			queued = append(queued, end.Queued)
		}
		require.Equal(t, []time.Duration{0, 10 * time.Millisecond}, queued, "the window lets one in at a time")

		b.Replica(0).Pause()
		wait := b.inBackground(func() { _ = set(b.within(time.Second), b.table) })
		pass(0)
		require.ErrorIs(t, set(b.within(5*time.Millisecond), b.table), context.DeadlineExceeded)
		end := log.take("AttemptEnd")[0].(pegasus.AttemptEnd)
		require.Equal(t, end.Took, end.Queued, "it was never admitted")
		wait()
	}, pegasus.WithHooks(log.hooks()), pegasus.WithConnections(rpc.Options{Window: 1}))
}

// TestHedgeHook tells of reads by secondaries who won.
func TestHedgeHook(t *testing.T) {
	log := new(eventLog)
	inExcitableBubble(t, func(t *testing.T, b *box) {
		require.ErrorIs(t, get(t.Context(), b.table), pegasus.ErrNotFound)
		require.Empty(t, log.take("Hedge"))
		remove := b.slow(time.Second)
		require.ErrorIs(t, get(t.Context(), b.table), pegasus.ErrNotFound)
		remove()
		won := log.take("Hedge")
		require.Len(t, won, 1)
		hedge := won[0].(pegasus.Hedge)
		require.True(t, hedge.Won)
		require.Equal(t, b.Primary(tableName, 0).Address(), hedge.Node)
		require.NotEqual(t, hedge.Node, hedge.Secondary)

		for _, node := range b.Secondaries(tableName, 0) {
			node.Pause()
		}
		remove = b.slow(20 * time.Millisecond)
		require.ErrorIs(t, get(t.Context(), b.table), pegasus.ErrNotFound)
		remove()
		require.False(t, log.take("Hedge")[0].(pegasus.Hedge).Won)
		for _, stats := range b.client.Stats().Operations {
			require.Equal(t, uint64(2), stats.Hedges)
			require.Equal(t, uint64(1), stats.HedgesWon)
		}
		require.Equal(t, 100, b.client.Stats().HedgeCapacity)
	}, pegasus.WithHooks(log.hooks()))
}

// TestCloseFromHooks closes the client from inside each of the hooks, where it takes no time, fails what
// is under way, and leaves nothing behind.
func TestCloseFromHooks(t *testing.T) {
	for _, closing := range hookNames {
		t.Run(closing, func(t *testing.T) {
			var b *box
			var called atomic.Bool
			var closed chan error
			hooks := hooksTo(func(name string, _ any) {
				if name != closing || b == nil || called.Swap(true) {
					return
				}
				began := time.Now()
				err := b.client.Close()
				if took := time.Since(began); took > 0 {
					err = errors.Join(err, fmt.Errorf("it took %v", took))
				}
				closed <- err
			})
			inExcitableBubble(t, func(t *testing.T, opened *box) {
				closed = make(chan error, 1)
				opened.client = opened.open(append(excitable(), pegasus.WithHooks(hooks))...)
				b = opened
				table, err := b.client.OpenTable(t.Context(), tableName)
				if err == nil {
					b.table = table
					excite(b)
				}
				pass(0)
				require.Len(t, closed, 1, "the hook was not called")
				require.NoError(t, <-closed)
				_, err = b.client.OpenTable(t.Context(), tableName)
				require.ErrorIs(t, err, pegasus.ErrClosed)
			})
		})
	}
}

// TestOperationsFromHooks performs an operation inside each of the hooks: also where it needs the very
// connection, or the very routing, that the hook is told about, or the only place that there is for
// operations under way.
func TestOperationsFromHooks(t *testing.T) {
	for _, calling := range hookNames {
		t.Run(calling, func(t *testing.T) {
			var b *box
			var called atomic.Bool
			var outcome chan error
			hooks := hooksTo(func(name string, _ any) {
				if name != calling || b == nil || called.Swap(true) {
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
				defer cancel()
				table, err := b.client.OpenTable(ctx, tableName)
				if err == nil {
					err = set(ctx, table)
				}
				b.client.Snapshot()
				b.client.Stats()
				outcome <- err
			})
			inExcitableBubble(t, func(t *testing.T, opened *box) {
				outcome = make(chan error, 1)
				opened.client = opened.open(append(excitable(), pegasus.WithHooks(hooks), pegasus.WithMaxInFlight(1))...)
				b = opened
				b.table = b.openTable()
				excite(b)
				pass(20 * time.Second)
				require.Len(t, outcome, 1, "the hook was not called")
				require.NoError(t, <-outcome)
			})
		})
	}
}

// TestSlowHook has a hook hang: nobody else notices, what is reported meanwhile is bounded, and what
// comes afterwards is reported.
func TestSlowHook(t *testing.T) {
	var refreshed chan struct{}
	hooks := pegasus.Hooks{Refresh: func(pegasus.Refresh) { <-refreshed }}
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		refreshed = make(chan struct{})
		require.NoError(t, b.ClearPrimary(tableName, 0))
		for b.client.Stats().HooksSkipped < 10 {
			_ = get(b.within(time.Second), b.table)
		}
		require.NoError(t, b.AssignPrimary(tableName, 0, 1))
		pass(time.Second)
		b.set("key", "value")
		require.NoError(t, b.client.Close())
		for range 1025 { // the one that hangs and those that wait for it
			refreshed <- struct{}{}
		}
		pass(0)
		require.Empty(t, refreshed)
	}, pegasus.WithHooks(hooks))
}

// TestSeveralHooks are called in the order in which they were given, and share a context.
func TestSeveralHooks(t *testing.T) {
	type key string
	var called []string
	hooks := func(name string) pegasus.Option {
		return pegasus.WithHooks(pegasus.Hooks{
			AttemptBegin: func(ctx context.Context, _ pegasus.Attempt) context.Context {
				called = append(called, "begin "+name)
				return context.WithValue(ctx, key(name), name)
			},
			AttemptEnd: func(ctx context.Context, _ pegasus.AttemptEnd) {
				called = append(called, fmt.Sprint("end ", name, " of ", ctx.Value(key("1")), ctx.Value(key("2"))))
			},
		})
	}
	careless := pegasus.WithHooks(pegasus.Hooks{
		AttemptBegin: func(context.Context, pegasus.Attempt) context.Context { return nil },
	})
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		require.Equal(t, []string{"begin 1", "begin 2", "end 1 of 12", "end 2 of 12"}, called)
		require.Len(t, b.client.Settings().Hooks, 3)
		require.Nil(t, b.client.Settings().Connections.Hooks.DialBegin)
	}, hooks("1"), careless, hooks("2"))
}

// quietHooks are hooks of attempts and operations that do nothing.
func quietHooks() pegasus.Option {
	return pegasus.WithHooks(pegasus.Hooks{
		AttemptBegin: func(ctx context.Context, _ pegasus.Attempt) context.Context { return ctx },
		AttemptEnd:   func(context.Context, pegasus.AttemptEnd) {},
		OperationEnd: func(context.Context, pegasus.OperationEnd) {},
	})
}

// TestHooksAllocateNothing counts the allocations of reads without hooks, with hooks that are not about
// reads, and with hooks that are.
func TestHooksAllocateNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for name, options := range map[string][]pegasus.Option{
		"none":     nil,
		"of dials": {pegasus.WithHooks(pegasus.Hooks{DialEnd: func(pegasus.DialEnd) {}})},
		"of overload": {pegasus.WithHooks(pegasus.Hooks{
			CircuitChanged: func(rpc.CircuitChange) {}, RateChanged: func(pegasus.RateChange) {},
		})},
		"of attempts": {quietHooks()},
	} {
		t.Run(name, func(t *testing.T) {
			s := newThriftyStub(t, []byte("value"), options...)
			base, buffer := s.allocations(), make([]byte, 0, 1<<10)
			got := testing.AllocsPerRun(500, func() {
				if _, err := s.table.AppendGet(t.Context(), buffer, []byte("key"), nil); err != nil {
					t.Error(err)
				}
			})
			require.Zero(t, got-base)
		})
	}
}

// BenchmarkHooks compares reads over loopback without hooks, with some that are not about reads, and with
// some that are: in turns, so that what else happens on the machine hits all alike. The ratios are those
// of the medians to the client without hooks.
func BenchmarkHooks(b *testing.B) {
	kinds := []string{"none", "of-dials", "of-attempts"}
	stubs := []*stub{
		newThriftyStub(b, bytes.Repeat([]byte("v"), 100)),
		newThriftyStub(b, bytes.Repeat([]byte("v"), 100), pegasus.WithHooks(pegasus.Hooks{DialEnd: func(pegasus.DialEnd) {}})),
		newThriftyStub(b, bytes.Repeat([]byte("v"), 100), quietHooks()),
	}
	const reads = 500
	times := make([][]time.Duration, len(stubs))
	buffer := make([]byte, 0, 1<<10)
	for b.Loop() {
		for i, s := range stubs {
			began := time.Now()
			for range reads {
				if _, err := s.table.AppendGet(b.Context(), buffer, []byte("hash key"), []byte("sort key")); err != nil {
					b.Fatal(err)
				}
			}
			times[i] = append(times[i], time.Since(began))
		}
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2]) / reads
	}
	base := median(times[0])
	b.ReportMetric(base, "ns/read-without")
	for i := 1; i < len(kinds); i++ {
		b.ReportMetric(median(times[i])/base, "ratio-"+kinds[i])
	}
}
