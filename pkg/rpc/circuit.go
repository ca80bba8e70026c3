package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// CircuitState is what a node's circuit does with writes.
type CircuitState string

// The states of a circuit.
const (
	// CircuitClosed: writes are sent.
	CircuitClosed CircuitState = "closed"
	// CircuitOpen: writes fail with ErrCircuitOpen, until it is time to probe.
	CircuitOpen CircuitState = "open"
	// CircuitHalfOpen: one write was let through as a probe. The others fail with ErrCircuitOpen. If its end
	// says nothing about the node, because its caller gave up for example, there is another one later.
	CircuitHalfOpen CircuitState = "half-open"
)

// CircuitChange is a change of the circuit that keeps writes from a node. A circuit opens, lets a probe
// through, is open again if that failed, and closes with the first write that succeeds.
type CircuitChange struct {
	// At is when it changed.
	At time.Time
	// Node is the "host:port" of the node.
	Node string
	// State is the state from then on.
	State CircuitState
	// Since is when the circuit opened: At if it was closed before, else the same for all changes until it
	// is closed again, that one included.
	Since time.Time
	// RetryIn is the time until the next write is let through, for CircuitOpen; 0 for others.
	RetryIn time.Duration
	// Failures is the number of writes that have failed since the last one that succeeded.
	Failures int
	// Kept is the number of writes that were not sent since the circuit opened.
	Kept uint64
	// Err is why the last of the failures was one.
	Err error
}

const (
	// circuitSpan is how long writes must have failed, all of them, before the circuit opens: a failover
	// takes less on a healthy cluster, and waits for news are a better answer to it.
	circuitSpan = time.Second
	// circuitPause is the time between the first probes of an open circuit, and circuitMaxPause the
	// longest: it doubles with each that fails, but stays well below the usual time of an operation, so that
	// those who wait for a node that is back reach it.
	circuitPause    = 500 * time.Millisecond
	circuitMaxPause = 2 * time.Second
)

// circuit keeps writes away from a node on which they all fail, without an answer or for its disk, so
// that callers need not wait for what cannot succeed and the node is not burdened with it. Reads have
// no need of one: they can go elsewhere, and a silent node loses its connection anyway.
//
// While all is well, failures is 0 and nobody writes here.
type circuit struct {
	failures atomic.Uint32 // in a row
	open     atomic.Bool
	changed  func(CircuitChange) // told with the mutex held, so in order; waits for nobody

	mu       sync.Mutex // guards what follows, and all changes of what precedes
	since    time.Time  // of the first failure in a row
	next     time.Time  // when the next write may pass while open
	pause    time.Duration
	probe    bool      // a write was let through while open, and has not failed yet
	openedAt time.Time // when it opened last
	opened   uint64    // how often it has
	kept     uint64    // writes not sent, ever
	before   uint64    // kept when it opened last
	cause    error     // of the last failure in a row
}

// admit returns nil for a write that may be sent.
func (c *circuit) admit() error {
	if !c.open.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open.Load() { // any more
		return nil
	}
	now := time.Now()
	if left := c.next.Sub(now); left > 0 {
		c.kept++
		return &CircuitError{RetryIn: left}
	}
	c.next, c.probe = now.Add(c.pause), true
	c.tell(CircuitHalfOpen, now)
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
		c.fail(err, uint32(limit))
	}
}

func (c *circuit) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open.Load() {
		c.tell(CircuitClosed, time.Now())
	}
	c.failures.Store(0)
	c.open.Store(false)
	c.cause = nil
}

func (c *circuit) fail(cause error, limit uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.failures.Inc() == 1 {
		c.since = now
	}
	c.cause = cause
	switch {
	case c.open.Load():
		if c.probe { // or one that was sent before the circuit opened; no matter
			c.probe = false
			c.pause = min(2*c.pause, circuitMaxPause)
			c.next = now.Add(c.pause)
			c.tell(CircuitOpen, now)
		}
	case c.failures.Load() >= limit && now.Sub(c.since) >= circuitSpan:
		c.pause = circuitPause
		c.next, c.probe = now.Add(c.pause), false
		c.openedAt, c.before = now, c.kept
		c.opened++
		c.open.Store(true)
		c.tell(CircuitOpen, now)
	}
}

// tell reports a change. The mutex is held.
func (c *circuit) tell(state CircuitState, now time.Time) {
	change := CircuitChange{
		At: now, State: state, Since: c.openedAt,
		Failures: int(c.failures.Load()), Kept: c.kept - c.before, Err: c.cause,
	}
	if state == CircuitOpen {
		change.RetryIn = c.next.Sub(now)
	}
	c.changed(change)
}

// describe adds the circuit to a node's statistics.
func (c *circuit) describe(stats *NodeStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open.Load() {
		stats.CircuitOpen, stats.CircuitOpenSince = true, c.openedAt
	}
	stats.CircuitOpened, stats.CircuitKept = c.opened, c.kept
}

// circuitChanged has the log and the hook told, by a goroutine that holds no locks.
func (n *Node) circuitChanged(change CircuitChange) {
	change.Node = n.address
	n.pool.Notify(func() {
		options := &n.pool.options
		change.log(options.Logger)
		if changed := options.Hooks.CircuitChanged; changed != nil {
			changed(change)
		}
	})
}

// log tells of a change. What comes and goes while a circuit is open matters only to who looks closely.
func (c *CircuitChange) log(to *slog.Logger) {
	switch {
	case c.State == CircuitClosed:
		to.Info("circuit closed", "node", c.Node, "open_for", c.At.Sub(c.Since), "writes_kept", c.Kept)
	case c.State == CircuitHalfOpen:
		to.Debug("circuit half-open", "node", c.Node)
	case c.At.Equal(c.Since):
		to.Warn("circuit opened", "node", c.Node, "failures", c.Failures, "retry_in", c.RetryIn, "error", c.Err)
	default:
		to.Debug("circuit still open", "node", c.Node, "retry_in", c.RetryIn, "error", c.Err)
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
