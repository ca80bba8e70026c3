package rpc

import (
	"context"
	"fmt"
	"time"
)

// sweep is the clock of one connection: a timer that runs only while calls are pending, and the state
// of what it watches. The connection's mutex guards it.
type sweep struct {
	timer    *time.Timer
	armed    bool
	tick     uint32 // grows by one with every run
	received uint64 // frames received when it last ran
	progress uint32 // tick at which it was armed, or last found that frames had come
	// unanswered tells that a call was given up, before it was sent or after, since a frame last
	// came. It counts like one that waits. Otherwise callers with deadlines shorter than the limit
	// would never find out that a node is silent.
	unanswered bool
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
	c.sweep.received, c.sweep.progress = c.stats.received, c.sweep.tick
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
	if c.stats.received != c.sweep.received {
		c.sweep.received, c.sweep.progress, c.sweep.unanswered = c.stats.received, c.sweep.tick, false
	}
	silence := time.Duration(c.sweep.tick-c.sweep.progress) * c.options.SweepInterval
	switch {
	case !c.expecting() && c.role.holder == heldByLoop:
		c.sweep.armed = false
	case silence >= c.options.SilenceLimit:
		c.dieSoon(fmt.Errorf("%w for %v", ErrSilent, c.options.SilenceLimit))
	default:
		c.sweep.timer.Reset(c.options.SweepInterval)
	}
	c.mu.Unlock()
	for _, e := range expired {
		e.call.finish(e.err)
	}
}

type expiredCall struct {
	call *call
	err  error
}

// expire removes the calls that are out of time, and tells those who wait for admission. The mutex is
// held.
func (c *Conn) expire(now time.Time) (expired []expiredCall) {
	for i := range c.pending.slots {
		pending := c.pending.slots[i].call
		if pending != nil && !pending.until.IsZero() && !now.Before(pending.until) {
			c.pending.giveUp(pending)
			expired = append(expired, expiredCall{pending, c.givenUp(pending, context.DeadlineExceeded)})
		}
	}
	if c.admission.expire(now) {
		c.sweep.unanswered = true
	}
	c.admitNext()
	return expired
}
