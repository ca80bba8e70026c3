package memnet

import "time"

// conditions are what packets from and to an address, or between two addresses,
// are subject to. The zero value is a perfect network.
type conditions struct {
	delay time.Duration // from being sent to arriving, not negative
	hole  bool          // nothing arrives
	chunk int           // most bytes per Read; 0 or less: no limit
}

// join returns the conditions between an address with c and one with d.
func (c conditions) join(d conditions) conditions {
	joined := conditions{delay: c.delay + d.delay, hole: c.hole || d.hole, chunk: c.chunk}
	if joined.chunk <= 0 || (d.chunk > 0 && d.chunk < joined.chunk) {
		joined.chunk = d.chunk
	}
	return joined
}

// limit returns the part of b that one Read may fill.
func (c conditions) limit(b []byte) []byte {
	if c.chunk > 0 && c.chunk < len(b) {
		return b[:c.chunk]
	}
	return b
}
