package memnet_test

import (
	"encoding/binary"
	"io"
	"math/rand"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/memnet"
)

// conformance are the points of net.Conn that golang.org/x/net/nettest checks,
// and a few more. Each of them gets both ends of a fresh connection.
var conformance = map[string]func(t *testing.T, a, b net.Conn){
	"basic IO":                  testBasicIO,
	"ping-pong":                 testPingPong,
	"racy reads":                testRacyReads,
	"racy writes":               testRacyWrites,
	"deadline interrupts read":  testDeadlineInterruptsRead,
	"deadline interrupts write": testDeadlineInterruptsWrite,
	"past deadline":             testPastDeadline,
	"future deadline":           testFutureDeadline,
	"close interrupts":          testCloseInterrupts,
	"peer closes":               testPeerCloses,
	"nothing to transfer":       testNothingToTransfer,
	"concurrent methods":        testConcurrentMethods,
}

// networks are the conditions under which a connection has to conform.
var networks = map[string]func(*memnet.Network){
	"perfect":      func(*memnet.Network) {},
	"byte by byte": func(n *memnet.Network) { n.SetChunk(address, 1) },
	"latency":      func(n *memnet.Network) { n.SetLatency(address, 100*time.Microsecond) },
}

func TestConnConforms(t *testing.T) {
	for conditions, configure := range networks {
		for name, test := range conformance {
			t.Run(conditions+"/"+name, func(t *testing.T) {
				everywhere(t, func(t *testing.T) {
					n := memnet.New()
					configure(n)
					client, server := connect(t, n, address)
					test(t, client, server)
				})
			})
		}
	}
}

func testBasicIO(t *testing.T, a, b net.Conn) {
	want := make([]byte, 2*memnet.BufferSize+1)
	_, _ = rand.New(rand.NewSource(1)).Read(want)
	written := [...]<-chan result{start(a.Write, want), start(b.Write, want)}
	got := make([]byte, len(want))
	for _, c := range [...]net.Conn{a, b} {
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, w := range written {
		require.Equal(t, result{len(want), nil}, <-w)
	}
}

// testPingPong sends a number to and fro, each end adds one.
func testPingPong(t *testing.T, a, b net.Conn) {
	const rounds = 200
	turn := func(c net.Conn) (uint64, error) {
		number := make([]byte, 8)
		if _, err := io.ReadFull(c, number); err != nil {
			return 0, err
		}
		got := binary.BigEndian.Uint64(number)
		_, err := c.Write(binary.BigEndian.AppendUint64(nil, got+1))
		return got, err
	}
	echo := start(func([]byte) (n int, err error) {
		for ; err == nil; n++ {
			_, err = turn(b)
		}
		return n - 1, err
	}, nil)
	_, err := a.Write(make([]byte, 8))
	require.NoError(t, err)
	for i := range uint64(rounds) {
		got, err := turn(a)
		require.NoError(t, err)
		require.Equal(t, 2*i+1, got)
	}
	receive(t, a, string(binary.BigEndian.AppendUint64(nil, 2*rounds+1)))
	require.NoError(t, a.Close())
	require.Equal(t, result{rounds + 1, io.EOF}, <-echo)
}

// race makes many calls at once, each with a deadline that may pass first.
func race(t *testing.T, set func(time.Time) error, call func([]byte) (int, error)) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 8 {
				_ = set(time.Now().Add(time.Millisecond))
				if _, err := call(make([]byte, 1024)); err != nil {
					requireTimeout(t, err)
				}
			}
		})
	}
	wg.Wait()
}

func testRacyReads(t *testing.T, a, b net.Conn) {
	writer := start(func(data []byte) (int, error) {
		for {
			if n, err := b.Write(data); err != nil {
				return n, err
			}
		}
	}, make([]byte, 1024))
	race(t, a.SetReadDeadline, a.Read)
	require.NoError(t, b.Close())
	require.ErrorIs(t, (<-writer).err, net.ErrClosed)
}

func testRacyWrites(t *testing.T, a, b net.Conn) {
	reader := start(func([]byte) (int, error) { n, err := io.Copy(io.Discard, b); return int(n), err }, nil)
	race(t, a.SetWriteDeadline, a.Write)
	require.NoError(t, b.Close())
	require.ErrorIs(t, (<-reader).err, net.ErrClosed)
}

func testDeadlineInterruptsRead(t *testing.T, a, b net.Conn) {
	reader := start(a.Read, make([]byte, 8))
	require.NoError(t, a.SetReadDeadline(longAgo))
	got := <-reader
	requireTimeout(t, got.err)
	require.Zero(t, got.n)
	_, err := a.Write(nil)
	require.NoError(t, err, "the deadline of reads is not one of writes")

	require.NoError(t, a.SetReadDeadline(time.Time{}))
	send(t, b, "works again")
	receive(t, a, "works again")
}

