//go:build linux && !386 && !race && !msan && !asan

package rpc

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Somebody who shares the socket, as with net.TCPConn.File, may have made it one that waits. The runtime,
// which is not told of our system calls, could not do anything then while one waits, not even collect
// garbage.
func TestSocketThatWaits(t *testing.T) {
	socket, peer := newRawSocket(t)
	require.NoError(t, syscall.SetNonblock(int(socket), false))
	_, err := newReceive().run(socket.Read, make([]byte, 10))
	require.ErrorIs(t, err, errWouldWait)
	send, batch := newSend(), make([]byte, shortCall)
	for n := 1; n > 0; {
		n, err = send.run(socket.Write, batch)
		require.NoError(t, err)
	}
	require.NoError(t, syscall.Close(peer))
}
