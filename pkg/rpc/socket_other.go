//go:build !linux

package rpc

import (
	"net"
	"time"
)

// tuneSocket makes the system probe an idle peer. TCP_USER_TIMEOUT exists on Linux only; elsewhere
// the sweep's own watch notices a peer that is gone.
func tuneSocket(stream net.Conn, _ time.Duration) {
	if tcp, ok := stream.(*net.TCPConn); ok {
		setKeepAlive(tcp)
	}
}
