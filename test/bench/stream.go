package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

const (
	readBufferSize = 64 << 10 // like the client's
	// requestTimeout is what the floor's frames allow the server, like the client's default.
	requestTimeout = 5 * time.Second
	// lostAfter is how long the floor waits for an answer before it takes it for lost.
	lostAfter = 10 * time.Second
)

// stream is one connection to one server, and the requests that go there.
type stream struct {
	address string
	conn    net.Conn
	frames  []byte // all requests, one after the other
	ends    []int  // where each of them ends
	next    int    // index of the request to send next
	weights []int  // of the requests, each different one once
	sizes   []int  // of good replies
	buffer  []byte
	filled  int // bytes of the buffer that hold replies not counted yet
}

// add appends a request.
func (s *stream) add(k *kind, gpid wire.GPID, q *request) {
	header := wire.Header{
		GPID:          gpid,
		TimeoutMillis: wire.TimeoutMillis(requestTimeout),
		PartitionHash: q.hash,
	}
	s.frames = wire.AppendRequestV1(s.frames, &header, k.method, int32(len(s.ends)), q.arguments)
	s.ends = append(s.ends, len(s.frames))
	if !slices.Contains(s.weights, q.weight) {
		s.weights = append(s.weights, q.weight)
	}
}

// connect opens the connection and learns the sizes of good replies from the first requests'.
func (s *stream) connect(k *kind) error {
	ctx, cancel := context.WithTimeout(context.Background(), lostAfter)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.conn = conn
	if err := s.probe(k); err != nil {
		return errors.Join(err, conn.Close())
	}
	s.buffer = make([]byte, max(readBufferSize, 2*slices.Max(s.sizes)))
	return nil
}

// probe makes requests until one of each weight was answered, and reads the whole answers.
func (s *stream) probe(k *kind) error {
	if err := s.conn.SetDeadline(time.Now().Add(lostAfter)); err != nil {
		return err
	}
	for range s.ends {
		if err := s.send(1); err != nil {
			return err
		}
		frame, err := readReply(s.conn)
		if err != nil {
			return err
		}
		if err := checkReply(k, frame); err != nil {
			return err
		}
		if !slices.Contains(s.sizes, len(frame)) {
			s.sizes = append(s.sizes, len(frame))
		}
		if len(s.sizes) == len(s.weights) {
			break
		}
	}
	return nil
}

// send sends the next n requests, in one write unless they start again from the first.
func (s *stream) send(n int) error {
	for n > 0 {
		batch, start := min(n, len(s.ends)-s.next), 0
		if s.next > 0 {
			start = s.ends[s.next-1]
		}
		if _, err := s.conn.Write(s.frames[start:s.ends[s.next+batch-1]]); err != nil {
			return err
		}
		s.next = (s.next + batch) % len(s.ends)
		n -= batch
	}
	return nil
}

// receive reads what has come and returns the number of replies that are complete with it.
func (s *stream) receive() (replies int, err error) {
	n, err := s.conn.Read(s.buffer[s.filled:])
	if err != nil {
		return 0, err
	}
	s.filled += n
	replies, counted, err := countReplies(s.buffer[:s.filled], s.sizes)
	s.filled = copy(s.buffer, s.buffer[counted:s.filled])
	return replies, err
}
