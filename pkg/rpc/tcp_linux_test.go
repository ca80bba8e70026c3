package rpc

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The system is told to give up a peer that acknowledges nothing for as long as it may be silent, and
// to probe an idle one.
func TestTCPSocketIsTuned(t *testing.T) {
	node := tcpNode(t, listenTCP(t, echoFast), Options{SilenceLimit: 3210 * time.Millisecond})
	require.NoError(t, node.Connect(t.Context()))
	stream := node.links[0].conn.Load().stream
	require.IsType(t, &net.TCPConn{}, stream)
	raw, err := stream.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		for _, option := range []struct{ level, name, want int }{
			{syscall.IPPROTO_TCP, tcpUserTimeout, 3210},
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 10},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 5},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 3},
			{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		} {
			got, err := syscall.GetsockoptInt(int(fd), option.level, option.name)
			require.NoError(t, err)
			require.Equal(t, option.want, got, "option %d", option.name)
		}
	}))
}
