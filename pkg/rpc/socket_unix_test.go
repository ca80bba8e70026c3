//go:build unix

package rpc

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const hasNonBlockingWrite = true

// rawSocket is one end of a pair of sockets, which does not wait.
type rawSocket int

func (s rawSocket) Write(f func(fd uintptr) (done bool)) error {
	if !f(uintptr(s)) {
		panic("it would wait")
	}
	return nil
}

func (s rawSocket) Read(func(fd uintptr) bool) error { panic("not used") }
func (s rawSocket) Control(func(fd uintptr)) error   { panic("not used") }

func newRawSocket(t *testing.T) (s rawSocket, peer int) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.SetNonblock(pair[0], true))
	t.Cleanup(func() { _ = syscall.Close(pair[0]) })
	return rawSocket(pair[0]), pair[1]
}

// Each trial tells what became of its own bytes, whatever became of those of the one before: bytes taken
// for written that are not, or the reverse, would shift all requests that follow.
func TestTrial(t *testing.T) {
	socket, peer := newRawSocket(t)
	trial := &trial{raw: socket}
	trial.once = trial.write
	batch := make([]byte, 8<<20)
	n, err := trial.run(batch)
	require.NoError(t, err)
	require.NotZero(t, n)
	require.Less(t, n, len(batch), "the system took everything")
	n, err = trial.run(batch)
	require.NoError(t, err)
	require.Zero(t, n, "there is no room")
	require.NoError(t, syscall.Close(peer))
	n, err = trial.run(batch)
	require.ErrorIs(t, err, syscall.EPIPE)
	require.Zero(t, n)
	other, peer := newRawSocket(t)
	trial.raw = other
	n, err = trial.run(batch[:100])
	require.NoError(t, err)
	require.Equal(t, 100, n)
	require.NoError(t, syscall.Close(peer))
}
