package rpc

import (
	"net"
	"time"
)

// setKeepAlive has the system probe a peer from which nothing came for 10 s, every 5 s, and give up
// after three probes. A connection on which it cannot be set still has the sweep's watch.
func setKeepAlive(tcp *net.TCPConn) {
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
	})
}
