package rpc

import (
	"fmt"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

const (
	// readBufferSize is what a connection keeps for reading, in bytes.
	readBufferSize = 64 << 10
	// arrivalBatch is the number of answers that are matched to their calls under one lock.
	arrivalBatch = 64
)

// arrival is one answer on its way to its caller.
type arrival struct {
	response wire.Response
	call     *call
}

// reader is what only the reading goroutine touches.
type reader struct {
	conn     *Conn
	buffer   []byte // bytes received and not yet consumed are buffer[start:end]
	start    int
	end      int
	arrivals [arrivalBatch]arrival
	decoder  wire.Reader
}

// readLoop receives answers until the connection dies.
func (c *Conn) readLoop() {
	r := &reader{conn: c, buffer: make([]byte, readBufferSize)}
	for {
		if err := r.deliver(); err != nil {
			c.die(protocolViolation(err))
			return
		}
		r.makeRoom()
		n, err := c.stream.Read(r.buffer[r.end:])
		r.end += n
		if err != nil {
			if deliverErr := r.deliver(); deliverErr != nil {
				err = protocolViolation(deliverErr)
			}
			c.die(fmt.Errorf("read: %w", err))
			return
		}
	}
}

// deliver hands every whole frame in the buffer to its caller.
func (r *reader) deliver() error {
	for {
		count, err := r.parse()
		r.match(count)
		for i := range r.arrivals[:count] {
			if failure := r.complete(&r.arrivals[i]); err == nil {
				err = failure
			}
			r.arrivals[i] = arrival{}
		}
		if err != nil || count < arrivalBatch {
			return err
		}
	}
}

// parse reads as many whole frames as there are, up to a batch. Frames before a fault count.
func (r *reader) parse() (count int, err error) {
	for count < arrivalBatch && r.end-r.start >= wire.ResponseSizePrefix {
		rest := r.buffer[r.start:r.end]
		size, err := wire.ResponseSize(rest, r.conn.options.MaxResponseBytes)
		if err != nil {
			return count, err
		}
		if size > len(rest) {
			return count, nil
		}
		if err := wire.ParseResponse(rest[:size:size], &r.arrivals[count].response); err != nil {
			return count, err
		}
		r.start += size
		count++
	}
	return count, nil
}

// match takes the calls out of the table for which answers have come. From here on this goroutine is
// their finisher.
func (r *reader) match(count int) {
	if count == 0 {
		return
	}
	c := r.conn
	c.mu.Lock()
	for i := range r.arrivals[:count] {
		a := &r.arrivals[i]
		var late bool
		if a.call, late = c.pending.take(a.response.Sequence); late {
			c.stats.late++
		} else if a.call == nil {
			c.stats.unexpected++
		} else {
			c.heard = max(c.heard, a.call.end)
		}
	}
	c.stats.received += uint64(count)
	c.crowd = count
	c.admitNext()
	c.dieIfRetired()
	c.mu.Unlock()
}

// complete decodes an answer for its caller, if it still waits, and wakes it. The error is a reason
// to give up the connection.
func (r *reader) complete(a *arrival) error {
	if a.call == nil {
		return nil
	}
	if want := a.call.method.ReplyName(); string(a.response.Name) != want {
		err := fmt.Errorf("answer named %.60q to a call that expects %q", a.response.Name, want)
		cause := protocolViolation(err)
		a.call.finish(&CallError{Address: r.conn.address, Stage: StageAwaiting, Outcome: retry.InDoubt, Err: cause})
		return err
	}
	a.call.finish(r.interpret(a))
	return nil
}

func (r *reader) interpret(a *arrival) error {
	if a.response.Error != wire.ErrOK {
		return &ServerError{Name: a.response.Error}
	}
	if len(a.response.Result) == 0 {
		return ErrNoResult
	}
	if err := wire.DecodeResult(&r.decoder, a.response.Result, a.call.result); err != nil {
		return &ResultError{Err: err}
	}
	return nil
}

// makeRoom prepares the buffer for the next read: it moves the rest of an unfinished frame to the
// front, doubles a buffer that such a frame fills, and lets go of a large one when it is empty. So
// memory follows the bytes that came, not the length that a frame announces.
func (r *reader) makeRoom() {
	if r.start == r.end {
		r.start, r.end = 0, 0
		if len(r.buffer) > readBufferSize {
			r.buffer = make([]byte, readBufferSize)
		}
		return
	}
	unfinished := r.buffer[r.start:r.end]
	switch {
	case len(unfinished) > len(r.buffer)/2:
		r.buffer = make([]byte, 2*len(r.buffer))
	case r.start == 0:
		return // a large frame that comes in small pieces must not be copied for each of them
	}
	r.start, r.end = 0, copy(r.buffer, unfinished)
}
