package memnet

import (
	"context"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Those who dial come from these addresses, which RFC 5737 and RFC 3849 keep
// for documentation, so that no test needs them for a server.
var (
	clientIPv4 = netip.MustParseAddr("192.0.2.1")
	clientIPv6 = netip.MustParseAddr("2001:db8::1")
)

// DialContext connects to address. It has the form that options for a dialer
// usually want. network is "tcp", "tcp4" or "tcp6".
//
// Without a listener, the error wraps [syscall.ECONNREFUSED], as soon as the
// latency permits. If the listener has more connections to accept than it can
// keep, DialContext waits. It ends when ctx does, with an error that wraps
// ctx.Err(), and then leaves no open connection behind. All errors are
// *[net.OpError].
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	remote, err := parseFor(network, address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	c, err := n.connect(ctx, remote)
	if err == nil {
		return c, nil
	}
	if c != nil {
		_ = c.Close() // fails only if it was closed before, and nobody had it
	}
	return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(remote), Err: err}
}

// parseFor reads the address of a dial in network.
func parseFor(network, address string) (netip.AddrPort, error) {
	remote, err := parse(address)
	switch {
	case network != "tcp" && network != "tcp4" && network != "tcp6":
		return remote, net.UnknownNetworkError(network)
	case err != nil:
		return remote, err
	case network == "tcp4" && !remote.Addr().Is4(), network == "tcp6" && !remote.Addr().Is6():
		return remote, &net.AddrError{Err: "no address of network " + network, Addr: address}
	}
	return remote, nil
}

// connect does what a dial does on the network. If it returns a connection and
// an error, the caller gave up while the answer was on its way, and the
// connection is to be closed.
func (n *Network) connect(ctx context.Context, remote netip.AddrPort) (*conn, error) {
	// Whatever the dial waits for, the end of ctx wakes it to look at ctx.
	defer context.AfterFunc(ctx, n.notify)()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.travel(ctx, remote); err != nil {
		return nil, err
	}
	c, refusal := n.admit(ctx, remote)
	if err := n.travel(ctx, remote); err != nil {
		return c, err
	}
	return c, refusal
}

// travel waits as long as a packet takes from or to remote. Behind a black hole
// it is sent again when the hole is gone. The caller holds n.mu.
func (n *Network) travel(ctx context.Context, remote netip.AddrPort) error {
	arrives := time.Now().Add(n.path(remote).delay)
	for {
		path := n.path(remote)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case path.hole:
			n.wait()
			arrives = time.Now().Add(n.path(remote).delay)
		case reached(arrives):
			return nil
		default:
			n.wait(arrives)
		}
	}
}

// admit decides, at the other side, about a dial that has reached it. The
// caller holds n.mu.
func (n *Network) admit(ctx context.Context, remote netip.AddrPort) (*conn, error) {
	h := n.host(remote)
	h.dials++
	for {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case h.listener == nil || h.refuse:
			return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
		case len(h.listener.backlog) < backlogSize:
			return n.establish(h.listener)
		}
		n.wait()
	}
}

// establish makes a connection and puts it in the backlog of l. The caller
// holds n.mu.
func (n *Network) establish(l *listener) (*conn, error) {
	ip := clientIPv6
	if l.address.Addr().Is4() {
		ip = clientIPv4
	}
	local, err := n.freePort(ip)
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	made := newLink(n, local, l.address, n.path(local, l.address))
	n.links[local] = made
	l.backlog = append(l.backlog, made.server)
	n.changed.Broadcast()
	return made.client, nil
}
