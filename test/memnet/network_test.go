package memnet_test

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/memnet"
)

// backlog is how many connections a listener keeps, as far as a user can tell.
const backlog = 128

func TestListenTwice(t *testing.T) {
	n := memnet.New()
	l := listen(t, n, address)
	_, err := n.Listen(address)
	require.Equal(t, "listen", requireOpError(t, err, syscall.EADDRINUSE).Op)
	_, err = n.Listen("[::ffff:10.0.0.1]:34601")
	require.ErrorIs(t, err, syscall.EADDRINUSE, "another notation of the same address")
	listen(t, n, "10.0.0.1:34602")
	listen(t, n, "10.0.0.2:34601")
	listen(t, memnet.New(), address)

	require.NoError(t, l.Close())
	listen(t, n, address)
}

func TestListenFindsAPort(t *testing.T) {
	n := memnet.New()
	seen := map[string]bool{}
	for range 100 {
		l := listen(t, n, "10.0.0.1:0")
		require.IsType(t, &net.TCPAddr{}, l.Addr())
		require.False(t, seen[l.Addr().String()])
		seen[l.Addr().String()] = true
		dial(t, n, l.Addr().String())
	}
}

// An address has 16384 ports to give out. They are used again once free, and
// those in use are passed over.
func TestPortsRunOut(t *testing.T) {
	const ports = 16384
	n := memnet.New()
	open := make([]net.Listener, ports)
	for i := range open {
		l, err := n.Listen("10.0.0.1:0")
		require.NoError(t, err)
		open[i] = l
	}
	_, err := n.Listen("10.0.0.1:0")
	requireOpError(t, err, syscall.EADDRNOTAVAIL)
	listen(t, n, "10.0.0.2:0")

	free := open[ports/2].Addr()
	require.NoError(t, open[ports/2].Close())
	require.Equal(t, free, listen(t, n, "10.0.0.1:0").Addr())
}

func TestDialersRunOutOfPorts(t *testing.T) {
	const ports = 16384
	n := memnet.New()
	l := listen(t, n, address)
	var last net.Conn
	for range ports {
		c, err := n.DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		_, err = l.Accept()
		require.NoError(t, err)
		last = c
	}
	_, err := n.DialContext(t.Context(), "tcp", address)
	requireOpError(t, err, syscall.EADDRNOTAVAIL)
	dial(t, n, listen(t, n, otherAddress).Addr().String())
	require.Equal(t, ports, n.Open(address))
	require.NoError(t, last.Close())
	require.Equal(t, ports-1, n.Open(address))
}

func TestBadAddresses(t *testing.T) {
	n := memnet.New()
	for _, bad := range [...]string{"", "10.0.0.1", ":34601", "localhost:34601", "10.0.0.1:port", "10.0.0.1:65536"} {
		var addrError *net.AddrError
		_, err := n.Listen(bad)
		require.ErrorAs(t, err, &addrError)
		_, err = n.DialContext(t.Context(), "tcp", bad)
		require.ErrorAs(t, err, &addrError)
		require.Equal(t, bad, addrError.Addr)

		require.Panics(t, func() { n.Blackhole(bad, true) })
		require.Panics(t, func() { n.Reset(bad) })
		require.Panics(t, func() { n.Dials(bad) })
		require.Panics(t, func() { n.Open(bad) })
	}
}

func TestDialNetworks(t *testing.T) {
	n := memnet.New()
	listen(t, n, address)
	listen(t, n, otherAddress)
	for network, reachable := range map[string][]string{
		"tcp": {address, otherAddress}, "tcp4": {address}, "tcp6": {otherAddress}, "udp": {}, "": {},
	} {
		for _, to := range [...]string{address, otherAddress} {
			c, err := n.DialContext(t.Context(), network, to)
			if len(reachable) > 0 && (to == reachable[0] || to == reachable[len(reachable)-1]) {
				require.NoError(t, err)
				require.NoError(t, c.Close())
				continue
			}
			require.Nil(t, c)
			var described *net.OpError
			require.ErrorAs(t, err, &described)
			require.Equal(t, network, described.Net)
		}
	}
	require.Equal(t, 2, n.Dials(address), "a dial that makes no sense reaches nobody")
}

func TestDialWithoutListenerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, elapsed := memnet.New(), stopwatch()
		c, err := n.DialContext(t.Context(), "tcp", address)
		require.Nil(t, c)
		described := requireOpError(t, err, syscall.ECONNREFUSED)
		require.Equal(t, "dial", described.Op)
		require.Equal(t, address, described.Addr.String())
		require.Zero(t, elapsed())
		require.Equal(t, 1, n.Dials(address))
	})
}

func TestDialObeysItsContext(t *testing.T) {
	n := memnet.New()
	listen(t, n, address)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := n.DialContext(ctx, "tcp", address)
	require.Nil(t, c)
	requireOpError(t, err, context.Canceled)
	require.Zero(t, n.Dials(address))
	require.Zero(t, n.Open(address))
}

