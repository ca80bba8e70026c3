package rpc

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// startInOrder makes n calls in the background, each one after the one before has come as far as it
// can. It needs a bubble.
func (r *rig) startInOrder(n int) []*background {
	calls := make([]*background, n)
	for i := range calls {
		calls[i] = r.start(fmt.Sprint("key ", i))
		synctest.Wait()
	}
	return calls
}

func TestAdmissionIsFirstComeFirstServed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 2})
		p := r.connect()
		calls := r.startInOrder(20)
		stats := r.node.Stats()
		require.Equal(t, 2, stats.InFlight)
		require.Equal(t, 18, stats.Waiting)
		require.EqualValues(t, 18, stats.Waited)
		for i := range calls {
			a := p.mustNext()
			require.Equal(t, fmt.Sprint("key ", i), a.key)
			p.write(a.answer())
			synctest.Wait()
		}
		for _, c := range calls {
			c.requireAnswered(t)
		}
	})
}

// A caller that finds room does not overtake those who were there before and are about to get it.
func TestAdmissionNewcomersDoNotOvertake(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		calls := r.startInOrder(2)
		conn := r.conn()
		first := p.mustNext()
		// The answer comes and the waiting caller is admitted, but has not come to take its place.
		conn.mu.Lock()
		inFlight, _ := conn.pending.take(first.sequence)
		conn.admitNext()
		require.Zero(t, conn.admission.waiting)
		require.False(t, conn.hasRoom(), "the place is reserved")
		conn.mu.Unlock()
		inFlight.finish(nil)
		third := r.start("third")
		for _, c := range []*background{calls[1], third} {
			a := p.mustNext()
			require.Equal(t, string(c.key), a.key)
			p.write(a.answer())
			c.requireAnswered(t)
		}
	})
}

func TestAdmissionObeysContextAndDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		first := r.start("first")
		synctest.Wait()
		cancelled := r.start("cancelled")
		late := newGet("late")
		late.Deadline = time.Now().Add(time.Second)
		expired := r.startWith(late)
		patient := r.start("patient")
		synctest.Wait()
		require.Equal(t, 3, r.node.Stats().Waiting)

		cancelled.cancel()
		cancelled.requireFailed(t, StageAdmission, retry.NotSent, context.Canceled)
		expired.requireFailed(t, StageAdmission, retry.NotSent, context.DeadlineExceeded)
		require.GreaterOrEqual(t, expired.took, time.Second)
		require.LessOrEqual(t, expired.took, time.Second+r.pool.options.SweepInterval)

		p.write(p.mustNext().answer())
		first.requireAnswered(t)
		a := p.mustNext()
		require.Equal(t, "patient", a.key, "the others were never sent")
		p.write(a.answer())
		patient.requireAnswered(t)
		require.Zero(t, r.node.Stats().Waiting)
		require.Zero(t, r.node.Stats().Abandoned, "nothing of them was sent")
	})
}

// The time spent waiting is taken off the timeout that the server is told.
func TestAdmissionCorrectsTheAnnouncedTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		r.start("first")
		synctest.Wait()
		g := newGet("second")
		g.Deadline = time.Now().Add(time.Second)
		second := r.startWith(g)
		synctest.Wait()
		time.Sleep(400 * time.Millisecond)
		a := p.mustNext()
		require.EqualValues(t, 1000, a.millis)
		p.write(a.answer())
		a = p.mustNext()
		require.EqualValues(t, 600, a.millis)
		p.write(a.answer())
		second.requireAnswered(t)
	})
}

// A caller is admitted at the moment in which it gives up: its place goes to the next one.
func TestAdmissionPassesOnThePlaceOfWhoLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		calls := r.startInOrder(3)
		conn := r.conn()
		first := p.mustNext()
		conn.mu.Lock()
		calls[1].cancel() // it wakes, and waits for the mutex
		inFlight, _ := conn.pending.take(first.sequence)
		conn.admitNext() // admits it nevertheless
		conn.mu.Unlock()
		inFlight.finish(nil)
		calls[1].requireFailed(t, StageAdmission, retry.NotSent, context.Canceled)
		a := p.mustNext()
		require.Equal(t, "key 2", a.key)
		p.write(a.answer())
		calls[2].requireAnswered(t)
		require.Zero(t, calls[2].took, "it was left to the sweep")
		require.Zero(t, conn.admission.reserved)
	})
}

