package rpc

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is the socket option TCP_USER_TIMEOUT, which package syscall does not name on every
// architecture.
const tcpUserTimeout = 0x12

// tuneSocket makes the system notice a peer that is gone: keep-alive probes while nothing is under
// way, and TCP_USER_TIMEOUT while sent bytes are not acknowledged, which otherwise takes a quarter
// of an hour. It does nothing for streams that are not TCP; a failure leaves the system's defaults,
// with the sweep's own watch behind them.
func tuneSocket(stream net.Conn, silence time.Duration) {
	tcp, ok := stream.(*net.TCPConn)
	if !ok {
		return
	}
	setKeepAlive(tcp)
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silence.Milliseconds()))
	})
}
