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
		n, err := c.stream.Write(batch)
		c.mu.Lock()
		c.stats.flushes++
		if err != nil {
			c.taken -= uint64(len(batch) - n)
		} else if c.cause == nil && cap(batch) <= largeBuffer {
			c.spare = batch[:0]
		}
		c.mu.Unlock()
		if err != nil {
			c.die(fmt.Errorf("write: %w", err))
			return
		}
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
			batch, c.out, c.spare = c.out, c.spare, nil
			c.taken = c.queued
			c.admitNext()
			c.mu.Unlock()
			return batch, true
		}
	}
	c.mu.Unlock()
	return nil, false
}
