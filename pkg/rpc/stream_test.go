package rpc

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errBroken = errors.New("the cable is cut")

// stubStream is a stream whose other end is the test: it takes a number of bytes and then fails, lets
// writes wait, delivers what it is told to, and takes its time to close.
type stubStream struct {
	net.Conn               // nil: only what is below may be called
	gate     chan struct{} // a write waits until it is closed; nil: it does not wait
	closing  chan struct{} // Close waits until it is closed; nil: it does not wait
	reads    chan []byte   // what Read returns; when it is closed, Read fails
	last     []byte        // what Read returns together with that failure
	closed   chan struct{}
	once     sync.Once

	mu     sync.Mutex
	room   int // bytes that can still be written
	writes int // under way
}

func newStubStream(room int) *stubStream {
	return &stubStream{room: room, reads: make(chan []byte), closed: make(chan struct{})}
}

// dialled returns a dialler that gives out this stream, once.
func (s *stubStream) dialled() DialFunc {
	var once sync.Once
	return func(context.Context, string, string) (stream net.Conn, err error) {
		err = errBroken
		once.Do(func() { stream, err = s, nil })
		return stream, err
	}
}

// writing returns the number of writes that are under way.
func (s *stubStream) writing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *stubStream) count(writes int) {
	s.mu.Lock()
	s.writes += writes
	s.mu.Unlock()
}

func (s *stubStream) Write(b []byte) (int, error) {
	s.count(1)
	defer s.count(-1)
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-s.closed:
			return 0, net.ErrClosed
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(b), s.room)
	s.room -= n
	if n < len(b) {
		return n, errBroken
	}
	return n, nil
}

func (s *stubStream) Read(b []byte) (int, error) {
	select {
	case chunk, ok := <-s.reads:
		if !ok {
			return copy(b, s.last), errBroken
		}
		return copy(b, chunk), nil
	case <-s.closed:
		return 0, net.ErrClosed
	}
}

func (s *stubStream) Close() error {
	s.once.Do(func() { close(s.closed) })
	if s.closing != nil {
		<-s.closing
	}
	return errBroken
}

// deliver has Read return data, a chunk at a time, and fail after that. It stops when the stream is
// closed.
func (s *stubStream) deliver(data []byte, chunk int) {
	defer close(s.reads)
	for len(data) > 0 {
		n := min(len(data), chunk)
		select {
		case s.reads <- data[:n]:
			data = data[n:]
		case <-s.closed:
			return
		}
	}
}
