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
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// Operations beyond the bound wait for their turn.
func TestMaxInFlight(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		b.set("key", "value")
		var underWay, most atomic.Int32
		b.injectAll(onebox.Fault{Delay: 100 * time.Millisecond, Match: func(*onebox.Request) bool {
			if n := underWay.Inc(); n > most.Load() {
				most.Store(n)
			}
			time.AfterFunc(99*time.Millisecond, func() { underWay.Dec() })
			return true
		}})
		var running sync.WaitGroup
		took := elapsed(func() {
			for range 25 {
				running.Go(func() { b.holds("key", "value") })
			}
			running.Wait()
		})
		require.LessOrEqual(t, most.Load(), int32(5))
		require.Equal(t, 500*time.Millisecond, took)
	}, pegasus.WithMaxInFlight(5))
}

// Who waits for a place does so no longer than the context or the operation lasts, and takes none then.
func TestMaxInFlightObeysContexts(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		remove := b.Replica(0).Inject(onebox.Fault{DropRequest: true, Match: onebox.OnMethod(wire.Get)})
		stuck, release := context.WithTimeout(t.Context(), time.Hour)
		var running sync.WaitGroup
		running.Go(func() { _, _ = b.table.Get(stuck, []byte("key"), []byte("sort")) })
		synctest.Wait()
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			_, err := b.table.Get(ctx, []byte("key"), []byte("sort"))
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
			_, err = b.table.Get(b.within(time.Millisecond), []byte("key"), []byte("sort"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		require.Equal(t, pegasus.DefaultOperationTimeout, elapsed(func() {
			require.ErrorIs(t, set(t.Context(), b.table), context.DeadlineExceeded)
		}))
		remove()
		release()
		running.Wait()
		b.holds("key", "value")
	}, pegasus.WithMaxInFlight(1), pegasus.WithConnections(rpc.Options{SilenceLimit: time.Hour, ReadSilenceLimit: time.Hour}))
}

// Servers are told the time that is left when a request has its place.
func TestMaxInFlightAnnouncesTheTimeLeft(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		announced := make(chan int32, 2)
		b.Replica(0).Inject(onebox.Fault{Delay: 100 * time.Millisecond, Match: func(r *onebox.Request) bool {
			if r.Is(wire.Put) {
				announced <- r.Header.TimeoutMillis
			}
			return true
		}})
		wait := b.inBackground(func() { require.NoError(t, set(t.Context(), b.table)) })
		synctest.Wait()
		require.NoError(t, set(t.Context(), b.table))
		wait()
		require.Equal(t, []int32{5000, 4900}, []int32{<-announced, <-announced})
	}, pegasus.WithMaxInFlight(1))
}

func TestFailFast(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Replica(0).Inject(onebox.Fault{Delay: 100 * time.Millisecond})
		var running sync.WaitGroup
		running.Go(func() { b.holds("key", "value") })
		synctest.Wait()
		require.Zero(t, elapsed(func() {
			_, err := b.get("key")
			require.ErrorIs(t, err, pegasus.ErrOverloaded)
			failure := failed(t, err)
			require.Equal(t, pegasus.NotSent, failure.Outcome)
			require.Equal(t, 1, failure.Tries)
			require.ErrorContains(t, err, b.Replica(0).Address())
		}))
		running.Wait()
		b.holds("key", "value")
	}, pegasus.WithMaxInFlight(1), pegasus.WithFailFast())
}

// Every operation of a client that does not wait fails at once where a connection's window is full.
func TestFailFastOfEveryOperation(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{DropRequest: true, Match: onebox.OnMethod(wire.TTL)})
		wait := b.inBackground(func() { _, _ = b.table.Exist(b.within(time.Second), []byte("key"), nil) })
		synctest.Wait()
		for name, o := range operations {
			require.Zero(t, elapsed(func() {
				require.ErrorIs(t, o.run(t.Context(), b.table), pegasus.ErrOverloaded, name)
			}), name)
		}
		wait()
	}, pegasus.WithConnections(rpc.Options{Window: 1}), pegasus.WithFailFast())
}

// An ERR_BUSY says when to come back: servers count by the second.
func TestBusySaysWhenToRetry(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Error: wire.ErrBusy})
		time.Sleep(300 * time.Millisecond)
		_, err := b.get("key")
		require.ErrorIs(t, err, pegasus.ErrBusy)
		require.Equal(t, 700*time.Millisecond, failed(t, err).RetryAfter)
	})
}

