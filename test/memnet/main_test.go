package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bridle-kv/bridle/test/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// address is where the tests listen, unless they need a second one.
const (
	address      = "10.0.0.1:34601"
	otherAddress = "[fd00::1]:34601"
)

// longAgo is a deadline that has passed, in real and in virtual time.
var longAgo = time.Unix(1, 0)

// everywhere runs a test in real time and in a bubble.
func everywhere(t *testing.T, test func(t *testing.T)) {
	t.Run("real time", test)
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, test) })
}

// listen opens a listener for the time of the test.
func listen(t testing.TB, n *memnet.Network, address string) net.Listener {
	t.Helper()
	l, err := n.Listen(address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial connects for the time of the test.
func dial(t testing.TB, n *memnet.Network, address string) net.Conn {
	t.Helper()
	c, err := n.DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// accept takes the next connection for the time of the test.
func accept(t testing.TB, l net.Listener) net.Conn {
	t.Helper()
	c, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// connect returns both ends of a connection to a new listener at address.
func connect(t testing.TB, n *memnet.Network, address string) (client, server net.Conn) {
	t.Helper()
	l := listen(t, n, address)
	client = dial(t, n, address)
	return client, accept(t, l)
}

// result is what a Read, Write or other call gave.
type result struct {
	n   int
	err error
}

// start makes a call in a goroutine of its own.
func start(call func([]byte) (int, error), b []byte) <-chan result {
	done := make(chan result, 1)
	go func() {
		n, err := call(b)
		done <- result{n, err}
	}()
	return done
}

// send writes text without waiting for anybody.
func send(t testing.TB, c net.Conn, text string) {
	t.Helper()
	n, err := io.WriteString(c, text)
	require.NoError(t, err)
	require.Equal(t, len(text), n)
}

// receive reads exactly text.
func receive(t testing.TB, c net.Conn, text string) {
	t.Helper()
	b := make([]byte, len(text))
	_, err := io.ReadFull(c, b)
	require.NoError(t, err)
	require.Equal(t, text, string(b))
}

// fill writes until there is no more room, and returns how much there was.
func fill(t testing.TB, c net.Conn) int {
	t.Helper()
	require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Millisecond)))
	n, err := c.Write(make([]byte, 4*memnet.BufferSize))
	requireTimeout(t, err)
	require.NoError(t, c.SetWriteDeadline(time.Time{}))
	return n
}

// requireTimeout checks that err is that of a deadline.
func requireTimeout(t testing.TB, err error) {
	t.Helper()
	requireOpError(t, err, os.ErrDeadlineExceeded)
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
}

// requireOpError checks that err has the form of the net package and wraps cause.
func requireOpError(t testing.TB, err, cause error) *net.OpError {
	t.Helper()
	require.ErrorIs(t, err, cause)
	var described *net.OpError
	require.True(t, errors.As(err, &described), "%T is not described", err)
	require.NotEmpty(t, err.Error())
	return described
}

// requireNothing checks that c has nothing to read for d, and leaves its
// deadline cleared.
func requireNothing(t testing.TB, c net.Conn, d time.Duration) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(d)))
	n, err := c.Read(make([]byte, 1))
	requireTimeout(t, err)
	require.Zero(t, n)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
}

// within returns a context that ends after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// stopwatch returns a function that tells how much virtual time has passed.
func stopwatch() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}
