package memnet

import "time"

// SetLatency sets how long bytes take from and to address, one way, from now
// on; if both ends of a connection have a latency, it is the sum. A dial takes
// a round trip. Zero, the default, or less: no time at all.
func (n *Network) SetLatency(address string, d time.Duration) {
	n.change(address, func(h *host) { h.delay = max(d, 0) })
}

// SetChunk limits what one Read returns to size bytes, at both ends of all
// connections of address, to test that a reader puts together what came in
// pieces. Zero, the default, or less: no limit.
func (n *Network) SetChunk(address string, size int) {
	n.change(address, func(h *host) { h.chunk = size })
}

// Blackhole makes all packets from and to address vanish, or ends that. While
// it is on, nobody is told: connections stay open, nothing is received beyond
// what had arrived before, writes succeed until the buffer is full, not even a
// Close reaches the other side, and dials wait until their context is done.
//
// When it is switched off, all that had not arrived is sent again, in order and
// without loss, as TCP does; this includes dials that are still waiting.
func (n *Network) Blackhole(address string, on bool) {
	n.change(address, func(h *host) { h.hole = on })
}

// Refuse makes dials to address fail as if there was no listener, or ends that.
// Connections that are open, or wait to be accepted, are not affected.
func (n *Network) Refuse(address string, on bool) {
	n.change(address, func(h *host) { h.refuse = on })
}

// change changes what is known about address, and makes it known to those who
// wait and to the connections.
func (n *Network) change(address string, change func(*host)) {
	at := mustParse(address)
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n.host(at))
	n.changed.Broadcast()
	for _, l := range n.links {
		if l.touches(at) {
			l.configure(n.path(l.client.local, l.server.local))
		}
	}
}

// Reset breaks all connections of address, whatever the latency and even in a
// black hole: reads and writes fail at once at both ends, those that wait as
// well, with an error that wraps [syscall.ECONNRESET]. What was not read is
// lost. The ends still have to be closed. Listeners and dials are not affected.
func (n *Network) Reset(address string) {
	at := mustParse(address)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.links {
		if l.touches(at) {
			l.reset()
		}
	}
}
