package pegasus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// A request that the server drops is sent again when the try's time is over. Operations that must not
// be sent twice go on waiting.
func TestTryTimeout(t *testing.T) {
	const limit = 200 * time.Millisecond
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		for name, operation := range map[string]struct {
			method *wire.Method
			run    func() error
		}{
			"get": {wire.Get, func() error { _, err := b.get("key"); return err }},
			"set": {wire.Put, func() error { return b.table.Set(t.Context(), []byte("key"), []byte("sort"), []byte("value")) }},
			"batch get": {wire.BatchGet, func() error {
				_, err := b.table.BatchGet(t.Context(), []pegasus.Key{{HashKey: []byte("key"), SortKey: []byte("sort")}}, nil)
				return err
			}},
		} {
			before := b.requests(operation.method)
			b.Replica(0).Inject(onebox.Fault{Match: onebox.OnMethod(operation.method), DropRequest: true, Times: 2})
			took := elapsed(func() { require.NoError(t, operation.run(), name) })
			require.GreaterOrEqual(t, took, 2*limit, name)
			require.Less(t, took, 3*limit, name)
			require.Equal(t, before+3, b.requests(operation.method), name)
		}
		b.Replica(0).Inject(onebox.Fault{Match: onebox.OnMethod(wire.Incr), DropRequest: true, Times: 1})
		_, err := b.table.Incr(b.within(time.Second), []byte("counter"), nil, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, pegasus.InDoubt, failed(t, err).Outcome)
		require.Equal(t, 1, failed(t, err).Tries)
	}, pegasus.WithTryTimeout(limit))
}

// The operation's own end is not a try's.
func TestTryTimeoutWithinTheOperation(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Get), DropRequest: true})
		for _, limit := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond} {
			took := elapsed(func() {
				_, err := b.table.Get(b.within(limit), []byte("key"), nil)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.True(t, failed(t, err).Timeout())
			})
			require.Equal(t, limit, took)
		}
		// The end of a try is noticed only after that of the operation: there is nothing to be repeated.
		before := b.client.Stats().RetryTokens
		_, err := b.table.Get(b.within(215*time.Millisecond), []byte("key"), nil)
		require.Equal(t, 1, failed(t, err).Tries)
		require.Equal(t, before, b.client.Stats().RetryTokens)
	}, pegasus.WithTryTimeout(210*time.Millisecond))
	_, err := pegasus.Open([]string{"10.0.0.1"}, pegasus.WithTryTimeout(time.Millisecond))
	require.ErrorContains(t, err, "TryTimeout")
}

// Servers are told the time of the try, so that they need not do what nobody waits for any more.
func TestTryTimeoutIsAnnounced(t *testing.T) {
	for name, option := range map[string]pegasus.Option{
		"alone":   pegasus.WithMaxInFlight(0),
		"guarded": pegasus.WithMaxInFlight(1),
		"hedged":  pegasus.WithHedgedReads(pegasus.Hedging{Delay: 50 * time.Millisecond}),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				var mu sync.Mutex
				announced := make(map[string][]int32)
				b.injectAll(onebox.Fault{DropRequest: true, Match: func(r *onebox.Request) bool {
					mu.Lock()
					defer mu.Unlock()
					announced[r.Method] = append(announced[r.Method], r.Header.TimeoutMillis)
					return r.Is(wire.Get) && len(announced[r.Method]) < 4
				}})
				_, err := b.table.Get(b.within(5*time.Second), []byte("key"), nil)
				require.ErrorIs(t, err, pegasus.ErrNotFound)
				for _, millis := range announced[wire.Get.Name()] {
					require.LessOrEqual(t, millis, int32(200))
					require.GreaterOrEqual(t, millis, int32(150))
				}
				require.GreaterOrEqual(t, len(announced[wire.Get.Name()]), 4)
				_, err = b.table.Incr(b.within(5*time.Second), []byte("counter"), nil, 1)
				require.NoError(t, err)
				require.Equal(t, []int32{5000}, announced[wire.Incr.Name()], "which is tried once")
			}, pegasus.WithTryTimeout(200*time.Millisecond), option)
		})
	}
}

// A dial that has taken too long is not a try that has.
func TestTryTimeoutIsNotThatOfADial(t *testing.T) {
	inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
		b.Replica(0).Blackhole(true)
		for range 2 {
			_, err := b.table.Get(t.Context(), []byte("key"), nil)
			require.ErrorIs(t, err, rpc.ErrConnect)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotContains(t, err.Error(), "one try")
		}
	}, pegasus.WithTryTimeout(time.Second), pegasus.WithoutWarmUp(), pegasus.WithRetry(retry.Policy{MaxAttempts: 1}),
		pegasus.WithConnections(rpc.Options{DialTimeout: 100 * time.Millisecond}))
}
