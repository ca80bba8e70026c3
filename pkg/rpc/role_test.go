package rpc

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
)

// holder returns who has the role of the reader.
func (r *rig) holder() holder {
	c := r.conn()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.role.holder
}

// loneRig returns a rig whose connection has a lone caller, which has the reader's role whenever it
// calls, and the server's end of it.
func loneRig(t *testing.T, options Options) (*rig, *peer) {
	r := newRig(t, options)
	p := r.connect()
	synctest.Wait() // the writer is idle
	setDirect(r.conn())
	for i := range loneAnswers {
		require.Equal(t, heldByLoop, r.holder())
		answerOne(t, r, p, fmt.Sprint("key ", i))
	}
	require.Equal(t, heldByNobody, r.holder())
	return r, p
}

// answerOne makes a call and answers it.
func answerOne(t *testing.T, r *rig, p *peer, key string) {
	c := r.start(key)
	p.write(p.mustNext().answer())
	c.requireAnswered(t)
	synctest.Wait()
}

func TestRoleGoesToALoneCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		for range 3 {
			c := r.start("key")
			a := p.mustNext()
			synctest.Wait()
			require.Equal(t, heldByCaller, r.holder())
			p.write(a.answer()[:7])
			synctest.Wait()
			p.write(a.answer()[7:])
			c.requireAnswered(t)
			require.Equal(t, heldByNobody, r.holder())
		}
		for range 10 { // it need not call all the time
			time.Sleep(r.conn().options.SweepInterval * 2 / 3)
			require.Equal(t, heldByNobody, r.holder())
			answerOne(t, r, p, "key")
		}
	})
}

// Callers that take turns are as good as one. Two at the same time are not: the one that reads
// delivers the other's answer if that comes first, and otherwise leaves it to readLoop.
func TestRoleWithTwoCallers(t *testing.T) {
	for _, readerFirst := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			r, p := loneRig(t, Options{})
			reading := r.start("reading")
			first := p.mustNext()
			other := r.start("other")
			second := p.mustNext()
			synctest.Wait()
			require.Equal(t, heldByCaller, r.holder())
			if readerFirst {
				p.write(first.answer())
				reading.requireAnswered(t)
				require.Equal(t, heldByLoop, r.holder())
				p.write(second.answer())
				other.requireAnswered(t)
				synctest.Wait()
				require.Equal(t, heldByLoop, r.holder(), "one lone answer does not prove anything")
				return
			}
			p.write(second.answer())
			other.requireAnswered(t)
			require.Equal(t, heldByCaller, r.holder())
			// The reading caller will not write for those to whom it delivers: the writer does.
			third := r.start("third")
			p.write(p.mustNext().answer())
			third.requireAnswered(t)
			require.Equal(t, heldByCaller, r.holder())
			p.write(first.answer())
			reading.requireAnswered(t)
			require.Equal(t, heldByNobody, r.holder())
		})
	}
}

// Who calls while nobody reads, but does not write itself, needs somebody who reads.
func TestRoleOfNobodyGoesToTheLoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		conn := r.conn()
		conn.mu.Lock()
		conn.crowd = 2
		conn.mu.Unlock()
		began := time.Now()
		answerOne(t, r, p, "key")
		require.Zero(t, time.Since(began), "the sweep would have helped in the end")
		require.Equal(t, heldByLoop, r.holder())
	})
}

// While nobody reads, nobody would notice the end of the connection. The sweep does not let that last.
func TestRoleOfNobodyEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		p.close()
		synctest.Wait()
		require.Zero(t, r.node.Epoch())
		time.Sleep(2 * r.conn().options.SweepInterval)
		synctest.Wait()
		require.EqualValues(t, 1, r.node.Epoch())
	})
}

// An idle connection is read by readLoop, and its sweep sleeps.
func TestRoleOfAnIdleConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, heldByLoop, r.holder())
		ticks := r.ticks()
		time.Sleep(time.Second)
		require.Equal(t, ticks, r.ticks())
		answerOne(t, r, p, "key")
		require.Equal(t, heldByLoop, r.holder())
	})
}

// A caller that reads does not see its context, so it must not read for long. Then readLoop goes on
// where it stopped, even in the middle of a frame, and is not disturbed by the caller's time limit.
func TestRoleEndsWhenTheAnswerTakesLong(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		c := r.start("key")
		a := p.mustNext()
		p.write(a.answer()[:7])
		time.Sleep(loneReading)
		synctest.Wait()
		require.Equal(t, heldByLoop, r.holder())
		time.Sleep(time.Second)
		p.write(a.answer()[7:])
		c.requireAnswered(t)
		require.Zero(t, r.node.Epoch())
		answerOne(t, r, p, "other key")
	})
}

func TestRoleAndCancellation(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		c := r.start("key")
		a := p.mustNext()
		c.cancel()
		c.requireFailed(t, StageAwaiting, retry.InDoubt, context.Canceled)
		require.LessOrEqual(t, c.took, loneReading)
		p.write(a.answer())
		synctest.Wait()
		require.EqualValues(t, 1, r.node.Stats().Late, "somebody reads, since an answer may still come")
		require.Equal(t, heldByLoop, r.holder())
	})
}

