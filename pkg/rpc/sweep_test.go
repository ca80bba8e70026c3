package rpc

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
)

// withDeadline is a request that fails after d, by the sweep and not by its context.
func withDeadline(key string, d time.Duration) *get {
	g := newGet(key)
	g.Deadline = time.Now().Add(d)
	return g
}

// requireBetween checks a duration of virtual time: limit, and at most late more.
func requireBetween(t testing.TB, limit, late, took time.Duration) {
	t.Helper()
	require.GreaterOrEqual(t, took, limit)
	require.LessOrEqual(t, took, limit+late)
}

func TestSweepExpiresCallsWithoutAContextDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		interval := r.pool.options.SweepInterval
		const shortest = time.Millisecond
		var calls []*background
		var lives []time.Duration
		for life := shortest; life < 2*time.Second; life += life/3 + interval/7 {
			calls = append(calls, r.startWith(withDeadline(fmt.Sprint("within ", life), life)))
			lives = append(lives, life)
		}
		for range calls {
			p.mustNext()
		}
		for i, c := range calls {
			c.requireFailed(t, StageAwaiting, retry.InDoubt, context.DeadlineExceeded)
			requireBetween(t, lives[i], interval, c.took)
		}
		stats := r.node.Stats()
		require.Zero(t, stats.InFlight)
		require.EqualValues(t, len(calls), stats.Abandoned)
		next := r.start("next")
		p.write(p.mustNext().answer())
		next.requireAnswered(t)
		require.EqualValues(t, 1, r.node.Stats().Dials, "the connection goes on")
	})
}

func TestSweepExpiresQueuedCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.connect()
		r.start(large("stuck", 128<<10))
		synctest.Wait()
		queued := r.startWith(withDeadline("queued", 50*time.Millisecond))
		queued.requireFailed(t, StageQueued, retry.InDoubt, context.DeadlineExceeded)
	})
}

// A place that the sweep frees goes to somebody who waits for one.
func TestSweepAdmitsTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		stuck := r.startWith(withDeadline("stuck", 50*time.Millisecond))
		synctest.Wait()
		waiting := r.start("waiting")
		p.mustNext()
		p.write(p.mustNext().answer())
		waiting.requireAnswered(t)
		require.ErrorIs(t, stuck.result(), context.DeadlineExceeded)
	})
}

// ticks is how often the sweep of the connection has run.
func (r *rig) ticks() uint32 {
	c := r.conn()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sweep.tick
}

func TestSweepSleepsWhenIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		for range 3 {
			r.call("key")
			awake := r.ticks()
			time.Sleep(time.Hour)
			require.LessOrEqual(t, r.ticks(), awake+1, "it ran while there was nothing to watch")
			require.False(t, r.conn().sweep.armed)
		}
		// It wakes for the next call.
		r.network.Blackhole(address, true)
		late := r.startWith(withDeadline("late", 100*time.Millisecond))
		require.ErrorIs(t, late.result(), context.DeadlineExceeded)
		requireBetween(t, 100*time.Millisecond, r.pool.options.SweepInterval, late.took)
		r.network.Blackhole(address, false)
	})
}

func TestSweepStopsWithTheConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		conn := r.conn()
		c := r.start("key")
		p.mustNext()
		p.close()
		require.Error(t, c.result())
		synctest.Wait()
		require.False(t, conn.sweep.timer.Stop(), "the timer was left")
		// The timer may have fired just before, and its goroutine come late.
		conn.sweep.unanswered = true
		conn.runSweep()
		require.Zero(t, conn.sweep.tick)
		require.False(t, conn.sweep.timer.Stop(), "it runs again")
	})
}

// A node that accepts requests and never answers is given up, and every call on it with it.
func TestSilentNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, silence)
		first := r.start("first")
		time.Sleep(time.Second)
		second := r.start("second")
		first.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		second.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		requireBetween(t, r.pool.options.SilenceLimit, 2*r.pool.options.SweepInterval, first.took)
		require.Equal(t, first.took-time.Second, second.took)
		require.EqualValues(t, 1, r.node.Epoch())
		require.ErrorIs(t, r.node.Stats().LastError, ErrSilent)
	})
}

