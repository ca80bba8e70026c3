package rpc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
)

// A call that is cancelled frees its place and touches nothing else. Its answer, when it comes, is
// thrown away and counted.
func TestCancelWhileAwaitingTheAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 2})
		p := r.connect()
		cancelled, other := r.start("cancelled"), r.start("other")
		a, b := p.mustNext(), p.mustNext()
		if a.key != "cancelled" {
			a, b = b, a
		}
		cancelled.cancel()
		cancelled.requireFailed(t, StageAwaiting, retry.InDoubt, context.Canceled)
		stats := r.node.Stats()
		require.Equal(t, 1, stats.InFlight)
		require.EqualValues(t, 1, stats.Abandoned)

		next := r.start("next")
		n := p.mustNext()
		require.NotEqual(t, a.sequence, n.sequence)
		p.write(a.answer(), n.answer(), b.answer())
		next.requireAnswered(t)
		other.requireAnswered(t)
		stats = r.node.Stats()
		require.EqualValues(t, 1, stats.Late)
		require.EqualValues(t, 3, stats.Received)
		require.Zero(t, stats.Unexpected)
		require.Zero(t, stats.InFlight)
		require.EqualValues(t, 1, stats.Dials, "the same connection")
		require.Zero(t, r.node.Epoch())
	})
}

// A call that is cancelled before its frame was taken is in doubt as well: the frame will be sent.
func TestCancelWhileQueued(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		stuck := r.start(large("stuck", 128<<10)) // the peer does not read, and the network is full
		synctest.Wait()
		queued := r.start("queued")
		synctest.Wait()
		queued.cancel()
		queued.requireFailed(t, StageQueued, retry.InDoubt, context.Canceled)
		p.write(p.mustNext().answer())
		stuck.requireAnswered(t)
		require.Equal(t, "queued", p.mustNext().key)
	})
}

func TestCancelWhileDialling(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		r.network.SetLatency(address, 100*time.Millisecond)
		cancelled, other := r.start("cancelled"), r.start("other")
		synctest.Wait()
		cancelled.cancel()
		cancelled.requireFailed(t, StageConnecting, retry.NotSent, context.Canceled)
		require.Zero(t, cancelled.took)
		other.requireAnswered(t)
		require.Equal(t, 1, r.network.Dials(address), "the dial went on for the others")
	})
}

func TestCancelBeforeAnything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := r.node.Call(ctx, &newGet("key").Request)
		requireCallError(t, err, StageConnecting, retry.NotSent, context.Canceled)
		synctest.Wait()
		require.Zero(t, r.node.Stats().Dials)
		r.connect()
		err = r.node.Call(ctx, &newGet("key").Request)
		requireCallError(t, err, StageConnecting, retry.NotSent, context.Canceled)
		require.Zero(t, r.node.Stats().Sent)
	})
}

// The place of a call that is cancelled goes to who waits for one, at once.
func TestCancelAdmitsTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		calls := r.startInOrder(2)
		p.mustNext()
		calls[0].cancel()
		p.write(p.mustNext().answer())
		calls[1].requireAnswered(t)
		require.Zero(t, calls[1].took, "it was left to the sweep")
	})
}

// The deadline of a context ends a call to the point, without the sweep.
func TestCancelByContextDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{SweepInterval: time.Minute, SilenceLimit: time.Hour})
		r.connect()
		ctx, cancel := context.WithTimeout(t.Context(), 123*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := r.node.Call(ctx, &newGet("key").Request)
		requireCallError(t, err, StageAwaiting, retry.InDoubt, context.DeadlineExceeded)
		require.Equal(t, 123*time.Millisecond, time.Since(began))
	})
}

// The answer is taken out of the table and the caller gives up before it is decoded: the caller must
// wait for the answer, which is being written into its memory.
func TestCancelTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		slow := r.start("slow")
		a := p.mustNext()
		conn := r.conn()
		conn.mu.Lock()
		taken, _ := conn.pending.take(a.sequence)
		conn.mu.Unlock()
		slow.cancel()
		synctest.Wait()
		require.False(t, slow.ended(), "its finisher still has it")
		taken.finish(nil)
		require.NoError(t, slow.result())
		require.Zero(t, r.node.Stats().Abandoned)
	})
}

// Places do not leak, whatever way calls end.
func TestCancelLeaksNoPlaces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const window, rounds = 4, 100
		r := newRig(t, Options{Window: window})
		serve(t, r.network, echo)
		r.call("the first one connects")
		r.network.SetLatency(address, 10*time.Millisecond)
		for range rounds {
			calls := r.startInOrder(3 * window)
			for i, c := range calls {
				if i%3 != 0 {
					c.cancel()
				}
			}
			for i, c := range calls {
				if i%3 == 0 {
					c.requireAnswered(t)
				} else {
					require.ErrorIs(t, c.result(), context.Canceled)
				}
			}
		}
		time.Sleep(time.Second) // of virtual time, in which the last late answers come
		stats := r.node.Stats()
		require.Zero(t, stats.InFlight)
		require.Zero(t, stats.Waiting)
		require.NotZero(t, stats.Abandoned)
		require.Equal(t, stats.Abandoned, stats.Late)
		require.Equal(t, stats.Sent, stats.Received)
		require.Zero(t, r.conn().admission.reserved)
		require.LessOrEqual(t, len(r.conn().pending.slots), window)
	})
}