// A caller is taken out of the queue by the death of the connection at the moment in which it gives
// up. It waits for what it is about to be told, but not with the mutex, which others need meanwhile.
func TestAdmissionCancelledWhileTheConnectionDies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		r.connect()
		calls := r.startInOrder(2)
		conn := r.conn()
		conn.mu.Lock()
		calls[1].cancel() // it wakes, and waits for the mutex
		drained := conn.admission.drain()
		conn.mu.Unlock()
		synctest.Wait()
		require.False(t, calls[1].ended())
		require.True(t, conn.mu.TryLock(), "it waits with the mutex")
		conn.mu.Unlock()
		drained[0].admitted <- &errUnusable{ErrRetired}
		require.ErrorIs(t, calls[1].result(), context.Canceled)
	})
}

// With a peer that does not read, callers wait as soon as Options.MaxQueuedBytes are queued. When it
// reads again, nobody has been forgotten.
func TestAdmissionBackPressure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size, limit, callers = 16 << 10, 64 << 10, 100
		r := newRig(t, Options{MaxQueuedBytes: limit})
		p := r.connect()
		var calls []*background
		for i := range callers {
			calls = append(calls, r.start(large(fmt.Sprint("key ", i), size)))
			synctest.Wait()
			require.Less(t, queuedBytes(r.conn()), limit+2*size)
		}
		require.NotZero(t, r.node.Stats().Waiting)
		require.Less(t, r.node.Stats().InFlight, callers/2)
		var answers [][]byte
		for range calls { // without any answer before the last one was sent
			answers = append(answers, p.mustNext().answer())
		}
		go p.write(answers...)
		for _, c := range calls {
			c.requireAnswered(t)
			require.Zero(t, c.took, "it was left to the sweep")
		}
	})
}

func queuedBytes(c *Conn) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.out)
}

// All who wait find room at once when the writer takes the queue: they are admitted few at a time,
// since nobody knows how much each of them will append.
func TestAdmissionAfterBackPressureStaysBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const size, limit, callers = 16 << 10, 64 << 10, 200
		r := newRig(t, Options{MaxQueuedBytes: limit})
		p := r.connect()
		var calls []*background
		for i := range callers {
			calls = append(calls, r.start(large(fmt.Sprint("key ", i), size)))
		}
		synctest.Wait()
		for answered := range callers {
			a := p.mustNext() // room for about one more in the network
			synctest.Wait()
			require.Less(t, queuedBytes(r.conn()), limit+(maxReserved+1)*size, "after %d", answered)
			p.write(a.answer())
		}
		for _, c := range calls {
			c.requireAnswered(t)
		}
	})
}

// Each one who comes lets in the next one, without waiting for the writer: so the frames of all of
// them gather, and leave in one write.
func TestAdmissionDoesNotWaitForTheWriter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const window = 10 * maxReserved
		stream := newStubStream(math.MaxInt)
		stream.gate = make(chan struct{}) // the writer is stuck all the time
		r := newRig(t, Options{Window: window, Dial: stream.dialled()})
		calls := r.startInOrder(2 * window)
		require.Equal(t, window, r.node.Stats().Waiting)
		var answers []byte
		for i := range int32(window) {
			answers = append(answers, asked{method: wire.Get, sequence: i, key: fmt.Sprint("key ", i)}.answer()...)
		}
		stream.reads <- answers
		synctest.Wait()
		for _, c := range calls[:window] {
			c.requireAnswered(t)
		}
		require.Zero(t, r.node.Stats().Waiting)
		require.Equal(t, window, r.node.Stats().InFlight)
	})
}