// The listener is full; a dial waits. What happens then decides about it.
func TestFullBacklog(t *testing.T) {
	for name, test := range map[string]func(*testing.T, *memnet.Network, net.Listener, <-chan result){
		"accept makes room": func(t *testing.T, _ *memnet.Network, l net.Listener, waiting <-chan result) {
			accept(t, l)
			require.NoError(t, (<-waiting).err)
		},
		"close refuses": func(t *testing.T, _ *memnet.Network, l net.Listener, waiting <-chan result) {
			require.NoError(t, l.Close())
			requireOpError(t, (<-waiting).err, syscall.ECONNREFUSED)
		},
		"refuse": func(t *testing.T, n *memnet.Network, _ net.Listener, waiting <-chan result) {
			n.Refuse(address, true)
			requireOpError(t, (<-waiting).err, syscall.ECONNREFUSED)
		},
		"context ends": func(t *testing.T, n *memnet.Network, _ net.Listener, waiting <-chan result) {
			requireOpError(t, (<-waiting).err, context.DeadlineExceeded)
			require.Equal(t, backlog, n.Open(address))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				l := listen(t, n, address)
				for range backlog {
					dial(t, n, address)
				}
				ctx := within(t, time.Hour)
				waiting := start(func([]byte) (int, error) {
					c, err := n.DialContext(ctx, "tcp", address)
					if err == nil {
						_ = c.Close()
					}
					return 0, err
				}, nil)
				time.Sleep(time.Minute)
				require.Empty(t, waiting)
				require.Equal(t, backlog+1, n.Dials(address))
				test(t, n, l, waiting)
			})
		})
	}
}

func TestConnectionsAreAcceptedInOrder(t *testing.T) {
	n := memnet.New()
	l := listen(t, n, address)
	for range 3 {
		first, second := dial(t, n, address), dial(t, n, address)
		require.Equal(t, first.LocalAddr(), accept(t, l).RemoteAddr())
		require.Equal(t, second.LocalAddr(), accept(t, l).RemoteAddr())
	}
}

func TestListenerClose(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		n := memnet.New()
		l := listen(t, n, address)
		client, server := dial(t, n, address), accept(t, l)
		orphan := dial(t, n, address)
		require.Equal(t, 2, n.Links())
		orphanRead := start(orphan.Read, make([]byte, 1))
		require.NoError(t, l.Close())

		_, err := l.Accept()
		require.Equal(t, "accept", requireOpError(t, err, net.ErrClosed).Op)
		requireOpError(t, l.Close(), net.ErrClosed)
		requireOpError(t, (<-orphanRead).err, syscall.ECONNRESET)
		require.NoError(t, orphan.Close())
		require.Equal(t, 1, n.Links(), "nobody else will close the orphan's other end")
		_, err = n.DialContext(t.Context(), "tcp", address)
		requireOpError(t, err, syscall.ECONNREFUSED)

		restarted := listen(t, n, address)
		require.NoError(t, dial(t, n, address).Close())
		accept(t, restarted)
		send(t, client, "the old connection is as before")
		receive(t, server, "the old connection is as before")
	})
}

func TestListenerCloseInterruptsAccept(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		l := listen(t, memnet.New(), address)
		waiting := start(func([]byte) (int, error) { _, err := l.Accept(); return 0, err }, nil)
		require.NoError(t, l.Close())
		requireOpError(t, (<-waiting).err, net.ErrClosed)
	})
}

// Dials race with the end of the listener. Nobody may be left with a connection
// that no one will ever serve, and the network must forget all of them.
func TestListenerCloseStrandsNobody(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		n := memnet.New()
		for range 50 {
			l := listen(t, n, address)
			serving := start(func([]byte) (served int, err error) {
				for ; ; served++ {
					c, err := l.Accept()
					if err != nil {
						return served, err
					}
					_ = c.Close()
				}
			}, nil)
			var done []<-chan result
			for range 8 {
				done = append(done, start(func(b []byte) (int, error) {
					c, err := n.DialContext(t.Context(), "tcp", address)
					if err != nil {
						return 0, err
					}
					defer c.Close()
					return c.Read(b)
				}, make([]byte, 1)))
			}
			require.NoError(t, l.Close())
			require.ErrorIs(t, (<-serving).err, net.ErrClosed)
			for _, d := range done {
				if err := (<-d).err; !isOneOf(err, io.EOF, syscall.ECONNREFUSED, syscall.ECONNRESET) {
					t.Errorf("unexpected end of a connection: %v", err)
				}
			}
			require.Zero(t, n.Open(address))
			require.Zero(t, n.Links())
		}
		require.Equal(t, 50*8, n.Dials(address))
	})
}

func TestOpenCountsUntilTheDialerCloses(t *testing.T) {
	n := memnet.New()
	require.Zero(t, n.Open(address))
	client, server := connect(t, n, address)
	elsewhere, _ := connect(t, n, otherAddress)
	require.Equal(t, 1, n.Open(address))
	require.NoError(t, server.Close())
	require.Equal(t, 1, n.Open(address), "closed by the server, leaked by the client")
	require.Equal(t, 0, n.Open(client.LocalAddr().String()), "a connection from there, not to there")
	require.NoError(t, client.Close())
	require.Zero(t, n.Open(address))
	require.Equal(t, 1, n.Open(otherAddress))
	require.NoError(t, elsewhere.Close())
}

func TestNetworkForgetsClosedConnections(t *testing.T) {
	n := memnet.New()
	client, server := connect(t, n, address)
	require.NoError(t, client.Close())
	require.Equal(t, 1, n.Links())
	require.NoError(t, server.Close())
	require.Zero(t, n.Links())
}

func TestDialsCountsAccordingToAddress(t *testing.T) {
	n := memnet.New()
	require.Zero(t, n.Dials(address))
	listen(t, n, address)
	for range 3 {
		require.NoError(t, dial(t, n, address).Close())
	}
	n.Refuse(address, true)
	_, err := n.DialContext(t.Context(), "tcp", address)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.Equal(t, 4, n.Dials(address))
	require.Zero(t, n.Dials(otherAddress))
}
