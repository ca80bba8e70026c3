package rpc

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

func TestDialIsSharedByAllWhoNeedIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		r.network.SetLatency(address, 50*time.Millisecond)
		var calls []*background
		for i := range 200 {
			calls = append(calls, r.start(fmt.Sprint("key ", i)))
		}
		for _, c := range calls {
			c.requireAnswered(t)
		}
		require.Equal(t, 1, r.network.Dials(address))
		require.EqualValues(t, 1, r.node.Stats().Dials)
	})
}

// So is the dial after a lost connection, however many calls were on it.
func TestDialIsSharedAfterALoss(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		s := listen(t, r.network)
		greeting := r.start("greeting")
		p := s.accept()
		p.write(p.mustNext().answer())
		greeting.requireAnswered(t)
		lost := r.startInOrder(200)
		s.run(echo)
		p.close()
		var again []*background
		for _, c := range lost {
			require.ErrorIs(t, c.result(), io.ErrUnexpectedEOF)
			again = append(again, r.start(string(c.key)))
		}
		for _, c := range again {
			c.requireAnswered(t)
		}
		require.Equal(t, 2, r.network.Dials(address))
	})
}

// Who waits for a dial has its own deadline; the dial goes on for the others.
func TestDialFollowersHaveTheirOwnDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		r.network.SetLatency(address, 100*time.Millisecond)
		hasty := r.startWith(withDeadline("hasty", 70*time.Millisecond))
		patient := r.startWith(withDeadline("patient", time.Second))
		hasty.requireFailed(t, StageConnecting, retry.NotSent, context.DeadlineExceeded)
		require.Equal(t, 70*time.Millisecond, hasty.took)
		patient.requireAnswered(t)
		require.Equal(t, 1, r.network.Dials(address))
	})
}

// The time spent on connecting is taken off the timeout that the server is told.
func TestDialCorrectsTheAnnouncedTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		s := listen(t, r.network)
		r.network.SetLatency(address, 100*time.Millisecond)
		c := r.startWith(withDeadline("key", time.Second))
		p := s.accept()
		a := p.mustNext()
		require.EqualValues(t, 800, a.millis)
		p.write(a.answer())
		c.requireAnswered(t)
	})
}

// A refused dial fails all who wait for it at once. Until the pause is over, calls fail without one.
func TestDialRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		for failures := 1; failures <= 10; failures++ {
			calls := []*background{r.start("first"), r.start("second")}
			var refused *ConnectError
			for _, c := range calls {
				c.requireFailed(t, StageConnecting, retry.NotSent, ErrConnect)
				require.ErrorIs(t, c.err, syscall.ECONNREFUSED)
				require.Zero(t, c.took)
				require.ErrorAs(t, c.err, &refused)
			}
			pause := refused.RetryIn
			require.Positive(t, pause)
			require.LessOrEqual(t, pause, r.pool.options.BackoffMax)

			time.Sleep(pause - 1)
			require.ErrorIs(t, r.start("too soon").result(), ErrConnect)
			require.ErrorAs(t, r.start("too soon").result(), &refused)
			require.EqualValues(t, 1, refused.RetryIn)
			require.Equal(t, failures, r.network.Dials(address))
			require.EqualValues(t, failures, r.node.Epoch())
			time.Sleep(time.Nanosecond)
		}
		require.ErrorIs(t, r.node.Stats().LastError, syscall.ECONNREFUSED)
	})
}

