package rpc

import (
	"fmt"
	"runtime"
	"time"
)

const (
	// smallBatch is the size in bytes below which whoever writes lets other goroutines run first, as
	// long as they go on appending: callers that were just woken by answers are about to send their
	// next requests, and one system call for all of them costs a fraction of one each.
	smallBatch = 16 << 10
	// lingerTurns is how often linger looks whether one more caller has returned: for a microsecond or two.
	lingerTurns = 3000
	// largeBuffer is the size in bytes above which a buffer is not kept for the next batch.
	largeBuffer = 256 << 10
)

// writeLoop hands to the system what callers have appended, all there is at a time, and waits for the
// peer if it must. It sleeps while others do its work without waiting: see writeNow.
func (c *Conn) writeLoop() {
	for {
		batch, ok := c.nextBatch()
		if !ok {
			return
		}
		n, err := c.write(batch)
		c.mu.Lock()
		err = c.wrote(batch, n, err)
		c.mu.Unlock()
		if err != nil {
			c.die(err)
			return
		}
	}
}

// write writes everything, and waits for the peer if it must.
func (c *Conn) write(batch []byte) (n int, err error) {
	if c.tryWrite != nil {
		if n, err = c.tryWrite(batch); err != nil || n == len(batch) {
			return n, err
		}
	}
	rest, err := c.stream.Write(batch[n:])
	return n + rest, err
}

// nextBatch waits for frames and takes them. It is false when the connection is dead.
func (c *Conn) nextBatch() (batch []byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.cause == nil {
		if len(c.out) == 0 {
			c.writerIdle = true
			c.mu.Unlock()
			<-c.kick
			c.mu.Lock()
			continue
		}
		if c.gather() {
			return c.take(), true
		}
	}
	return nil, false
}

// gather lets other goroutines run as long as they append more, up to a batch worth a system call, or
// until all callers that seemed about to return have done so. It is false if the connection died. The
// mutex is held, but not all the time.
func (c *Conn) gather() bool {
	awaited := c.returning.Load()
	for seen := -1; c.cause == nil && len(c.out) > seen && len(c.out) < smallBatch; {
		seen = len(c.out)
		left := c.returning.Load()
		c.mu.Unlock()
		if c.yield.once() && left > 0 && c.returning.Load() == left {
			c.linger(left)
		}
		c.mu.Lock()
		if awaited > 0 && c.returning.Load() == 0 {
			break
		}
	}
	if c.returning.Load() == awaited {
		c.returning.Store(0) // they have other things to do
	}
	return c.cause == nil
}

const (
	// longYield is how long it may take until a goroutine that yielded goes on: if it is longer, others are
	// taken to have more to do than to return.
	longYield = 5 * time.Millisecond
	// sparedYields is the number of yields that are left out then.
	sparedYields = 50
)

// yield is how the reader and the writer let callers run. Where callers are all that runs, that takes what they
// need to return, some microseconds each. In a program that works on something else besides it takes until that is
// done, or until the runtime ends its turn after 10 ms, and this several times for one batch of answers. So who
// had to wait for long does without for a while: whom it would wait for has come meanwhile, or is far away.
type yield struct{ spared int }

// once yields, or returns false at once if it is to be left out.
func (y *yield) once() bool {
	if y.spared > 0 {
		y.spared--
		return false
	}
	began := time.Now()
	runtime.Gosched()
	if time.Since(began) > longYield {
		y.spared = sparedYields
	}
	return true
}

// linger waits a moment for callers that return on other processors. Yielding is no way to wait for those:
// a goroutine that yields to nobody goes on at once, and half of the callers that were woken together have
// usually moved to another processor, where they append a frame a microsecond. Without this a batch fell
// into three or four, of which each cost a system call here and one at the server.
//
// left is how many had not returned when the caller looked last.
func (c *Conn) linger(left int32) {
	if runtime.GOMAXPROCS(0) == 1 {
		return
	}
	for turn := 0; left > 0 && turn < lingerTurns; turn++ {
		if now := c.returning.Load(); now < left {
			left, turn = now, 0
		}
	}
}

// take takes all there is to write. The mutex is held.
func (c *Conn) take() []byte {
	batch := c.out
	c.out, c.spare = c.spare, nil
	c.taken = c.queued
	c.admitNext()
	return batch
}

// wrote is the bookkeeping after a write of which the system took n bytes. The rest goes back, unless
// there is an error, which it returns in its final form. The mutex is held.
func (c *Conn) wrote(batch []byte, n int, err error) error {
	c.stats.flushes++
	rest := batch[n:]
	c.taken -= uint64(len(rest))
	switch {
	case err != nil:
		return fmt.Errorf("write: %w", err)
	case c.cause != nil: // nothing more is taken
	case len(rest) > 0:
		c.out, c.spare = append(rest, c.out...), c.out[:0]
	case cap(batch) <= largeBuffer:
		c.spare = batch[:0]
	}
	return nil
}

// writeNow does the idle writer's work once, in the place of the writer, whose goroutine need not be
// woken for that. It never waits for the peer, for whom neither a caller's context nor the reader
// could wait: what the system does not take at once is left to the writer. The mutex is held, and
// whoever calls made writerIdle false; it returns without the mutex.
func (c *Conn) writeNow() {
	batch := c.take()
	c.mu.Unlock()
	n, err := c.tryWrite(batch)
	c.mu.Lock()
	if err = c.wrote(batch, n, err); err != nil {
		c.dieSoon(err) // which finishes the caller's own call, too, and may take longer than it waits
		c.mu.Unlock()
		return
	}
	more := len(c.out) > 0 // the rest, or from callers that took us for the writer
	c.writerIdle = !more
	c.mu.Unlock()
	if more {
		c.kickWriter()
	}
}

// claimForCallers makes the reader the writer, if that is idle, for the frames of the callers whose
// answers it is about to deliver. The mutex is held.
func (r *reader) claimForCallers() {
	c := r.conn
	if c.tryWrite != nil && c.writerIdle && c.role.holder == heldByLoop {
		c.writerIdle, r.writes = false, true
	}
}

// writeForCallers lets the callers run that have just got their answers, and writes what they append.
func (r *reader) writeForCallers() {
	r.writes = false
	c := r.conn
	c.mu.Lock()
	if c.gather() && len(c.out) > 0 {
		c.writeNow()
		return
	}
	c.writerIdle = true
	c.mu.Unlock()
}
