package memnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// link is a connection with both of its ends. The network knows it until both
// of them are closed.
type link struct {
	client, server *conn
}

// newLink returns an open connection from client to server.
func newLink(n *Network, client, server netip.AddrPort, path conditions) *link {
	up, down := newStream(path), newStream(path)
	l := &link{}
	l.client = &conn{network: n, link: l, local: client, remote: server, in: down, out: up}
	l.server = &conn{network: n, link: l, local: server, remote: client, in: up, out: down}
	return l
}

// touches reports whether address is one of the two ends.
func (l *link) touches(address netip.AddrPort) bool {
	return l.client.local == address || l.server.local == address
}

// streams returns both directions of l.
func (l *link) streams() [2]*stream { return [2]*stream{l.client.in, l.client.out} }

// reset breaks the connection for both ends.
func (l *link) reset() {
	for _, s := range l.streams() {
		s.fail()
	}
}

// configure changes the conditions of the connection.
func (l *link) configure(path conditions) {
	for _, s := range l.streams() {
		s.configure(path)
	}
}

// conn is one end of a link, a net.Conn.
type conn struct {
	network       *Network
	link          *link
	local, remote netip.AddrPort
	in, out       *stream

	closed bool // guarded by network.mu
}

// Read implements [net.Conn].
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	if errors.Is(err, io.EOF) {
		// There is no half-closed connection. The news that the peer does not
		// read any more may be a moment behind in the other direction.
		c.out.refuse()
	}
	return n, c.describe("read", err)
}

// Write implements [net.Conn]. Concurrent writes are not mixed.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	return n, c.describe("write", err)
}

// Close implements [net.Conn]. As with the connections of the net package, only
// the first call succeeds.
func (c *conn) Close() error {
	if !c.network.release(c) {
		return c.describe("close", net.ErrClosed)
	}
	c.in.close(&c.in.reader, stop)
	c.out.close(&c.out.writer, fin)
	return nil
}

// LocalAddr implements [net.Conn].
func (c *conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.local) }

// RemoteAddr implements [net.Conn].
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// SetDeadline implements [net.Conn].
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *conn) SetReadDeadline(t time.Time) error {
	return c.afterSet(c.in.setDeadline(&c.in.reader, t))
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.afterSet(c.out.setDeadline(&c.out.writer, t))
}

func (c *conn) afterSet(open bool) error {
	if !open {
		return c.describe("set", net.ErrClosed)
	}
	return nil
}

// describe adds the operation and the addresses to err, in the form that the
// net package gives them. io.EOF stays as it is: readers compare with it.
func (c *conn) describe(operation string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		err = os.NewSyscallError(operation, number)
	}
	return &net.OpError{Op: operation, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
