//go:build !unix

package rpc

import "net"

// nonBlocking returns nil: Go offers no write that does not wait on this system.
func nonBlocking(net.Conn) func(batch []byte) (n int, err error) { return nil }

// reading returns the stream's Read.
func reading(stream net.Conn) func(buffer []byte) (n int, err error) { return stream.Read }
