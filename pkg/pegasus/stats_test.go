package pegasus_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// operationStats returns what was counted of an operation, zeros if it never was.
func (b *box) operationStats(name string) pegasus.OperationStats {
	for _, stats := range b.client.Stats().Operations {
		if stats.Operation == name {
			return stats
		}
	}
	return pegasus.OperationStats{Operation: name}
}

func TestStats(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		opened := time.Now()
		pass(time.Second)
		for range 7 {
			b.set("key", "value")
		}
		_, err := b.get("another key")
		require.ErrorIs(t, err, pegasus.ErrNotFound)
		s := b.client.Stats()
		require.Equal(t, time.Now(), s.Taken)
		require.Equal(t, opened.UnixNano(), s.Opened.UnixNano())
		require.Equal(t, []pegasus.OperationStats{{Operation: "get", Begun: 1}, {Operation: "set", Begun: 7}}, s.Operations,
			"that there is no such record is no error")
		require.Equal(t, []pegasus.TableStats{{
			Table: tableName, RoutingVersion: 1, ReceivedAt: opened, FetchedAt: opened, Partitions: 1,
		}}, s.Tables)
		require.Equal(t, b.client.Snapshot().Nodes, s.Nodes)
		require.Equal(t, pegasus.DefaultRetryTokens, s.RetryTokens)
		require.Equal(t, pegasus.DefaultRetryTokens, s.RetryCapacity)
		require.Zero(t, s.HedgeCapacity)
		_, err = json.Marshal(s.Operations)
		require.NoError(t, err)

		b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Times: 3})
		b.set("key", "value")
		set := b.operationStats("set")
		require.Equal(t, pegasus.OperationStats{Operation: "set", Begun: 8, Retries: 3}, set)
		require.Less(t, b.client.Stats().RetryTokens, pegasus.DefaultRetryTokens)
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		b.set("key", "value")
		require.Equal(t, uint64(2), b.client.Stats().Tables[0].RoutingVersion)
		require.Equal(t, uint64(1), b.client.Stats().Tables[0].Refreshes)
	})
}

// TestStatsCountEveryOperation performs all operations, with and without a failure.
func TestStatsCountEveryOperation(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for _, o := range operations {
			_ = o.run(t.Context(), b.table)
		}
		counted := b.client.Stats().Operations
		require.Greater(t, len(counted), 15, "%v", counted)
		for _, stats := range counted {
			require.NotEqual(t, "other", stats.Operation)
			require.Empty(t, stats.Errors, stats.Operation)
		}
		b.injectAll(onebox.Fault{Error: wire.ErrHandlerNotFound})
		for _, o := range operations {
			require.Error(t, o.run(t.Context(), b.table))
		}
		for _, stats := range b.client.Stats().Operations {
			require.Equal(t, map[pegasus.ErrorKind]uint64{pegasus.KindRefused: stats.Failed()}, stats.Errors, stats.Operation)
			require.NotZero(t, stats.Failed(), stats.Operation)
		}
	})
}

// TestErrorKinds fails an operation in every way.
func TestErrorKinds(t *testing.T) {
	impatient := pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(1, 0.001)})
	tests := map[pegasus.ErrorKind]struct {
		options []pegasus.Option
		run     func(b *box)
		inDoubt uint64
	}{
		pegasus.KindClosed: {run: func(b *box) {
			b.Replica(0).Pause()
			wait := b.inBackground(func() { _ = set(context.Background(), b.table) })
			require.NoError(b.t, b.client.Close())
			wait()
		}, inDoubt: 1},
		pegasus.KindCancelled: {run: func(b *box) {
			b.Replica(0).Pause()
			ctx, cancel := context.WithCancel(context.Background())
			wait := b.inBackground(func() { _ = set(ctx, b.table) })
			cancel()
			wait()
		}, inDoubt: 1},
		pegasus.KindBusy: {run: func(b *box) {
			b.injectAll(onebox.Fault{Error: wire.ErrBusy})
			_ = set(b.within(time.Second), b.table)
		}},
		pegasus.KindNoPrimary: {run: func(b *box) {
			require.NoError(b.t, b.ClearPrimary(tableName, 0))
			_ = set(b.within(time.Second), b.table)
		}},
		pegasus.KindTimeout: {run: func(b *box) {
			b.Replica(0).Pause()
			_ = set(b.within(time.Second), b.table)
		}, inDoubt: 1},
		pegasus.KindBudget: {options: []pegasus.Option{impatient}, run: func(b *box) {
			b.injectAll(onebox.Fault{CloseBefore: true})
			_ = set(b.within(time.Second), b.table)
		}, inDoubt: 1},
		pegasus.KindRefused: {run: func(b *box) {
			b.injectAll(onebox.Fault{Error: wire.ErrACLDeny})
			_ = set(b.within(time.Second), b.table)
		}},
		pegasus.KindConnection: {options: []pegasus.Option{pegasus.WithRetryDoubtfulWrites(false)}, run: func(b *box) {
			b.injectAll(onebox.Fault{CloseBefore: true})
			_ = set(b.within(time.Second), b.table)
		}, inDoubt: 1},
	}
	for kind, test := range tests {
		t.Run(string(kind), func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
				test.run(b)
				stats := b.operationStats("set")
				require.Equal(t, map[pegasus.ErrorKind]uint64{kind: 1}, stats.Errors)
				require.Equal(t, uint64(1), stats.Begun)
				require.Equal(t, uint64(1), stats.Failed())
				require.Equal(t, test.inDoubt, stats.InDoubt)
			}, test.options...)
		})
	}
}

