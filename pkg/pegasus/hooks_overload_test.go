package pegasus_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// breakWrites has all writes that there are, which are deletions, to the primary of the only partition fail
// for its disk, until the circuit opens.
func (b *box) breakWrites() {
	remove := b.Primary(tableName, 0).Inject(onebox.Fault{Error: wire.ErrDiskIOError, Match: onebox.OnMethod(wire.Remove)})
	for range 60 {
		_ = b.table.Del(b.within(20*time.Millisecond), []byte("key"), nil)
		pass(20 * time.Millisecond)
	}
	remove()
	pass(time.Second)
}

// curiousLog is a log that looks at the client before it writes a line, and keeps level and message.
type curiousLog struct {
	slog.Handler
	client func() *pegasus.Client

	mu    sync.Mutex
	lines []string
}

func (l *curiousLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *curiousLog) Handle(_ context.Context, record slog.Record) error {
	if client := l.client(); client != nil {
		client.Stats()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, record.Level.String()+" "+record.Message)
	return nil
}

// take returns the lines since it was last called.
func (l *curiousLog) take() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// told returns what a hook was told since it was last asked.
func told[E any](log *eventLog, hook string) (events []E) {
	synctest.Wait()
	for _, event := range log.take(hook) {
		events = append(events, event.(E))
	}
	return events
}

// inWatchedBubble runs a test with a client whose hooks and log are kept.
func inWatchedBubble(t *testing.T, test func(t *testing.T, b *box, events *eventLog, log *curiousLog), options ...pegasus.Option) {
	t.Helper()
	events, log := new(eventLog), new(curiousLog)
	var client *pegasus.Client
	log.client = func() *pegasus.Client { return client }
	options = append(options, pegasus.WithHooks(events.hooks()), pegasus.WithLogger(slog.New(log)))
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		log.take()
		client = b.client
		test(t, b, events, log)
	}, options...)
}

// TestCircuitIsTold has the circuit of a node open and close: hook, log and statistics tell so.
func TestCircuitIsTold(t *testing.T) {
	inWatchedBubble(t, func(t *testing.T, b *box, events *eventLog, log *curiousLog) {
		node := b.Primary(tableName, 0)
		b.breakWrites()
		opened := told[rpc.CircuitChange](events, "CircuitChanged")
		require.Len(t, opened, 1)
		require.Equal(t, rpc.CircuitOpen, opened[0].State)
		require.Equal(t, node.Address(), opened[0].Node)
		var failure *rpc.ServerError
		require.ErrorAs(t, opened[0].Err, &failure)
		require.Equal(t, []string{"WARN circuit opened"}, log.take())
		stats := b.stats(node)
		require.True(t, stats.CircuitOpen)
		require.Equal(t, opened[0].At, stats.CircuitOpenSince)
		require.NotZero(t, stats.CircuitKept)

		b.set("key", "value")
		changes := told[rpc.CircuitChange](events, "CircuitChanged")
		require.Len(t, changes, 2)
		require.Equal(t, rpc.CircuitHalfOpen, changes[0].State)
		require.Equal(t, rpc.CircuitClosed, changes[1].State)
		require.Equal(t, opened[0].At, changes[1].Since)
		require.Equal(t, []string{"DEBUG circuit half-open", "INFO circuit closed"}, log.take())
		require.Zero(t, b.stats(node).CircuitOpenSince)
		require.EqualValues(t, 1, b.stats(node).CircuitOpened)
	})
}

