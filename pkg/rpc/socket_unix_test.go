//go:build unix

package rpc

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const hasNonBlockingWrite = true

// rawSocket is one end of a pair of sockets, which does not wait.
type rawSocket int

func (s rawSocket) Write(try func(fd uintptr) (done bool)) error {
	if !try(uintptr(s)) {
		panic("it would wait")
	}
	return nil
}

var errWouldWait = errors.New("it would wait")

func (s rawSocket) Read(try func(fd uintptr) (done bool)) error {
	if !try(uintptr(s)) {
		return errWouldWait
	}
	return nil
}

func newRawSocket(t *testing.T) (s rawSocket, peer int) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, syscall.SetNonblock(pair[0], true))
	t.Cleanup(func() { _ = syscall.Close(pair[0]) })
	return rawSocket(pair[0]), pair[1]
}

func newSend() *transfer {
	send := &transfer{}
	send.try = send.send
	return send
}

func newReceive() *transfer {
	receive := &transfer{}
	receive.try = receive.receive
	return receive
}

// Each write tells what became of its own bytes, whatever became of those of the one before: bytes taken
// for written that are not, or the reverse, would shift all requests that follow. Short ones and long ones
// go different ways.
func TestSend(t *testing.T) {
	for _, size := range []int{shortCall, 8 << 20} {
		socket, peer := newRawSocket(t)
		send, batch, total := newSend(), make([]byte, size), 0
		for {
			n, err := send.run(socket.Write, batch)
			require.NoError(t, err)
			if total += n; n == 0 {
				break
			}
		}
		require.NotZero(t, total)
		require.Equal(t, total, drain(t, peer, total), "what was counted has been sent")
		n, err := send.run(socket.Write, batch[:100])
		require.NoError(t, err)
		require.Equal(t, 100, n)
		require.NoError(t, syscall.Close(peer))
		n, err = send.run(socket.Write, batch)
		require.ErrorIs(t, err, syscall.EPIPE)
		require.Zero(t, n)
		other, peer := newRawSocket(t)
		n, err = send.run(other.Write, batch[:100])
		require.NoError(t, err)
		require.Equal(t, 100, n)
		require.NoError(t, syscall.Close(peer))
	}
}

// drain reads up to most bytes that are there.
func drain(t *testing.T, socket, most int) (total int) {
	require.NoError(t, syscall.SetNonblock(socket, true))
	buffer := make([]byte, 1<<20)
	for total < most {
		n, err := syscall.Read(socket, buffer)
		require.NoError(t, err, "%d bytes of %d are there", total, most)
		total += n
	}
	return total
}

func TestReceive(t *testing.T) {
	socket, peer := newRawSocket(t)
	receive, buffer := newReceive(), make([]byte, 10)
	n, err := receive.run(socket.Read, buffer)
	require.ErrorIs(t, err, errWouldWait)
	require.Zero(t, n)
	_, err = syscall.Write(peer, []byte("twelve bytes"))
	require.NoError(t, err)
	n, err = receive.run(socket.Read, buffer)
	require.NoError(t, err)
	require.Equal(t, "twelve byt", string(buffer[:n]))
	n, err = receive.run(socket.Read, buffer)
	require.NoError(t, err)
	require.Equal(t, "es", string(buffer[:n]))
	require.NoError(t, syscall.Close(peer))
	n, err = receive.run(socket.Read, buffer)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	n, err = receive.run(rawSocket(peer).Read, buffer)
	require.ErrorIs(t, err, syscall.EBADF)
	require.Zero(t, n)
}