// throttled lets a table accept so many requests in each second.
func (b *box) throttled(perSecond int32) (accepted *atomic.Int32) {
	var second atomic.Int64
	var count atomic.Int32
	accepted = new(atomic.Int32)
	b.injectAll(onebox.Fault{Error: wire.ErrBusy, Match: func(*onebox.Request) bool {
		if now := time.Now().Unix(); second.Swap(now) != now {
			count.Store(0)
		}
		if count.Inc() > perSecond {
			return true
		}
		accepted.Inc()
		return false
	}})
	return accepted
}

// hammer lets callers call for a time, each with a pause between calls, and returns how many calls there
// were and how many of them were refused.
func (b *box) hammer(callers int, pause, span time.Duration) (calls, busy int32) {
	var made, refused atomic.Int32
	var running sync.WaitGroup
	ctx := b.within(span)
	for range callers {
		running.Go(func() {
			for ctx.Err() == nil {
				_, err := b.table.Exist(context.Background(), []byte("key"), nil)
				made.Inc()
				if err != nil {
					require.ErrorIs(b.t, err, pegasus.ErrBusy)
					refused.Inc()
				}
				time.Sleep(pause)
			}
		})
	}
	running.Wait()
	return made.Load(), refused.Load()
}

// A client that adapts gets nearly what the servers accept, and few refusals; one that does not gets
// refused most of the time.
func TestAdaptiveRate(t *testing.T) {
	const perSecond, seconds = 100, 60
	load := func(t *testing.T, options ...pegasus.Option) (calls, busy, accepted int32) {
		inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
			counter := b.throttled(perSecond)
			calls, busy = b.hammer(10, 20*time.Millisecond, seconds*time.Second)
			accepted = counter.Load()
		}, options...)
		return calls, busy, accepted
	}
	calls, busy, _ := load(t)
	require.Greater(t, busy, calls*3/4-perSecond)
	calls, busy, accepted := load(t, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
	t.Logf("of %d calls %d were refused, %d accepted", calls, busy, accepted)
	require.Less(t, busy, calls/5)
	require.Greater(t, accepted, int32(perSecond*seconds*6/10))
}

// When servers accept everything again, the client is back at full speed soon.
func TestAdaptiveRateRecovers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		remove := b.Replica(0).Inject(onebox.Fault{Error: wire.ErrBusy})
		_, busy := b.hammer(10, 10*time.Millisecond, 5*time.Second)
		require.NotZero(t, busy)
		remove()
		b.hammer(10, 10*time.Millisecond, time.Minute)
		calls, busy := b.hammer(10, 10*time.Millisecond, 10*time.Second)
		require.Zero(t, busy)
		require.Greater(t, calls, int32(10*10*90))
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
}

// A request that would have to wait beyond its deadline is refused at once, as ErrBusy.
func TestAdaptiveRateObeysDeadlines(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.Replica(0).Inject(onebox.Fault{Error: wire.ErrBusy, Match: onebox.OnMethod(wire.TTL)})
		b.hammer(10, 10*time.Millisecond, 5*time.Second)
		before := b.requests(wire.TTL)
		refused := 0
		require.Less(t, elapsed(func() {
			for range 1000 {
				_, err := b.table.Exist(b.within(time.Microsecond), []byte("key"), nil)
				require.Error(t, err)
				if failure := failed(t, err); failure.Outcome == pegasus.NotSent {
					require.ErrorIs(t, err, pegasus.ErrBusy)
					require.NotZero(t, failure.RetryAfter)
					refused++
				}
			}
		}), time.Second)
		require.Greater(t, refused, 900)
		require.Less(t, b.requests(wire.TTL)-before, 100)
		require.NoError(t, b.table.Set(t.Context(), []byte("key"), nil, nil), "writes are another matter")
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
}

func TestOverloadSettings(t *testing.T) {
	for name, option := range map[string]pegasus.Option{
		"MaxInFlight":           pegasus.WithMaxInFlight(-1),
		"AdaptiveRate.Backoff":  pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{Backoff: 1}),
		"AdaptiveRate.Recovery": pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{Recovery: -1}),
		"AdaptiveRate.MinRate":  pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{MinRate: 1e9}),
	} {
		_, err := pegasus.Open([]string{"10.0.0.1"}, option)
		require.ErrorContains(t, err, name)
	}
}

