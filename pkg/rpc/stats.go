package rpc

import (
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// connStats are the counters of one connection. Its mutex guards them.
type connStats struct {
	sent       uint64
	received   uint64
	flushes    uint64
	late       uint64
	unexpected uint64
	abandoned  uint64
	waited     uint64
	refused    uint64
	busy       uint64
	sentBytes  uint64
	readBytes  uint64
}

func (s *connStats) add(other connStats) {
	s.sent += other.sent
	s.received += other.received
	s.flushes += other.flushes
	s.late += other.late
	s.unexpected += other.unexpected
	s.abandoned += other.abandoned
	s.waited += other.waited
	s.refused += other.refused
	s.busy += other.busy
	s.sentBytes += other.sentBytes
	s.readBytes += other.readBytes
}

// NodeStats describes one node at one moment. Counters run since the client began to know the node; one
// that is of no use for some minutes is forgotten.
type NodeStats struct {
	// Address is "host:port".
	Address string
	// Connections is the number of live connections.
	Connections int
	// InFlight is the number of requests that wait for an answer now.
	InFlight int
	// OldestInFlight is how long the oldest of these has waited, to within Options.SweepInterval; 0 if there
	// is none.
	OldestInFlight time.Duration
	// Waiting is the number of callers that wait for admission now.
	Waiting int
	// Silent is how long the node has sent nothing although something is expected of it, to within twice
	// Options.SweepInterval; 0 if nothing is.
	Silent time.Duration
	// Epoch grows with every connection lost; see Node.Epoch.
	Epoch uint32
	// Sent counts requests appended to a connection.
	Sent uint64
	// Received counts answers, late ones included.
	Received uint64
	// SentBytes counts the bytes of requests appended to a connection, and ReceivedBytes those of answers.
	SentBytes, ReceivedBytes uint64
	// Flushes counts write calls to the system; Sent divided by it is how well requests coalesce.
	Flushes uint64
	// Late counts answers that came after their call was given up, or lost with its connection.
	Late uint64
	// Unexpected counts answers that no call was ever waiting for.
	Unexpected uint64
	// Abandoned counts calls given up without an answer, cancelled or out of time.
	Abandoned uint64
	// Waited counts calls that had to wait for admission.
	Waited uint64
	// Refused counts answers that were an error of the server in place of a result, such as ERR_BUSY or
	// ERR_INVALID_STATE.
	Refused uint64
	// Busy is the number of those that were ERR_BUSY.
	Busy uint64
	// CircuitOpen says that writes are kept from the node because they all failed; see ErrCircuitOpen.
	CircuitOpen bool
	// CircuitOpenSince is since when; zero while it is closed.
	CircuitOpenSince time.Time
	// CircuitOpened counts how often the circuit opened, probes that failed not counted.
	CircuitOpened uint64
	// CircuitKept counts writes that were not sent for it.
	CircuitKept uint64
	// Dials counts attempts to connect.
	Dials uint64
	// LatencyP50, LatencyP95 and LatencyP99 are the times that such shares of the latest reads took at
	// most, from when they were handed to a connection, see Node.Latency; 0 while too little is known.
	LatencyP50, LatencyP95, LatencyP99 time.Duration
	// LastError is why the last connection was lost or could not be made; nil if neither happened.
	LastError error
	// LastErrorAt is when that was.
	LastErrorAt time.Time
}

// describe adds to a node's statistics what waits on the connection now, and returns its counters.
func (c *Conn) describe(stats *NodeStats) connStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := func(tick uint32) time.Duration { return time.Duration(c.sweep.tick-tick) * c.options.SweepInterval }
	stats.InFlight += c.pending.inFlight
	stats.Waiting += c.admission.waiting
	for i := range c.pending.slots {
		if call := c.pending.slots[i].call; call != nil {
			stats.OldestInFlight = max(stats.OldestInFlight, since(call.tick))
		}
	}
	if c.cause == nil && c.expecting() {
		stats.Silent = max(stats.Silent, since(c.sweep.progress))
	}
	counters := c.stats
	counters.sentBytes = c.queued
	return counters
}

// refused counts an answer that was a refusal.
func (c *Conn) refused(name wire.ErrorName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.refused++
	if name == wire.ErrBusy {
		c.stats.busy++
	}
}
