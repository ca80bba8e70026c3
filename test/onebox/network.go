package onebox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports of real servers, used on a Network that is not TCP.
const (
	metaPort    = 34601
	replicaPort = 34801
)

// Range of ports for TCP. It lies below the ports that operating systems give to outgoing connections,
// so that nothing takes the port of a server while that is dead.
const (
	firstPort = 20000
	lastPort  = 32000
)

// addresses gives servers their addresses.
type addresses struct {
	Network
	virtual bool // not TCP: any address is ours
}

func newAddresses(network Network) addresses {
	if network == nil {
		return addresses{Network: loopback{}}
	}
	return addresses{Network: network, virtual: true}
}

// open finds an address for the server that is the index-th of its kind, and listens on it.
func (a addresses) open(kind nodeKind, index int) (net.Listener, string, error) {
	if a.virtual {
		address := fmt.Sprintf("10.0.%d.%d:%d", kind, index+1, kind.port())
		listener, err := a.Listen(address)
		return listener, address, err
	}
	var err error
	for range 1000 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
		var listener net.Listener
		if listener, err = a.Listen(address); err == nil {
			return listener, address, nil
		}
	}
	return nil, "", fmt.Errorf("no free port: %w", err)
}

// loopback is TCP on this machine.
type loopback struct{}

func (loopback) Listen(address string) (net.Listener, error) { return net.Listen("tcp", address) }

func (loopback) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

// blackholer is a Network that can lose packets by itself, as *memnet.Network can.
type blackholer interface {
	Blackhole(address string, on bool)
}

// DialContext connects to a server by address or, with Config.HostNames, by "name:port". Give it to
// the client under test: unlike a plain dialer it leaves dials to a blackholed server unanswered.
func (c *Cluster) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if node := c.NodeAt(address); node != nil {
		address = node.address
		if !node.blackhole.wait(ctx.Done()) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
		}
	}
	return c.network.DialContext(ctx, network, address)
}

// resetter is a Network on which closing a connection cannot reset it, as *memnet.Network.
type resetter interface {
	Reset(address string)
}

// resetAll breaks the connections of a server as the death of its process does: what was not sent is
// lost, and the peers see a reset.
func (a addresses) resetAll(address string, connections map[*connection]struct{}) {
	if network, ok := a.Network.(resetter); ok {
		network.Reset(address)
	}
	for k := range connections {
		reset(k.conn)
	}
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only if the connection is already gone
	}
	_ = conn.Close()
}