// TestStatsCountAll counts operations of many goroutines, of which none may be lost.
func TestStatsCountAll(t *testing.T) {
	s := newThriftyStub(t, []byte("value"))
	const callers, reads = 16, 200
	var calling sync.WaitGroup
	for range callers {
		calling.Go(func() {
			for range reads {
				_ = get(t.Context(), s.table)
				_ = set(t.Context(), s.table)
				s.client.Stats()
			}
		})
	}
	calling.Wait()
	counted := s.client.Stats().Operations
	for i := range counted {
		o := &counted[i]
		require.NotZero(t, o.LatencyP50)
		require.GreaterOrEqual(t, o.LatencyP95, o.LatencyP50)
		require.GreaterOrEqual(t, o.LatencyP99, o.LatencyP95)
		o.LatencyP50, o.LatencyP95, o.LatencyP99 = 0, 0, 0
	}
	require.Equal(t, []pegasus.OperationStats{
		{Operation: "get", Begun: callers * reads}, {Operation: "set", Begun: callers * reads},
	}, counted)
	for _, node := range s.client.Stats().Nodes {
		require.NotZero(t, node.LatencyP50)
		require.GreaterOrEqual(t, node.LatencyP95, node.LatencyP50)
		require.GreaterOrEqual(t, node.LatencyP99, node.LatencyP95)
	}
}

// TestOperationLatencies has writes take long, some of them twice as long because they are repeated.
func TestOperationLatencies(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Delay: 10 * time.Millisecond, Match: onebox.OnMethod(wire.Put)})
		for range 31 {
			b.set("key", "value")
		}
		require.Zero(t, b.operationStats("set").LatencyP50, "too little is known")
		for range 19 {
			b.set("key", "value")
		}
		require.NoError(t, b.ClearPrimary(tableName, 0))
		for range 10 {
			require.Error(t, set(b.within(time.Second), b.table))
		}
		stats := b.operationStats("set")
		within := func(want, got time.Duration) {
			t.Helper()
			require.GreaterOrEqual(t, got, want)
			require.LessOrEqual(t, got, want*5/4+time.Millisecond)
		}
		within(10*time.Millisecond, stats.LatencyP50)
		within(time.Second, stats.LatencyP99)
	})
}

// TestTableStats has partitions lose their primaries, trust and a meta server to ask.
func TestTableStats(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		opened, stats := time.Now(), func() pegasus.TableStats { return b.client.Stats().Tables[0] }
		pass(time.Second)
		b.withoutPrimary(3)
		s := stats()
		require.Equal(t, 4, s.Partitions)
		require.Equal(t, 1, s.WithoutPrimary)
		require.Zero(t, s.Doubtful)
		require.True(t, s.ReceivedAt.After(opened))

		for _, m := range b.Metas() {
			m.Pause()
		}
		received := s.ReceivedAt
		b.network.Reset(b.Primary(tableName, 0).Address())
		require.NoError(t, b.table.Set(t.Context(), []byte(keyIn(0, 4)), nil, nil), "it goes on as it was")
		pass(time.Minute)
		s = stats()
		require.Equal(t, received, s.ReceivedAt)
		require.Error(t, s.LastFailure)
		require.NotZero(t, s.Doubtful)
	})
}

// TestTableStatsDuringSplit has a table whose new partitions have no primaries, and need none.
func TestTableStatsDuringSplit(t *testing.T) {
	log := new(eventLog)
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		require.NoError(t, b.table.Set(t.Context(), []byte(keyIn(0, 4)), nil, nil))
		s := b.client.Stats().Tables[0]
		require.Equal(t, 4, s.Partitions)
		require.Zero(t, s.WithoutPrimary)
		for _, event := range log.take("RoutingInstalled") {
			require.Zero(t, event.(pegasus.RoutingInstalled).WithoutPrimary)
		}
	}, pegasus.WithHooks(log.hooks()))
}

// TestStatsOfBounds has the bounds and budgets of a client used up.
func TestStatsOfBounds(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		require.Equal(t, 2, b.client.Stats().MaxInFlight)
		remove := b.slow(time.Second)
		var waits []func()
		for range 5 {
			waits = append(waits, b.inBackground(func() { _, _ = b.get("key") }))
		}
		s := b.client.Stats()
		require.Equal(t, 2, s.InFlight)
		require.Equal(t, 3, s.Waiting)
		for _, wait := range waits {
			wait()
		}
		remove()
		s = b.client.Stats()
		require.Zero(t, s.InFlight)
		require.Zero(t, s.Waiting)
		require.EqualValues(t, 4, s.HedgesRefused, "one was allowed")

		b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Times: 10})
		require.ErrorIs(t, set(b.within(time.Second), b.table), retry.ErrBudget)
		require.EqualValues(t, 1, b.client.Stats().RetriesRefused)
	}, pegasus.WithMaxInFlight(2), pegasus.WithHedgedReads(pegasus.Hedging{Delay: hedgeDelay, Burst: 1, MaxExtraLoad: 0.001}),
		pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(1, 0.001)}))
}
