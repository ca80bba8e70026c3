package rpc

import (
	"errors"
	"os"
	"time"
)

// holder says who has the role of the connection's reader, and with it all that is in its reader
// struct. The connection's mutex guards it, so what one holder did happened before the next one.
type holder uint8

const (
	// heldByLoop: readLoop reads. So it is whenever several callers are at work.
	heldByLoop holder = iota
	// heldByCaller: a lone caller reads until its own call is finished. It delivers what else comes.
	heldByCaller
	// heldByNobody: the last lone caller is done, nobody waits for an answer, and the next lone caller
	// may take the role. Who calls but is not alone gives it to readLoop, and so does the sweep when
	// no caller comes, since somebody must notice when the server closes the connection.
	heldByNobody
)

const (
	// loneAnswers is the number of answers in a row, each to the only call in flight, after which
	// readLoop leaves the role to callers. Two changes of goroutine cost a lone caller more than all
	// else that the client does for it, above all where they wake a sleeping processor. Where several
	// callers are at work it is better that one goroutine reads for all.
	loneAnswers = 8
	// loneReading is for how long a caller may read. As long as it does, it does not notice that its
	// context was cancelled. Deadlines end its reading to the point.
	loneReading = 5 * time.Millisecond
)

// role is the state of the reader's role.
type role struct {
	holder holder
	used   bool          // a caller has had the role since the sweep ran last
	turn   chan struct{} // capacity 1: the role may be readLoop's again, or the connection died
}

// readLoop receives answers, except while callers do, until the connection dies.
func (c *Conn) readLoop() {
	for {
		if c.leave() && !c.awaitTurn() {
			return
		}
		if err := c.reader.receive(); err != nil {
			c.die(err)
			return
		}
		if c.reader.writes {
			c.reader.writeForCallers()
		}
	}
}

// awaitTurn waits until the role, which readLoop has left, is its own again. It is false when the
// connection is dead.
//
// A caller may have taken the role and given it back before this comes to wait. Then the turn it left
// in the channel ends a later wait, in which the role is another caller's. So it is the role itself,
// and not the turn, that allows to remove the time limit which callers leave behind: without that
// readLoop would run into it and give up the connection, and otherwise a caller would read without any.
func (c *Conn) awaitTurn() bool {
	for {
		c.mu.Lock()
		ours, dead := c.role.holder == heldByLoop, c.cause != nil
		c.mu.Unlock()
		switch {
		case dead:
			return false
		case ours:
			_ = c.stream.SetReadDeadline(time.Time{}) // if a closed stream refuses, reading tells
			return true
		}
		<-c.role.turn
	}
}

// leave gives up readLoop's role if a lone caller seems to be all there is.
func (c *Conn) leave() bool {
	if c.reader.lone < loneAnswers {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tryWrite == nil || c.expecting() {
		return false
	}
	c.role.holder, c.role.used = heldByNobody, true
	if !c.sweep.armed { // it may have run, and gone to sleep, since the last answer was matched
		c.armSweep()
	}
	return true
}

// expecting says whether anything may come that must not wait for the next caller to read it. The
// mutex is held.
func (c *Conn) expecting() bool {
	return c.pending.inFlight > 0 || c.admission.waiting > 0 || c.sweep.unanswered
}

// takeRole is for a caller that has just entered its call: it is true if the caller now has the role,
// for which it must be alone. It sees to it that somebody reads. The mutex is held.
func (c *Conn) takeRole(alone bool) bool {
	if c.role.holder != heldByNobody {
		return false
	}
	if !alone {
		c.giveToLoop()
		return false
	}
	c.role.holder, c.role.used = heldByCaller, true
	return true
}

// giveToLoop makes readLoop the holder. The mutex is held.
func (c *Conn) giveToLoop() {
	c.role.holder = heldByLoop
	c.reader.lone = 0
	c.wakeLoop()
}

func (c *Conn) wakeLoop() {
	select {
	case c.role.turn <- struct{}{}:
	default: // it has yet to take notice of the last time
	}
}

// readOwn reads until the call of the caller, who has the role, is finished. If that takes too long
// readLoop goes on, and the caller waits like any other.
func (c *Conn) readOwn(pending *call) {
	limit := time.Now().Add(loneReading)
	if until := pending.request.Deadline; !until.IsZero() && until.Before(limit) {
		limit = until
	}
	err := c.stream.SetReadDeadline(limit)
	for err == nil && len(pending.done) == 0 {
		err = c.reader.receive()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		c.dieSoon(err) // which may take longer than the caller waits
	case c.expecting(): // the caller's own answer, too, if the time was not enough
		c.giveToLoop()
	default:
		c.role.holder = heldByNobody
	}
}

// checkRole gives the role to readLoop if no caller has had it for a while. The sweep calls it with
// the mutex held.
func (c *Conn) checkRole() {
	if c.role.holder == heldByNobody && !c.role.used {
		c.giveToLoop()
	}
	c.role.used = false
}
