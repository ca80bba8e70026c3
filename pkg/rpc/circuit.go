package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// ErrCircuitOpen means that all writes to a node have failed for a while, and that none is sent but one
// now and then to see whether that has changed.
var ErrCircuitOpen = errors.New("writes to the node keep failing")

// CircuitError is the cause of a write that was not sent because the node's circuit is open. It is an
// ErrCircuitOpen.
type CircuitError struct {
	// RetryIn is the time until the next write is let through.
	RetryIn time.Duration
}

// Error implements error.
func (e *CircuitError) Error() string {
	return fmt.Sprintf("%v: next try in %v", ErrCircuitOpen, e.RetryIn)
}

// Is recognises ErrCircuitOpen.
func (e *CircuitError) Is(target error) bool { return target == ErrCircuitOpen }

const (
	// circuitSpan is how long writes must have failed, all of them, before the circuit opens: a failover
	// takes less on a healthy cluster, and waits for news are a better answer to it.
	circuitSpan = time.Second
	// circuitPause is the time between the first probes of an open circuit, and circuitMaxPause the
	// longest: it doubles with each that fails.
	circuitPause    = 500 * time.Millisecond
	circuitMaxPause = 8 * time.Second
)

// circuit keeps writes away from a node on which they all fail, without an answer or for its disk, so
// that callers need not wait for what cannot succeed and the node is not burdened with it. Reads have
// no need of one: they can go elsewhere, and a silent node loses its connection anyway.
//
// While all is well, failures is 0 and nobody writes here.
type circuit struct {
	failures atomic.Uint32 // in a row
	open     atomic.Bool

	mu    sync.Mutex // guards what follows
	since time.Time  // of the first failure in a row
	next  time.Time  // when the next write may pass while open
	pause time.Duration
	probe bool // a write was let through while open, and has not failed yet
}

// admit returns nil for a write that may be sent.
func (c *circuit) admit() error {
	if !c.open.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if left := c.next.Sub(now); left > 0 && c.open.Load() {
		return &CircuitError{RetryIn: left}
	}
	c.next, c.probe = now.Add(c.pause), true
	return nil
}

// settle learns how a write has ended. limit is the number of failures in a row that open the circuit.
func (c *circuit) settle(err error, limit int) {
	switch {
	case limit < 0:
	case err == nil:
		if c.failures.Load() > 0 {
			c.close()
		}
	case damning(err):
		c.fail(uint32(limit))
	}
}

func (c *circuit) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures.Store(0)
	c.open.Store(false)
}

func (c *circuit) fail(limit uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.failures.Inc() == 1 {
		c.since = now
	}
	switch {
	case c.open.Load():
		if c.probe { // or one that was sent before the circuit opened; no matter
			c.probe = false
			c.pause = min(2*c.pause, circuitMaxPause)
			c.next = now.Add(c.pause)
		}
	case c.failures.Load() >= limit && now.Sub(c.since) >= circuitSpan:
		c.pause = circuitPause
		c.next, c.probe = now.Add(c.pause), false
		c.open.Store(true)
	}
}

// damning says whether the failure of a write speaks against the node: it did not answer, or cannot
// write. Refusals that concern a partition or the request do not, nor do callers that gave up.
func damning(err error) bool {
	var call *CallError
	if errors.As(err, &call) {
		return call.Outcome == retry.InDoubt && !errors.Is(call.Err, context.Canceled) && !errors.Is(call.Err, ErrClosed)
	}
	var refusal *ServerError
	if errors.As(err, &refusal) {
		return refusal.Name == wire.ErrDiskInsufficient || refusal.Name == wire.ErrDiskIOError
	}
	return errors.Is(err, ErrNoResult)
}