func TestDialBackoff(t *testing.T) {
	options, err := Options{BackoffMin: 3 * time.Millisecond, BackoffMax: 100 * time.Millisecond}.withDefaults()
	require.NoError(t, err)
	for _, c := range []struct {
		failures int
		slow     bool
		longest  time.Duration
	}{
		{1, false, 3}, {2, false, 6}, {3, false, 12}, {6, false, 96}, {7, false, 100}, {1000, false, 100},
		{math.MaxInt, false, 100}, {1, true, 3}, {7, true, 192}, {10, true, 1000}, {math.MaxInt, true, 1000},
	} {
		longest := c.longest * time.Millisecond
		least, most := longest, time.Duration(0)
		for range 1000 {
			pause := options.backoff(c.failures, c.slow)
			least, most = min(least, pause), max(most, pause)
		}
		require.GreaterOrEqual(t, least, longest/2, "%+v", c)
		require.LessOrEqual(t, most, longest, "%+v", c)
		require.Greater(t, most-least, longest/4, "%+v: no jitter", c)
	}
}

// A node that does not even refuse: the dial is bounded, and the pauses may grow longer.
func TestDialThatHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.network.Blackhole(address, true)
		longest := time.Duration(0)
		for range 20 {
			c := r.start("key")
			c.requireFailed(t, StageConnecting, retry.NotSent, ErrConnect)
			require.Equal(t, r.pool.options.DialTimeout, c.took)
			var hung *ConnectError
			require.ErrorAs(t, c.err, &hung)
			longest = max(longest, hung.RetryIn)
			time.Sleep(hung.RetryIn)
		}
		require.Greater(t, longest, r.pool.options.BackoffMax)
		require.LessOrEqual(t, longest, slowBackoffFactor*r.pool.options.BackoffMax)
		serve(t, r.network, echo)
		r.network.Blackhole(address, false)
		r.call("key")
	})
}

func TestDialTimeoutErrors(t *testing.T) {
	require.True(t, timedOut(context.DeadlineExceeded))
	require.True(t, timedOut(&net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}))
	require.False(t, timedOut(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}))
	require.False(t, timedOut(io.EOF))
}

// hammer calls again and again for a while of virtual time, and returns how long the first success
// took, or false.
func (r *rig) hammer(d time.Duration) (time.Duration, bool) {
	for began := time.Now(); time.Since(began) < d; time.Sleep(time.Millisecond) {
		if r.node.Call(r.t.Context(), &newGet("key").Request) == nil {
			return time.Since(began), true
		}
	}
	return 0, false
}

// A server that comes back is found soon, after however long an absence.
func TestDialFindsARestartedServer(t *testing.T) {
	for _, absence := range []time.Duration{10 * time.Millisecond, time.Second, time.Hour} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			s := serve(t, r.network, echo)
			r.call("key")
			s.stop()
			synctest.Wait()
			_, ok := r.hammer(min(absence, 10*time.Second))
			require.False(t, ok)
			time.Sleep(absence)
			_, ok = r.hammer(time.Second) // so that pauses are as long as can be
			require.False(t, ok)
			serve(t, r.network, echo)
			took, ok := r.hammer(time.Minute)
			require.True(t, ok)
			require.LessOrEqual(t, took, r.pool.options.BackoffMax+time.Millisecond)
		})
	}
}

// After a connection that was good for something, the first dial does not wait.
func TestDialPauseEndsWithSuccess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		_, ok := r.hammer(10 * time.Second)
		require.False(t, ok)
		s := serve(t, r.network, echo)
		_, ok = r.hammer(time.Second)
		require.True(t, ok)
		s.stop()
		serve(t, r.network, echo)
		synctest.Wait()
		r.call("at once")
		l := &r.node.links[0]
		require.Zero(t, l.failures)
		// A refusal after that is the first one again.
		l.mu.Lock()
		require.LessOrEqual(t, l.pause(errBroken), r.pool.options.BackoffMin)
		l.mu.Unlock()
	})
}

