package memnet

import (
	"net"
	"net/netip"
	"os"
	"syscall"
)

// Network is a network in memory. Its methods can be called by any number of
// goroutines at any time. It needs no closing: it holds nothing but memory.
//
// The methods that configure or observe an address panic if it is not an IP
// address and a port. They have no error to return, and a fault that is not
// injected would make a test pass that proves nothing.
//
// Lock order: the monitor of the Network, then that of a stream.
type Network struct {
	monitor
	hosts map[netip.AddrPort]*host
	links map[netip.AddrPort]*link // by the address of the client
	port  uint16                   // the last one that freePort returned
}

// host is what the network knows about an address.
type host struct {
	conditions
	refuse   bool      // dials are refused although there is a listener
	listener *listener // nil if there is none
	dials    int       // see Network.Dials
}

// New returns a perfect network without listeners. To use it in a bubble of
// [testing/synctest], call New in that bubble.
func New() *Network {
	n := &Network{hosts: map[netip.AddrPort]*host{}, links: map[netip.AddrPort]*link{}}
	n.init()
	return n
}

// Listen opens a listener at address, an IP address and a port. Port 0 stands
// for a free one. If there is a listener already, the error wraps
// [syscall.EADDRINUSE]; the address can be used again as soon as the Close of
// that listener has returned, whether or not its connections are still open.
func (n *Network) Listen(address string) (net.Listener, error) {
	at, err := parse(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Err: err}
	}
	l, err := n.listen(at)
	if err != nil {
		addr := net.TCPAddrFromAddrPort(at)
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: addr, Err: os.NewSyscallError("bind", err)}
	}
	return l, nil
}

func (n *Network) listen(at netip.AddrPort) (*listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at.Port() == 0 {
		free, err := n.freePort(at.Addr())
		if err != nil {
			return nil, err
		}
		at = free
	}
	h := n.host(at)
	if h.listener != nil {
		return nil, syscall.EADDRINUSE
	}
	h.listener = &listener{network: n, address: at}
	return h.listener, nil
}

// Dials returns how many dials have reached address, be they accepted, refused
// or still waiting for room in the backlog of the listener. A dial does not
// reach an address behind a black hole.
func (n *Network) Dials(address string) int {
	at := mustParse(address)
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[at]; h != nil {
		return h.dials
	}
	return 0
}

// Open returns how many connections to address are open on the side that
// dialed. A connection counts until the dialer closes it, even if it is broken
// or the other side has closed it; so a connection that is forgotten shows.
func (n *Network) Open(address string) int {
	at := mustParse(address)
	n.mu.Lock()
	defer n.mu.Unlock()
	open := 0
	for _, l := range n.links {
		if l.server.local == at && !l.client.closed {
			open++
		}
	}
	return open
}

// host returns what is known about address. The caller holds n.mu.
func (n *Network) host(address netip.AddrPort) *host {
	h := n.hosts[address]
	if h == nil {
		h = &host{}
		n.hosts[address] = h
	}
	return h
}

// path returns the conditions between addresses. The caller holds n.mu. It
// leaves no trace of addresses that were not configured, because each dial has
// a new one.
func (n *Network) path(addresses ...netip.AddrPort) conditions {
	var path conditions
	for _, address := range addresses {
		if h := n.hosts[address]; h != nil {
			path = path.join(h.conditions)
		}
	}
	return path
}

// release marks c as closed, and forgets its link when both ends are. It
// reports false if c was closed already: of several calls one gets true.
func (n *Network) release(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.closed {
		return false
	}
	c.closed = true
	if l := c.link; l.client.closed && l.server.closed {
		delete(n.links, l.client.local)
	}
	return true
}

// firstPort is the first of the ports that freePort gives out, as in RFC 6335.
const firstPort = 49152

// freePort returns ip with a port that is not in use. The caller holds n.mu.
func (n *Network) freePort(ip netip.Addr) (netip.AddrPort, error) {
	for range 1<<16 - firstPort {
		n.port = max(n.port+1, firstPort) // after the last one comes 0
		at := netip.AddrPortFrom(ip, n.port)
		h := n.hosts[at]
		if n.links[at] == nil && (h == nil || h.listener == nil) {
			return at, nil
		}
	}
	return netip.AddrPort{}, syscall.EADDRNOTAVAIL
}

// parse reads an address. An IPv4 address in IPv6 notation is the IPv4 address.
func parse(address string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return at, &net.AddrError{Err: "not an IP address and a port", Addr: address}
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// mustParse reads an address in a call that has no error to return, and panics
// if it cannot. See [Network].
func mustParse(address string) netip.AddrPort {
	at, err := parse(address)
	if err != nil {
		panic("memnet: " + err.Error())
	}
	return at
}
