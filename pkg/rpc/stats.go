package rpc

import "time"

// connStats are the counters of one connection. Its mutex guards them.
type connStats struct {
	sent       uint64
	received   uint64
	flushes    uint64
	late       uint64
	unexpected uint64
	abandoned  uint64
	waited     uint64
}

func (s *connStats) add(other connStats) {
	s.sent += other.sent
	s.received += other.received
	s.flushes += other.flushes
	s.late += other.late
	s.unexpected += other.unexpected
	s.abandoned += other.abandoned
	s.waited += other.waited
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
	// Waiting is the number of callers that wait for admission now.
	Waiting int
	// Epoch grows with every connection lost; see Node.Epoch.
	Epoch uint32
	// Sent counts requests appended to a connection.
	Sent uint64
	// Received counts answers, late ones included.
	Received uint64
	// Flushes counts write calls to the system; Sent divided by it is how well requests coalesce.
	Flushes uint64
	// Late counts answers that came after their call was given up.
	Late uint64
	// Unexpected counts answers that no call was ever waiting for.
	Unexpected uint64
	// Abandoned counts calls given up without an answer, cancelled or out of time.
	Abandoned uint64
	// Waited counts calls that had to wait for admission.
	Waited uint64
	// CircuitOpen says that writes are kept from the node because they all failed; see ErrCircuitOpen.
	CircuitOpen bool
	// Dials counts attempts to connect.
	Dials uint64
	// LatencyP50, LatencyP95 and LatencyP99 are the times that such shares of the latest reads took at
	// most, see Node.Latency; 0 while too little is known.
	LatencyP50, LatencyP95, LatencyP99 time.Duration
	// LastError is why the last connection was lost or could not be made; nil if neither happened.
	LastError error
	// LastErrorAt is when that was.
	LastErrorAt time.Time
}

// snapshot returns the connection's counters and what is in flight on it.
func (c *Conn) snapshot() (stats connStats, inFlight, waiting int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats, c.pending.inFlight, c.admission.waiting
}
