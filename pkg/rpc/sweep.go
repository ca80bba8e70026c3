package rpc

import (
	"context"
	"time"
)

// sweep is the clock of one connection: a timer that runs only while calls are pending, and the state
// of what it watches. The connection's mutex guards it.
type sweep struct {
	timer    *time.Timer
	armed    bool
	tick     uint32 // grows by one with every run
	progress uint32 // tick at which it was armed, or last found that bytes had come or none were expected
	steady   uint32 // ticks that found so since the node's patience was eased
	frames   uint64 // whole frames received when it last found new ones
	framed   uint32 // tick at which it was armed, or did so
	// unanswered tells that a call was given up, before it was sent or after, since a whole frame last
	// came. It counts like one that waits. Otherwise callers with deadlines shorter than the limit
	// would never find out that a node is silent.
	unanswered bool
	probed     bool          // the node was asked for a sign of life since bytes last came
	limit      time.Duration // that of the node's patience when it was asked
	doubted    bool          // the reads were given up for silence
}

func (s *sweep) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.armed = true // for ever: a dead connection has nothing to sweep
}

// armSweep starts the timer, which was asleep. The mutex is held.
func (c *Conn) armSweep() {
	c.sweep.armed = true
	c.heard.Store(false)
	c.sweep.progress, c.sweep.framed, c.sweep.frames = c.sweep.tick, c.sweep.tick, c.stats.received
	if c.sweep.timer == nil {
		c.sweep.timer = time.AfterFunc(c.options.SweepInterval, c.runSweep)
	} else {
		c.sweep.timer.Reset(c.options.SweepInterval)
	}
}

// runSweep fails the calls whose deadline has passed, and the connection if its node is silent. It
// puts itself to sleep when nothing is left to watch.
func (c *Conn) runSweep() {
	now := time.Now()
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	c.sweep.tick++
	expired := c.expire(now)
	c.checkRole()
	c.listen()
	switch {
	case c.expecting():
		c.checkSilence()
		c.sweep.timer.Reset(c.options.SweepInterval) // which finds out if the connection dies
	case c.role.holder == heldByLoop:
		c.sweep.armed = false
	default: // it is awake for the role only; what comes to be expected is so from the next tick on
		c.sweep.progress, c.sweep.framed = c.sweep.tick+1, c.sweep.tick+1
		c.sweep.timer.Reset(c.options.SweepInterval)
	}
	c.mu.Unlock()
	for _, e := range expired {
		e.call.finish(e.err)
	}
}

// listen takes note of what has come since the last tick. Whole frames are signs of life, and so are
// bytes, but not for ever: a frame that announced more than it brings would swallow every answer after
// it, and nobody would notice. The mutex is held.
func (c *Conn) listen() {
	if !c.heard.Swap(false) {
		return
	}
	if c.stats.received != c.sweep.frames {
		c.sweep.frames, c.sweep.framed, c.sweep.unanswered = c.stats.received, c.sweep.tick, false
	}
	if time.Duration(c.sweep.tick-c.sweep.framed)*c.options.SweepInterval > frameLimit*c.options.SilenceLimit {
		return
	}
	c.sweep.progress, c.sweep.probed = c.sweep.tick, false
	c.easePatience()
}

// frameLimit is for how many times Options.SilenceLimit one frame may be under way: 32 s by default, in
// which the largest answer comes even at 4 MiB a second.
const frameLimit = 8

type expiredCall struct {
	call *call
	err  error
}

// expire removes the calls that are out of time, and tells those who wait for admission when they are, or
// should go elsewhere. The mutex is held.
func (c *Conn) expire(now time.Time) (expired []expiredCall) {
	for i := range c.pending.slots {
		pending := c.pending.slots[i].call
		if pending != nil && pending.outOfTime(now) {
			c.pending.giveUp(pending)
			expired = append(expired, expiredCall{pending, c.givenUp(pending, context.DeadlineExceeded)})
		}
	}
	if c.admission.expire(now, c.address) {
		c.sweep.unanswered = true
	}
	c.admitNext()
	return expired
}
