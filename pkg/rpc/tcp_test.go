package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// listenTCP starts a server on a real port and returns its address. It serves each connection with
// handle, which returns when the connection ends.
func listenTCP(t testing.TB, handle func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait() // the pool has closed the connections
	})
	return l.Addr().String()
}

// tcpNode returns a node on the real network, closed before the server ends.
func tcpNode(t testing.TB, address string, options Options) *Node {
	pool, err := NewPool(options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, pool.Close(ctx))
	})
	return pool.Node(address)
}

// echoFast answers every Get with the same value. It allocates nothing while it runs.
func echoFast(conn net.Conn) {
	in, out := make([]byte, 256<<10), make([]byte, 0, 256<<10)
	result := wire.Arguments(&wire.GetResponse{Value: make([]byte, 100)})
	start, end := 0, 0
	for {
		n, err := conn.Read(in[end:])
		if err != nil {
			return
		}
		for end += n; ; {
			sequence, size := sequenceOf(in[start:end])
			if size == 0 {
				break
			}
			out = wire.AppendResponse(out, wire.ErrOK, wire.Get, sequence, result)
			start += size
		}
		if start, end = 0, copy(in, in[start:end]); len(out) > 0 {
			if _, err := conn.Write(out); err != nil {
				return
			}
			out = out[:0]
		}
	}
}

// sequenceOf reads as much of a request frame as it takes to answer it, since wire.ParseRequest
// allocates. The size is 0 if the frame is not complete.
func sequenceOf(data []byte) (sequence int32, size int) {
	if len(data) < 16 {
		return 0, 0
	}
	body := 16 + int(binary.BigEndian.Uint32(data[8:]))
	if size = body + int(binary.BigEndian.Uint32(data[12:])); size > len(data) {
		return 0, 0
	}
	name := int(binary.BigEndian.Uint32(data[body+4:]))
	return int32(binary.BigEndian.Uint32(data[body+8+name:])), size
}

func TestTCP(t *testing.T) {
	address := listenTCP(t, func(conn net.Conn) { echo(&peer{t: t, conn: conn}) })
	node := tcpNode(t, address, Options{})
	var running sync.WaitGroup
	for i := range 64 {
		running.Go(func() {
			for n := range 50 {
				g := newGet(fmt.Sprint("caller ", i, " call ", n))
				if err := node.Call(context.Background(), &g.Request); err != nil || !g.right() {
					t.Errorf("%s got %q, %v", g.key, g.value, err)
				}
			}
		})
	}
	running.Wait()
	require.EqualValues(t, 1, node.Stats().Dials)
	require.EqualValues(t, 64*50, node.Stats().Received)
	require.Equal(t, hasNonBlockingWrite, node.links[0].conn.Load().tryWrite != nil)
}

func TestTCPRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	node := tcpNode(t, address, Options{})
	err = node.Call(t.Context(), &newGet("key").Request)
	require.ErrorIs(t, err, ErrConnect)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	var failure *CallError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, retry.NotSent, failure.Outcome)
}

// A reset by the peer fails the calls in flight, and the next call finds the server again.
func TestTCPReset(t *testing.T) {
	address := listenTCP(t, func(conn net.Conn) {
		p := &peer{t: t, conn: conn}
		for a, ok := p.next(); ok; a, ok = p.next() {
			if a.key == "reset" {
				_ = conn.(*net.TCPConn).SetLinger(0)
				return
			}
			p.write(a.answer())
		}
	})
	node := tcpNode(t, address, Options{})
	for range 3 {
		g := newGet("key")
		require.NoError(t, node.Call(t.Context(), &g.Request))
		require.True(t, g.right())
		err := node.Call(t.Context(), &newGet("reset").Request)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		var failure *CallError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, retry.InDoubt, failure.Outcome)
	}
	require.EqualValues(t, 3, node.Stats().Dials)
}

// A peer that stops reading holds back callers, and Close ends all of it.
func TestTCPPeerThatDoesNotRead(t *testing.T) {
	unblock := make(chan struct{})
	address := listenTCP(t, func(net.Conn) { <-unblock })
	t.Cleanup(func() { close(unblock) })
	node := tcpNode(t, address, Options{MaxQueuedBytes: 1 << 20})
	var running sync.WaitGroup
	key := large("key", 1<<20)
	for range 32 {
		running.Go(func() {
			if err := node.Call(context.Background(), &newGet(key).Request); err == nil {
				t.Error("answered by nobody")
			}
		})
	}
	for node.Stats().Waiting == 0 {
		runtime.Gosched() // until the system takes no more
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, node.pool.Close(ctx))
	running.Wait()
}