// A server that accepts connections only to close them is dialled as rarely as one that refuses.
func TestDialStorm(t *testing.T) {
	for name, script := range map[string]func(*peer){
		"closes at once":            func(*peer) {},
		"closes at the request":     func(p *peer) { p.next() },
		"answers what is no answer": func(p *peer) { p.next(); p.write(sized(0)) },
		"says what nobody asked for": func(p *peer) {
			p.write(asked{method: wire.ClearScanner, sequence: onewaySequence}.refusal(wire.ErrBusy))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{})
				serve(t, r.network, script)
				const seconds = 5
				for range 5 {
					go r.hammer(seconds * time.Second)
				}
				_, ok := r.hammer(seconds * time.Second)
				require.False(t, ok)
				time.Sleep(time.Second)
				shortest := r.pool.options.BackoffMax / 2
				require.Less(t, r.network.Dials(address), int(seconds*time.Second/shortest)+20)
				require.Greater(t, r.network.Dials(address), seconds)
			})
		})
	}
}

// A connection dies before its dial is over: it must not stay in the link for ever.
func TestDialOfAConnectionThatIsDeadOnArrival(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(0)
		r := newRig(t, Options{Dial: stream.dialled()})
		l := &r.node.links[0]
		conn, err := r.pool.adopt(l, stream)
		require.NoError(t, err)
		conn.die(errBroken)
		f := &flight{done: make(chan struct{}), conn: conn}
		l.land(f, nil)
		<-f.done
		require.Nil(t, l.conn.Load())
	})
}

// A connection may die before the node knows it: it must not be counted for ever.
func TestDialOfConnectionsThatDieAtOnce(t *testing.T) {
	var streams []*stubStream
	r := newRig(t, Options{})
	for range 3000 {
		stream := newStubStream(0)
		close(stream.reads)
		streams = append(streams, stream)
		_, err := r.pool.adopt(&r.node.links[0], stream)
		require.NoError(t, err)
	}
	for _, stream := range streams {
		<-stream.closed
	}
	require.Zero(t, r.node.Stats().Connections)
}

// An old connection dies when there is a new one: the new one stays.
func TestDialIsNotUndoneByAnOldConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		r.call("key")
		old := r.conn()
		old.mu.Lock()
		old.retired = ErrRetired // as Retire does, but it stays alive though nothing is in flight
		old.usable.Store(false)
		old.mu.Unlock()
		r.call("key")
		fresh := r.conn()
		require.NotSame(t, old, fresh)
		require.Equal(t, 2, r.node.Stats().Connections)
		old.die(errBroken)
		require.Same(t, fresh, r.conn())
		r.call("key")
		require.Equal(t, 1, r.node.Stats().Connections)
		require.EqualValues(t, 2, r.node.Stats().Dials)
	})
}

// recorder is a log that uses the node while it is written to, as one that adds statistics may.
type recorder struct {
	slog.Handler
	node  func() *Node
	lines chan string
}

func (h recorder) Enabled(context.Context, slog.Level) bool { return true }

func (h recorder) Handle(ctx context.Context, record slog.Record) error {
	if n := h.node(); n != nil {
		n.Stats()
		_, _, _ = n.links[0].join() // may start a dial, or not
	}
	h.lines <- fmt.Sprint(record.Level, " ", record.Message)
	return nil
}

// The log may take its time and use the client: no mutex is held while it is written.
func TestDialLogsWithoutAMutex(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var node *Node
		log := recorder{node: func() *Node { return node }, lines: make(chan string, 100)}
		r := newRig(t, Options{Logger: slog.New(log)})
		node = r.node
		require.ErrorIs(t, r.start("key").result(), ErrConnect)
		require.Equal(t, "WARN cannot connect", <-log.lines)
		time.Sleep(time.Second)
		require.ErrorIs(t, r.start("key").result(), ErrConnect)
		require.Equal(t, "DEBUG cannot connect", <-log.lines, "it is known by now")
		time.Sleep(time.Second)
		s := serve(t, r.network, echo)
		r.call("key")
		require.Equal(t, "INFO connected", <-log.lines)
		s.stop()
		require.Equal(t, "WARN connection lost", <-log.lines)
	})
}

// A dialler that keeps no promise is one that failed.
func TestDiallerReturnsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, nil }})
		require.ErrorIs(t, r.node.Connect(t.Context()), errNoStream)
	})
}
