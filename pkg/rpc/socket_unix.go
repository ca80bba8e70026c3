//go:build unix

package rpc

import (
	"errors"
	"net"
	"syscall"
)

// trial is one write that does not wait. It is kept for the next one, so that none allocates.
type trial struct {
	raw   syscall.RawConn
	once  func(fd uintptr) bool // trial.write
	batch []byte
	n     int
	err   error
}

// nonBlocking returns a function that writes as many bytes as the system takes without waiting, one
// call at a time. It returns nil if the stream is not the system's own.
func nonBlocking(stream net.Conn) func(batch []byte) (n int, err error) {
	tcp, ok := stream.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	t := &trial{raw: raw}
	t.once = t.write
	return t.run
}

func (t *trial) run(batch []byte) (n int, err error) {
	t.batch = batch
	err = t.raw.Write(t.once)
	if err == nil {
		err = t.err
	}
	n = t.n
	t.batch, t.n, t.err = nil, 0, nil
	return n, err
}

// write is called with the file descriptor. Returning true tells the runtime not to wait.
func (t *trial) write(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), t.batch)
		switch {
		case err == nil:
			t.n = n
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			t.err = err
		}
		return true
	}
}