// Writes to a node that cannot write are held back, and come through when it can again.
func TestWritesToANodeThatCannotWrite(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Replica(0).Inject(onebox.Fault{Match: onebox.OnMethod(wire.Put), DropRequest: true})
		for range 60 {
			err := b.table.Set(b.within(100*time.Millisecond), []byte("key"), []byte("sort"), nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		before := b.requests(wire.Put)
		for range 100 {
			err := b.table.Set(b.within(100*time.Millisecond), []byte("key"), []byte("sort"), nil)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			b.holds("key", "value")
		}
		require.LessOrEqual(t, b.requests(wire.Put)-before, 6, "ten seconds of probes")
	})
}

// Close does not leave those waiting whom the client holds back.
func TestAdaptiveRateEndsWithClose(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.Replica(0).Inject(onebox.Fault{Error: wire.ErrBusy})
		_, err := b.get("key")
		require.ErrorIs(t, err, pegasus.ErrBusy)
		var running sync.WaitGroup
		running.Go(func() {
			_, err := b.get("key")
			require.ErrorIs(t, err, pegasus.ErrClosed)
		})
		synctest.Wait()
		require.NoError(t, b.client.Close())
		require.Zero(t, elapsed(running.Wait))
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{MinRate: 0.5, Backoff: 0.1}))
}

// Who gave up while the client held it back leaves its turn to others.
func TestAdaptiveRateForgetsWhoGaveUp(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		remove := b.Replica(0).Inject(onebox.Fault{Error: wire.ErrBusy})
		_, err := b.get("key")
		require.ErrorIs(t, err, pegasus.ErrBusy)
		remove()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		var waiting sync.WaitGroup
		for range 1000 {
			waiting.Go(func() {
				_, err := b.table.Get(ctx, []byte("key"), nil)
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
			})
		}
		synctest.Wait()
		cancel()
		waiting.Wait()
		_, err = b.table.Exist(b.within(1100*time.Millisecond), []byte("key"), nil)
		require.NoError(t, err, "one a second")
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{MinRate: 1, Backoff: 0.1}))
}

// News about the routing are no reason to send all at once what was held back.
func TestAdaptiveRateOutlastsNews(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Match: onebox.OnMethod(wire.TTL), Times: 1})
		_, err := b.table.Exist(t.Context(), []byte(keyIn(0, 2)), nil)
		require.ErrorIs(t, err, pegasus.ErrBusy)
		var waiting sync.WaitGroup
		for range 40 {
			waiting.Go(func() { _, _ = b.table.Exist(t.Context(), []byte(keyIn(0, 2)), nil) })
		}
		synctest.Wait()
		before := b.requests(wire.TTL)
		require.NoError(t, b.MovePrimary(tableName, 1, (b.Primary(tableName, 1).Index()+1)%len(b.Replicas())))
		require.NoError(t, b.table.Set(t.Context(), []byte(keyIn(1, 2)), nil, nil), "which brings the news")
		synctest.Wait()
		require.Less(t, b.requests(wire.TTL)-before, 10)
		waiting.Wait()
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{Backoff: 0.1}))
}

// A client that does not wait is not held back either, but told so at once.
func TestFailFastOfAdaptiveRate(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Times: 1})
		for range 2 {
			require.Zero(t, elapsed(func() {
				_, err := b.get("key")
				require.ErrorIs(t, err, pegasus.ErrBusy)
				require.NotZero(t, failed(t, err).RetryAfter)
				require.Equal(t, 1, failed(t, err).Tries)
			}))
		}
		require.Equal(t, 1, b.requests(wire.Get))
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}), pegasus.WithFailFast())
}

// Refusals for other reasons are no reason to slow down.
func TestAdaptiveRateIsAboutBusyServers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Error: wire.ErrACLDeny})
		require.Zero(t, elapsed(func() {
			for range 100 {
				_, err := b.get("key")
				require.Equal(t, wire.ErrACLDeny, failed(t, err).Server)
			}
		}))
		require.Equal(t, 100, b.requests(wire.Get))
	}, pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
}

// Who finds no place among those under way leaves the turn that the rate gave it to others.
func TestAdaptiveRateIsOfWhatIsSent(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Times: 1})
		_, err := b.get("key")
		require.ErrorIs(t, err, pegasus.ErrBusy)
		pass(1500 * time.Millisecond)
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Put), Delay: 100 * time.Millisecond})
		wait := b.inBackground(func() { b.set("key", "value") })
		synctest.Wait()
		for range 3 {
			_, err := b.get("key")
			require.ErrorIs(t, err, pegasus.ErrOverloaded)
		}
		wait()
		b.holds("key", "value")
		_, err = b.get("key")
		require.ErrorIs(t, err, pegasus.ErrBusy, "one a second")
	}, pegasus.WithMaxInFlight(1), pegasus.WithFailFast(), pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{MinRate: 1}))
}
