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
	progress uint32 // tick at which it last found that frames had come
	// oldest is the tick of the oldest call that was given up, or waited for admission, since a frame
	// last came, if any: its silence counts like that of a pending one. Otherwise callers with
	// deadlines shorter than the limit would never find out that a node is silent.
	oldest    uint32
	hasOldest bool
}

// abandon remembers a call that was given up.
func (s *sweep) abandon(since uint32) {
	if !s.hasOldest || int32(since-s.oldest) < 0 {
		s.oldest, s.hasOldest = since, true
	}
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
	if c.admission.waiting > 0 {
		c.sweep.abandon(c.admission.queue[c.admission.head].since)
	}
	expired, oldest, waiting := c.collect(now)
	c.admission.expire(now)
	c.admitNext()
	if c.stats.received != c.sweep.received {
		c.sweep.received, c.sweep.progress = c.stats.received, c.sweep.tick
		c.sweep.hasOldest = false
	}
	switch {
	case waiting && c.silentFor(oldest) >= c.options.SilenceLimit:
		c.dieSoon(fmt.Errorf("%w for %v", ErrSilent, c.options.SilenceLimit))
	case waiting:
		c.sweep.timer.Reset(c.options.SweepInterval)
	default:
		c.sweep.armed = false
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

// collect removes the calls that are out of time, and finds the oldest request that has no answer,
// if there is any. The mutex is held.
func (c *Conn) collect(now time.Time) (expired []expiredCall, oldest uint32, waiting bool) {
	oldest, waiting = c.sweep.oldest, c.sweep.hasOldest
	for i := range c.pending.slots {
		pending := c.pending.slots[i].call
		if pending == nil {
			continue
		}
		if !waiting || int32(pending.since-oldest) < 0 {
			oldest, waiting = pending.since, true
		}
		if !pending.until.IsZero() && !now.Before(pending.until) {
			c.pending.giveUp(pending)
			expired = append(expired, expiredCall{pending, c.givenUp(pending, context.DeadlineExceeded)})
		}
	}
	return expired, oldest, waiting
}

// silentFor returns how long the node has sent nothing while the oldest request waited. The mutex is
// held.
func (c *Conn) silentFor(oldest uint32) time.Duration {
	since := c.sweep.progress
	if int32(oldest-since) > 0 {
		since = oldest
	}
	return time.Duration(c.sweep.tick-since) * c.options.SweepInterval
}