// TestRateIsTold has the servers be busy twice, and then no more: hook, log and statistics tell when reads
// are limited, limited further, and limited no longer.
func TestRateIsTold(t *testing.T) {
	inWatchedBubble(t, func(t *testing.T, b *box, events *eventLog, log *curiousLog) {
		rates := func() (reads, writes pegasus.RateStats) {
			stats := b.client.Stats().Tables[0]
			return stats.Reads, stats.Writes
		}
		pass(time.Second)
		for range 100 {
			b.holds("key", "value")
			pass(10 * time.Millisecond)
		}
		reads, _ := rates()
		require.Zero(t, reads)
		require.Empty(t, told[pegasus.RateChange](events, "RateChanged"))

		b.busyOnce(wire.Get)
		since, limited := time.Now(), told[pegasus.RateChange](events, "RateChanged")
		require.Len(t, limited, 1)
		require.InDelta(t, 70, limited[0].Limit, 5, "of 100 a second")
		require.Equal(t, pegasus.RateChange{
			At: since, Table: tableName, Reads: true, Limit: limited[0].Limit, Since: since,
		}, limited[0])
		require.Equal(t, []string{"WARN rate limited"}, log.take())
		reads, writes := rates()
		require.Equal(t, pegasus.RateStats{Limit: limited[0].Limit, Since: since, Limits: 1}, reads)
		require.Zero(t, writes)

		pass(time.Second)
		reads, _ = rates()
		require.InDelta(t, 1.1*limited[0].Limit, reads.Limit, 0.1, "it grows though nobody asks for it")
		b.busyOnce(wire.Get)
		lowered := told[pegasus.RateChange](events, "RateChanged")
		require.Len(t, lowered, 1)
		require.Less(t, lowered[0].Limit, limited[0].Limit)
		require.Equal(t, since, lowered[0].Since)
		require.Equal(t, []string{"DEBUG rate lowered"}, log.take())

		pass(time.Minute)
		b.holds("key", "value")
		require.Equal(t, []pegasus.RateChange{{At: time.Now(), Table: tableName, Reads: true, Since: since}},
			told[pegasus.RateChange](events, "RateChanged"))
		require.Equal(t, []string{"INFO rate no longer limited"}, log.take())
		reads, _ = rates()
		require.Equal(t, pegasus.RateStats{Limits: 1}, reads)
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
}

// busyOnce has a server be busy for one request of the method, which is made.
func (b *box) busyOnce(method *wire.Method) {
	defer b.Primary(tableName, 0).Inject(onebox.Fault{Error: wire.ErrBusy, Times: 1, Match: onebox.OnMethod(method)})()
	var err error
	if method == wire.Get {
		_, err = b.get("key")
	} else {
		err = set(b.t.Context(), b.table)
	}
	require.ErrorIs(b.t, err, pegasus.ErrBusy)
}

// TestRateStatsCount counts writes that wait for their turn, and those that cannot.
func TestRateStatsCount(t *testing.T) {
	inWatchedBubble(t, func(t *testing.T, b *box, events *eventLog, _ *curiousLog) {
		pass(time.Second)
		b.busyOnce(wire.Put)
		require.False(t, told[pegasus.RateChange](events, "RateChanged")[0].Reads)
		require.NoError(t, set(t.Context(), b.table))
		require.ErrorIs(t, set(b.within(time.Millisecond), b.table), pegasus.ErrBusy)
		stats := b.client.Stats().Tables[0]
		require.EqualValues(t, 1, stats.Writes.Held)
		require.EqualValues(t, 1, stats.Writes.Refused)
		require.Zero(t, stats.Reads)
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
}

// TestRateIsLiftedInSilence reads the statistics, and makes no request: the limit is gone all the same.
func TestRateIsLiftedInSilence(t *testing.T) {
	inWatchedBubble(t, func(t *testing.T, b *box, events *eventLog, _ *curiousLog) {
		b.busyOnce(wire.Get)
		require.Len(t, told[pegasus.RateChange](events, "RateChanged"), 1)
		pass(time.Minute)
		require.Zero(t, b.client.Stats().Tables[0].Reads.Limit)
		require.Zero(t, told[pegasus.RateChange](events, "RateChanged")[0].Limit)
		b.client.Stats()
		require.Empty(t, told[pegasus.RateChange](events, "RateChanged"))
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
}

// TestHooksOfOverloadDelayNobody has the hooks and the log hang: circuits and rates work all the same.
func TestHooksOfOverloadDelayNobody(t *testing.T) {
	hang := make(chan struct{})
	wait := func() { <-hang }
	hooks := pegasus.WithHooks(pegasus.Hooks{
		CircuitChanged: func(rpc.CircuitChange) { wait() }, RateChanged: func(pegasus.RateChange) { wait() },
	})
	synctest.Test(t, func(t *testing.T) {
		hang = make(chan struct{})
		hanging := &curiousLog{client: func() *pegasus.Client { return nil }}
		b := newBox(t, onebox.Config{Network: memnet.New()}, single,
			hooks, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}), pegasus.WithLogger(slog.New(hanging)))
		synctest.Wait()
		hanging.client = func() *pegasus.Client { wait(); return nil }
		defer close(hang)
		b.breakWrites()
		require.Zero(t, elapsed(func() { b.set("key", "value") }))
		require.Zero(t, elapsed(func() { b.busyOnce(wire.Get) }))
		require.LessOrEqual(t, elapsed(func() { b.holds("key", "value") }), 100*time.Millisecond)
	})
}

// TestOperationEnd tells of operations that succeed at once, after a retry, and not at all.
func TestOperationEnd(t *testing.T) {
	inWatchedBubble(t, func(t *testing.T, b *box, events *eventLog, _ *curiousLog) {
		primary, ends := b.Primary(tableName, 0), func() []pegasus.OperationEnd {
			return told[pegasus.OperationEnd](events, "OperationEnd")
		}
		ends()
		b.injectAll(onebox.Fault{Delay: 3 * time.Millisecond, Match: onebox.OnMethod(wire.Get, wire.Put)})
		_, err := b.get("absent")
		require.ErrorIs(t, err, pegasus.ErrNotFound)
		end := pegasus.OperationEnd{
			Attempt: pegasus.Attempt{Operation: "get", Table: tableName, Node: primary.Address(), Try: 1}, Took: 3 * time.Millisecond,
		}
		require.Equal(t, []pegasus.OperationEnd{end}, ends(), "that there is nothing is no failure")

		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		took := elapsed(func() { b.set("key", "value") })
		end.Attempt = pegasus.Attempt{Operation: "set", Table: tableName, Node: b.Replica(1).Address(), Try: 2}
		end.Took = took
		require.GreaterOrEqual(t, took, 6*time.Millisecond)
		require.Equal(t, []pegasus.OperationEnd{end}, ends())

		b.injectAll(onebox.Fault{Error: wire.ErrACLDeny})
		failure := failed(t, b.table.Del(t.Context(), []byte("key"), nil))
		end.Operation, end.Try, end.Took, end.Err = "del", 1, 0, failure
		require.Equal(t, []pegasus.OperationEnd{end}, ends())

		require.Error(t, b.table.Set(t.Context(), make([]byte, 65535), nil, nil))
		require.Empty(t, ends(), "it was refused before the first try")
	})
}
