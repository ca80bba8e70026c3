package rpc

import (
	"fmt"
	"runtime"
)

const (
	// smallBatch is the size in bytes below which the writer lets other goroutines run before it
	// writes, as long as they go on appending: callers that were just woken by answers are about to
	// send their next requests, and one system call for all of them costs a fraction of one each.
	smallBatch = 16 << 10
	// directLimit is the number of unread bytes up to which a lone caller writes itself: a fraction of
	// the smallest send buffer of any system.
	directLimit = 4 << 10
	// largeBuffer is the size in bytes above which a buffer is not kept for the next batch.
	largeBuffer = 256 << 10
)

// writeLoop hands to the system whatever callers have appended, all there is at a time.
func (c *Conn) writeLoop() {
	for {
		batch, ok := c.nextBatch()
		if !ok {
			return
		}
		if err := c.write(batch); err != nil {
			c.die(err)
			return
		}
	}
}

// write hands a batch to the system and gives its buffer back. The mutex is not held.
func (c *Conn) write(batch []byte) error {
	n, err := c.stream.Write(batch)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.flushes++
	if err != nil {
		c.taken -= uint64(len(batch) - n)
		return fmt.Errorf("write: %w", err)
	}
	if c.cause == nil && cap(batch) <= largeBuffer {
		c.spare = batch[:0]
	}
	return nil
}

// take takes all there is to write. The mutex is held.
func (c *Conn) take() []byte {
	batch := c.out
	c.out, c.spare = c.spare, nil
	c.taken = c.queued
	c.admitNext()
	return batch
}

// alone says whether a caller that found the writer idle and appended its frame should write it
// itself, which saves a lone caller the way through another goroutine. Where many call, frames
// should gather instead. The write must not wait for the peer, since the caller's context could not
// end it: the peer has read everything but the last few bytes, and the system has room for those.
// The mutex is held.
func (c *Conn) alone() bool {
	return c.direct && c.pending.inFlight == 1 && c.crowd <= 1 && c.queued-c.heard <= directLimit
}

// writeDirect does the idle writer's work once. It lets go of the mutex.
func (c *Conn) writeDirect() {
	batch := c.take()
	c.mu.Unlock()
	err := c.write(batch)
	c.mu.Lock()
	if err != nil {
		c.dieSoon(err) // which finishes the caller's own call, too, and may take longer than it waits
		c.mu.Unlock()
		return
	}
	more := len(c.out) > 0 // from callers that took us for the writer
	c.writerIdle = !more
	c.mu.Unlock()
	if more {
		c.kickWriter()
	}
}

// nextBatch waits for frames and takes them. It is false when the connection is dead.
func (c *Conn) nextBatch() (batch []byte, ok bool) {
	seen := 0 // what there was before we last let others run
	c.mu.Lock()
	for c.cause == nil {
		switch {
		case len(c.out) == 0:
			c.writerIdle = true
			c.mu.Unlock()
			<-c.kick
			c.mu.Lock()
			seen = 0
		case len(c.out) < smallBatch && len(c.out) > seen:
			seen = len(c.out)
			c.mu.Unlock()
			runtime.Gosched()
			c.mu.Lock()
		default:
			batch = c.take()
			c.mu.Unlock()
			return batch, true
		}
	}
	c.mu.Unlock()
	return nil, false
}