func testDeadlineInterruptsWrite(t *testing.T, a, b net.Conn) {
	writer := start(a.Write, make([]byte, 4*memnet.BufferSize))
	_, err := io.ReadFull(b, make([]byte, memnet.BufferSize))
	require.NoError(t, err)
	require.NoError(t, a.SetWriteDeadline(longAgo))
	got := <-writer
	requireTimeout(t, got.err)
	require.LessOrEqual(t, got.n, 2*memnet.BufferSize, "more than was read and there was room for")

	_, err = io.ReadFull(b, make([]byte, got.n-memnet.BufferSize))
	require.NoError(t, err, "what Write counts arrives")
	require.NoError(t, a.SetWriteDeadline(time.Time{}))
	send(t, a, "works again")
	receive(t, b, "works again")
}

func testPastDeadline(t *testing.T, a, b net.Conn) {
	send(t, b, "too late")
	require.NoError(t, a.SetDeadline(longAgo))
	for range 3 {
		for _, call := range [...]func([]byte) (int, error){a.Read, a.Write} {
			n, err := call(make([]byte, 8))
			requireTimeout(t, err)
			require.Zero(t, n)
		}
	}
	require.NoError(t, a.SetDeadline(time.Time{}))
	receive(t, a, "too late")
}

func testFutureDeadline(t *testing.T, a, _ net.Conn) {
	for range 3 {
		deadline := time.Now().Add(3 * time.Millisecond)
		require.NoError(t, a.SetDeadline(deadline))
		reader, writer := start(a.Read, make([]byte, 1)), start(a.Write, make([]byte, 2*memnet.BufferSize))
		requireTimeout(t, (<-reader).err)
		requireTimeout(t, (<-writer).err)
		require.False(t, time.Now().Before(deadline))
	}
}

func testCloseInterrupts(t *testing.T, a, _ net.Conn) {
	require.NoError(t, a.SetDeadline(time.Now().Add(time.Hour)))
	reader, writer := start(a.Read, make([]byte, 1)), start(a.Write, make([]byte, 2*memnet.BufferSize))
	require.NoError(t, a.Close())
	requireOpError(t, (<-reader).err, net.ErrClosed)
	requireOpError(t, (<-writer).err, net.ErrClosed)

	_, err := a.Read(nil)
	requireOpError(t, err, net.ErrClosed)
	_, err = a.Write(nil)
	requireOpError(t, err, net.ErrClosed)
	for _, set := range [...]func(time.Time) error{a.SetDeadline, a.SetReadDeadline, a.SetWriteDeadline} {
		requireOpError(t, set(time.Time{}), net.ErrClosed)
	}
	requireOpError(t, a.Close(), net.ErrClosed)
}

func testPeerCloses(t *testing.T, a, b net.Conn) {
	writer := start(b.Write, make([]byte, 2*memnet.BufferSize))
	send(t, a, "the rest")
	require.NoError(t, a.Close())
	receive(t, b, "the rest")
	for range 2 {
		_, err := b.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, "not wrapped")
	}
	requireBrokenPipe(t, (<-writer).err)
	_, err := b.Write([]byte("into the void"))
	requireBrokenPipe(t, err)
	require.NoError(t, b.Close())
}

func testNothingToTransfer(t *testing.T, a, b net.Conn) {
	for range 2 {
		for _, call := range [...]func([]byte) (int, error){a.Read, a.Write} {
			n, err := call(nil)
			require.NoError(t, err)
			require.Zero(t, n)
		}
		fill(t, a) // even when the buffer is full
	}
	_ = b
}

func testConcurrentMethods(t *testing.T, a, b net.Conn) {
	echo := start(func([]byte) (int, error) { n, err := io.Copy(b, b); return int(n), err }, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { _, _ = a.Read(make([]byte, 1024)) })
		wg.Go(func() { _, _ = a.Write(make([]byte, 1024)) })
		wg.Go(func() { _ = a.SetDeadline(time.Now().Add(10 * time.Millisecond)) })
		wg.Go(func() { _ = a.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) })
		wg.Go(func() { _ = a.SetWriteDeadline(time.Now().Add(10 * time.Millisecond)) })
		wg.Go(func() { a.LocalAddr(); a.RemoteAddr() })
	}
	wg.Wait()
	require.NoError(t, a.Close())
	<-echo
}
