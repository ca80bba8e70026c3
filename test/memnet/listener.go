package memnet

import (
	"net"
	"net/netip"
)

// backlogSize is how many connections wait for a listener to accept them. The
// dials beyond that wait as well.
const backlogSize = 128

// listener is a net.Listener. Its state is guarded by network.mu.
type listener struct {
	network *Network
	address netip.AddrPort
	backlog []*conn // oldest first
	closed  bool
}

// Accept implements [net.Listener]: it waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	n := l.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(l.backlog) == 0 && !l.closed {
		n.wait()
	}
	if l.closed {
		return nil, l.describe("accept", net.ErrClosed)
	}
	c := l.backlog[0]
	l.backlog = l.backlog[1:]
	n.changed.Broadcast()
	return c, nil
}

// Close implements [net.Listener]. It resets the connections that were not
// accepted and leaves the others alone. The address is free when it returns.
// As with the listeners of the net package, only the first call succeeds.
func (l *listener) Close() error {
	orphans, first := l.shut()
	for _, c := range orphans {
		c.in.fail()
		c.out.fail()
		_ = c.Close() // fails only if it was closed before, and nobody had it
	}
	if !first {
		return l.describe("close", net.ErrClosed)
	}
	return nil
}

// shut closes l in the eyes of the network. It returns the connections nobody
// will accept, and whether this is the first call.
func (l *listener) shut() (orphans []*conn, first bool) {
	n := l.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.closed {
		return nil, false
	}
	l.closed = true
	n.host(l.address).listener = nil
	orphans, l.backlog = l.backlog, nil
	n.changed.Broadcast()
	return orphans, true
}

// Addr implements [net.Listener].
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.address) }

func (l *listener) describe(operation string, err error) error {
	return &net.OpError{Op: operation, Net: "tcp", Addr: l.Addr(), Err: err}
}