// Who must notice the end of its context at once does not read.
func TestRoleAndAttentiveCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		g := newGet("key")
		g.Attentive = true
		c := r.startWith(g)
		a := p.mustNext()
		synctest.Wait()
		require.Equal(t, heldByLoop, r.holder())
		c.cancel()
		c.requireFailed(t, StageAwaiting, retry.InDoubt, context.Canceled)
		require.Zero(t, c.took)
		p.write(a.answer())
		synctest.Wait()
		require.EqualValues(t, 1, r.node.Stats().Late)
	})
}

// A deadline ends the reading to the point, and the context the call.
func TestRoleAndDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{})
		const limit = loneReading / 2
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		g := newGet("key")
		g.Deadline, _ = ctx.Deadline()
		began := time.Now()
		require.ErrorIs(t, r.node.Call(ctx, &g.Request), context.DeadlineExceeded)
		require.Equal(t, limit, time.Since(began))
		p.write(p.mustNext().answer())
		answerOne(t, r, p, "other key")
	})
}

// A caller that reads finds out first how the connection ends.
func TestRoleWhileTheConnectionDies(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(r *rig, p *peer)
		want error
	}{
		"by the server":        {func(_ *rig, p *peer) { p.close() }, io.ErrUnexpectedEOF},
		"for what it received": {func(_ *rig, p *peer) { p.write(sized(1)) }, ErrProtocol},
		"by us":                {func(r *rig, _ *peer) { r.close() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, p := loneRig(t, Options{})
				call := r.start("key")
				p.mustNext()
				synctest.Wait()
				require.Equal(t, heldByCaller, r.holder())
				c.end(r, p)
				call.requireFailed(t, StageAwaiting, retry.InDoubt, c.want)
			})
		})
	}
}

// A node that falls silent is noticed although a caller had the role.
func TestRoleAndSilence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, p := loneRig(t, Options{SilenceLimit: 100 * time.Millisecond})
		c := r.start("key")
		p.mustNext()
		c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
	})
}

// Few callers on a real network, who come and go, so that the role changes hands all the time, while
// calls are cancelled, run out of time, and connections end.
func TestStressRole(t *testing.T) {
	calls := 5_000
	if testing.Short() {
		calls = 1_000
	}
	w := newWitness()
	address := listenTCP(t, func(stream net.Conn) {
		p := &peer{t: t, conn: stream}
		for {
			a, ok := p.next()
			w.mu.Lock()
			w.seen[a.key] = true
			w.mu.Unlock()
			if !ok || rand.IntN(1000) == 0 {
				return
			}
			if rand.IntN(100) == 0 {
				time.Sleep(rand.N(2 * loneReading))
			}
			p.write(a.answer())
		}
	})
	node := tcpNode(t, address, Options{SweepInterval: time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond})
	var running sync.WaitGroup
	for caller := range 3 {
		running.Go(func() {
			for n := range calls / (1 + 4*caller) {
				g, ctx, cancel := disturbed(fmt.Sprint("caller ", caller, " key ", n))
				err := node.Call(ctx, &g.Request)
				cancel()
				w.judge(t, g, err)
			}
		})
	}
	running.Wait()
	require.Zero(t, node.Stats().InFlight)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum(t)
}

// deadlineStream remembers the time limit for reading.
type deadlineStream struct {
	net.Conn
	limit time.Time
}

func (s *deadlineStream) SetReadDeadline(limit time.Time) error {
	s.limit = limit
	return nil
}

// A caller may have had the role, and given it back, before readLoop came to wait for its turn.
func TestRoleComesBackBeforeTheLoopWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &deadlineStream{limit: time.Now().Add(loneReading)}
		c := &Conn{stream: s, role: role{holder: heldByCaller, turn: make(chan struct{}, 1)}, reader: &reader{}}
		c.giveToLoop()
		require.True(t, c.awaitTurn())
		require.Zero(t, s.limit, "a caller's limit is not for readLoop")
		// The turn that nobody waited for must not have it change the limit of the next caller.
		c.role.holder, s.limit = heldByCaller, time.Now().Add(loneReading)
		var ours bool
		go func() { ours = c.awaitTurn() }()
		synctest.Wait()
		require.NotZero(t, s.limit)
		c.mu.Lock()
		c.giveToLoop()
		c.mu.Unlock()
		synctest.Wait()
		require.True(t, ours)
		require.Zero(t, s.limit)
	})
}

// A call may have begun since the answers that seemed to be a lone caller's.
func TestRoleIsNotLeftWhileAnAnswerIsExpected(t *testing.T) {
	c := &Conn{options: &Options{}, tryWrite: func([]byte) (int, error) { return 0, nil }}
	c.sweep.armed = true
	c.reader = &reader{conn: c, lone: loneAnswers}
	c.pending.inFlight = 1
	require.False(t, c.leave())
	c.pending.inFlight = 0
	require.True(t, c.leave())
}

// The sweep may have gone to sleep between the last answer and readLoop leaving the role.
func TestRoleOfNobodyIsWatched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &Conn{options: &Options{SweepInterval: time.Hour}, tryWrite: func([]byte) (int, error) { return 0, nil }}
		c.reader = &reader{conn: c, lone: loneAnswers}
		require.True(t, c.leave())
		require.True(t, c.sweep.armed)
		require.True(t, c.sweep.timer.Stop())
		// Unless the connection is dead.
		c.role.holder = heldByLoop
		c.sweep.stop()
		require.True(t, c.leave())
		require.False(t, c.sweep.timer.Stop())
	})
}