// New requests do not postpone the verdict: the oldest one counts.
func TestSilentNodeUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, silence)
		first := r.start("first")
		for i := 0; !first.ended(); i++ {
			r.start(fmt.Sprint("key ", i))
			time.Sleep(100 * time.Millisecond)
		}
		require.ErrorIs(t, first.result(), ErrSilent)
		requireBetween(t, r.pool.options.SilenceLimit, 2*r.pool.options.SweepInterval, first.took)
	})
}

// Callers that do not wait as long as the limit find out together: their calls count after they were
// given up.
func TestSilentNodeWithImpatientCallers(t *testing.T) {
	for _, byContext := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			serve(t, r.network, silence)
			require.NoError(t, r.node.Connect(t.Context()))
			conn, began := r.conn(), time.Now()
			for r.conn() == conn {
				g := withDeadline("key", 250*time.Millisecond)
				ctx, cancel := context.WithCancel(t.Context())
				if byContext {
					ctx, cancel = context.WithTimeout(t.Context(), 250*time.Millisecond)
				}
				require.Error(t, r.node.Call(ctx, &g.Request))
				cancel()
				require.Less(t, time.Since(began), 2*r.pool.options.SilenceLimit)
			}
			synctest.Wait()
			require.ErrorIs(t, r.node.Stats().LastError, ErrSilent)
			requireBetween(t, r.pool.options.SilenceLimit, 300*time.Millisecond, time.Since(began))
		})
	}
}

// One request to which no answer comes is no reason to give up a connection on which others come.
func TestSilenceOfOneRequestIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, func(p *peer) {
			for a, ok := p.next(); ok; a, ok = p.next() {
				if a.key != "never answered" {
					p.write(a.answer())
				}
			}
		})
		pending := r.start("never answered")
		for range 60 {
			r.call("key")
			time.Sleep(time.Second)
			abandoned := r.startWith(withDeadline("never answered", 10*time.Millisecond))
			require.ErrorIs(t, abandoned.result(), context.DeadlineExceeded)
		}
		require.False(t, pending.ended())
		require.Equal(t, 1, r.network.Dials(address))
		pending.cancel()
		require.ErrorIs(t, pending.result(), context.Canceled)
	})
}

// An answer clears a node of the silence before it: what was given up before is forgotten, and the
// sweep goes to sleep.
func TestSilenceEndsWithAnAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		abandoned := r.startWith(withDeadline("abandoned", 100*time.Millisecond))
		a := p.mustNext()
		require.ErrorIs(t, abandoned.result(), context.DeadlineExceeded)
		time.Sleep(r.pool.options.SilenceLimit - time.Second)
		p.write(a.answer()) // late
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, r.node.Stats().Late)
		require.Zero(t, r.node.Epoch(), "the connection lives")
		require.False(t, r.conn().sweep.armed)
	})
}

// An answer gives those that are still pending the whole limit again, and not more.
func TestSilenceStartsAnewWithEachAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		limit, interval := r.pool.options.SilenceLimit, r.pool.options.SweepInterval
		pending, answered := r.start("pending"), r.start("answered")
		a, b := p.mustNext(), p.mustNext()
		if a.key == "pending" {
			a = b
		}
		time.Sleep(limit - time.Second)
		p.write(a.answer())
		answered.requireAnswered(t)
		pending.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		requireBetween(t, 2*limit-time.Second, 2*interval, pending.took)
	})
}

// Time in which nobody asked anything does not count.
func TestSilenceOfAnIdleNodeIsHarmless(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		for range 3 {
			time.Sleep(time.Hour)
			c := r.start("key")
			a := p.mustNext()
			time.Sleep(r.pool.options.SilenceLimit - 2*r.pool.options.SweepInterval)
			p.write(a.answer())
			c.requireAnswered(t)
		}
		require.EqualValues(t, 1, r.node.Stats().Dials)
	})
}