// A node that takes no more bytes and says nothing is silent, also when nobody but those who wait for
// admission is left to notice. They are not stuck: they go to a new connection.
func TestAdmissionWaitersNoticeASilentNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{MaxQueuedBytes: 64 << 10})
		s := listen(t, r.network)
		first := r.start("first")
		p := s.accept()
		p.write(p.mustNext().answer())
		first.requireAnswered(t)
		for r.node.Send(clearScanner(1)) == nil {
			synctest.Wait()
		}
		s.run(echo) // on other connections
		waiting := r.start("key")
		waiting.requireAnswered(t)
		requireBetween(t, r.pool.options.SilenceLimit, 2*r.pool.options.SweepInterval, waiting.took)
		require.ErrorIs(t, r.node.Stats().LastError, ErrSilent)
	})
}

// The same when all who wait have deadlines shorter than the limit, or even than the sweep's interval.
func TestAdmissionImpatientWaitersNoticeASilentNode(t *testing.T) {
	for name, call := range map[string]func(r *rig) error{
		"by the sweep": func(r *rig) error {
			return r.node.Call(r.t.Context(), &withDeadline("key", 100*time.Millisecond).Request)
		},
		"by the context": func(r *rig) error { return r.callWithin(100 * time.Millisecond) },
		"between sweeps": func(r *rig) error {
			defer time.Sleep(30 * time.Millisecond)
			return r.callWithin(5 * time.Millisecond)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{MaxQueuedBytes: 64 << 10})
				r.connect()
				for r.node.Send(clearScanner(1)) == nil {
					synctest.Wait()
				}
				limit, began := r.pool.options.SilenceLimit, time.Now()
				for r.node.Epoch() == 0 && time.Since(began) < 2*limit {
					require.Error(t, call(r))
				}
				synctest.Wait()
				require.ErrorIs(t, r.node.Stats().LastError, ErrSilent)
				requireBetween(t, limit, 200*time.Millisecond, time.Since(began))
			})
		})
	}
}

// callWithin makes a call whose context ends after d.
func (r *rig) callWithin(d time.Duration) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	return r.node.Call(ctx, &newGet("key").Request)
}

// Who comes while others wait goes behind them, also if there is room at that moment, because those
// who were admitted are on their way.
func TestAdmissionNewcomersQueueBehindWhoWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		conn := r.conn()
		conn.mu.Lock()
		conn.admission.reserved = maxReserved
		other := waiter{admitted: make(chan error, 1)}
		conn.admission.push(other)
		require.True(t, conn.hasRoom())
		conn.mu.Unlock()
		newcomer := r.start("newcomer")
		synctest.Wait()
		require.Equal(t, 2, r.node.Stats().Waiting)
		conn.mu.Lock()
		conn.admission.reserved--
		conn.admitNext()
		require.Equal(t, 1, conn.admission.waiting)
		require.NoError(t, <-other.admitted)
		conn.admission.reserved--
		conn.admitNext()
		conn.mu.Unlock()
		p.write(p.mustNext().answer())
		newcomer.requireAnswered(t)
	})
}

// Very many callers on a very small window all get their own answers.
func TestAdmissionOfVeryManyCallers(t *testing.T) {
	callers := 100_000
	if testing.Short() || raceDetector {
		callers = 5_000
	}
	r := newRig(t, Options{Window: 16})
	serve(t, r.network, echo)
	r.call("the first one connects")
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			g := newGet(fmt.Sprint("key ", i))
			if err := r.node.Call(context.Background(), &g.Request); err != nil || !g.right() {
				t.Errorf("caller %d got %q, %v", i, g.value, err)
			}
		})
	}
	running.Wait()
	stats := r.node.Stats()
	require.Zero(t, stats.Waiting)
	require.Zero(t, stats.InFlight)
	require.EqualValues(t, callers+1, stats.Received)
	require.LessOrEqual(t, len(r.conn().pending.slots), 16)
}
