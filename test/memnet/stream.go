package memnet

import (
	"bytes"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// BufferSize is how many bytes one direction of a connection holds: those on
// their way and those that arrived and were not read.
const BufferSize = 64 << 10

// stream is one direction of a connection: what one end writes and the other
// one reads. Each stream has its own lock. One for the whole connection, or for
// the network, would order goroutines that nothing orders on a real network,
// and hide their data races from the race detector.
type stream struct {
	monitor
	path   conditions
	reader end
	writer end

	unread   bytes.Buffer // all that was written and not read, in order
	readable int          // how much of unread has arrived
	flight   []packet     // what has not arrived, in order

	ended   bool // the reader has been told that the writer is closed
	refused bool // the writer has been told that the reader is closed
	reset   bool // the connection was reset
	writing bool // a Write is going on; others wait, so that none is torn
}

// end is the state of one end of a stream.
type end struct {
	closed   bool
	deadline time.Time
}

// packet is something on its way from one end of a stream to the other.
type packet struct {
	kind    kind
	size    int       // number of bytes, of data only
	arrives time.Time // or later, behind another one
}

type kind uint8

const (
	data kind = iota // the next bytes of stream.unread
	fin              // to the reader: the writer is closed
	stop             // to the writer: the reader is closed
)

// newStream returns a stream between two open ends.
func newStream(path conditions) *stream {
	s := &stream{path: path}
	s.init()
	return s
}

// read is net.Conn.Read without the description of the error.
func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for {
		switch err := s.failure(&s.reader); {
		case err != nil:
			return 0, err
		case len(b) == 0:
			return 0, nil
		case s.readable > 0:
			return s.take(b), nil
		case s.ended:
			return 0, io.EOF
		}
		s.await(&s.reader)
	}
}

// write is net.Conn.Write without the description of the error. It writes b
// without interruption by other writes.
func (s *stream) write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for s.writing { // whatever makes us fail ends that Write as well
		s.await(&s.writer)
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.changed.Broadcast()
	}()
	for {
		if err := s.failure(&s.writer); err != nil {
			return n, err
		}
		if s.refused {
			return n, syscall.EPIPE
		}
		n += s.put(b[n:])
		if n == len(b) {
			return n, nil
		}
		s.await(&s.writer)
	}
}

// failure returns why e can neither read nor write, or nil.
func (s *stream) failure(e *end) error {
	switch {
	case e.closed:
		return net.ErrClosed
	case s.reset:
		return syscall.ECONNRESET
	case reached(e.deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// await waits until the state of s may be different for e, and brings it up to
// date.
func (s *stream) await(e *end) {
	var arrival time.Time
	if len(s.flight) > 0 && !s.path.hole {
		arrival = s.flight[0].arrives
	}
	s.wait(e.deadline, arrival)
	s.settle()
}

// take moves bytes that have arrived to b.
func (s *stream) take(b []byte) int {
	b = s.path.limit(b[:min(len(b), s.readable)])
	n, _ := s.unread.Read(b)
	s.readable -= n
	s.changed.Broadcast()
	return n
}

// put sends as much of b as there is room for.
func (s *stream) put(b []byte) int {
	b = b[:min(len(b), BufferSize-s.unread.Len())]
	if len(b) > 0 {
		s.unread.Write(b)
		s.send(packet{kind: data, size: len(b)})
	}
	return len(b)
}

// send puts p on its way.
func (s *stream) send(p packet) {
	p.arrives = time.Now().Add(s.path.delay)
	s.flight = append(s.flight, p)
	s.changed.Broadcast()
}

// settle lets the packets arrive whose time has come. None overtakes the one
// before it, even if the latency was lowered in between. There is no timer for
// that: it is enough that whoever looks at the state of the stream settles it
// first.
func (s *stream) settle() {
	if s.path.hole {
		return
	}
	for len(s.flight) > 0 && reached(s.flight[0].arrives) {
		switch p := s.flight[0]; p.kind {
		case data:
			s.readable += p.size
		case fin:
			s.ended = true
		case stop:
			s.refused = true
		}
		s.flight = s.flight[1:]
	}
}

// close closes e and sends the news to the other end. A reader gets them after
// what was written before.
func (s *stream) close(e *end, news kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.closed = true
	s.send(packet{kind: news})
}

// refuse tells the writer that the reader is closed.
func (s *stream) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = true
	s.changed.Broadcast()
}

// fail resets the stream at both ends.
func (s *stream) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset = true
	s.changed.Broadcast()
}

// setDeadline sets the deadline of e, also for the calls that wait already. It
// reports false if e is closed.
func (s *stream) setDeadline(e *end, deadline time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.deadline = deadline
	s.changed.Broadcast()
	return !e.closed
}

// configure changes the conditions. What has not arrived when a black hole
// opens is sent again when it is gone. New latency is for new packets.
func (s *stream) configure(path conditions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if s.path.hole && !path.hole {
		again := time.Now().Add(path.delay)
		for i := range s.flight {
			s.flight[i].arrives = again
		}
	}
	s.path = path
	s.changed.Broadcast()
}
