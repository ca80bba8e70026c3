//go:build unix

package rpc

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// shortCall is the number of bytes up to which a system call that does not wait takes some tens of
// microseconds at most. The runtime is told of longer ones, so that it can have other goroutines run
// meanwhile; telling it of short ones costs more than they take, since it then watches all of them.
const shortCall = 64 << 10

// transfer is one read or write on the system's own socket. It is kept for the next one, so that none
// allocates. One goroutine at a time may use it.
type transfer struct {
	raw   syscall.RawConn
	try   func(fd uintptr) bool // transfer.receive or transfer.send
	bytes []byte
	n     int
	err   error
}

// socketOf returns the stream's own socket, or nil if the stream is something else.
func socketOf(stream net.Conn) syscall.RawConn {
	tcp, ok := stream.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// nonBlocking returns a function that writes as many bytes as the system takes without waiting, one
// call at a time. It returns nil if the stream is not the system's own.
func nonBlocking(stream net.Conn) func(batch []byte) (n int, err error) {
	raw := socketOf(stream)
	if raw == nil {
		return nil
	}
	t := &transfer{raw: raw}
	t.try = t.send
	return func(batch []byte) (n int, err error) { return t.run(raw.Write, batch) }
}

// reading returns a function that does what the stream's Read does, one call at a time, at the least cost
// there is for this stream.
func reading(stream net.Conn) func(buffer []byte) (n int, err error) {
	raw := socketOf(stream)
	if raw == nil {
		return stream.Read
	}
	t := &transfer{raw: raw}
	t.try = t.receive
	return func(buffer []byte) (n int, err error) {
		if len(buffer) > shortCall {
			return stream.Read(buffer)
		}
		return t.run(raw.Read, buffer)
	}
}

// run calls try with the file descriptor: once, or until it returns true if the operation can wait.
func (t *transfer) run(operation func(try func(fd uintptr) bool) error, bytes []byte) (n int, err error) {
	t.bytes = bytes
	err = operation(t.try)
	if err == nil {
		err = t.err
	}
	n = t.n
	t.bytes, t.n, t.err = nil, 0, nil
	return n, err
}

// receive returns false if nothing has come yet, which tells the runtime to wait and call it again.
func (t *transfer) receive(fd uintptr) bool {
	for {
		n, err := receiveNow(fd, t.bytes)
		switch {
		case err == nil && n == 0:
			t.err = io.EOF
		case err == nil:
			t.n = n
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return false
		default:
			t.err = os.NewSyscallError("receive", err)
		}
		return true
	}
}

// send always returns true, which tells the runtime not to wait.
func (t *transfer) send(fd uintptr) bool {
	for {
		n, err := sendNow(fd, t.bytes)
		switch {
		case err == nil:
			t.n = n
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			t.err = os.NewSyscallError("send", err)
		}
		return true
	}
}
