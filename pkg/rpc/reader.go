package rpc

import (
	"fmt"
	"io"
	"math"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

const (
	// readBufferSize is what a connection keeps for reading, in bytes.
	readBufferSize = 64 << 10
	// keptBufferSize is the size up to which a buffer that has grown is kept for the next answers, until
	// smallReads in a row have not needed it.
	keptBufferSize = 1 << 20
	smallReads     = 64
	// arrivalBatch is the number of answers that are matched to their calls under one lock, and of callers that
	// are woken before they are let run. Half of those that wait to run usually move to another processor, and
	// the last of them must be waited for (see Conn.linger): that should not be half of all.
	arrivalBatch = 32
	// batchesPerWrite is the number of such batches after which the reader writes what callers have asked for
	// meanwhile, so that the server has something to do while the rest is delivered.
	batchesPerWrite = 4
)

// arrival is one answer on its way to its caller.
type arrival struct {
	response wire.Response
	call     *call
}

// reader is what reading works on. It belongs to the holder of the reader's role.
type reader struct {
	conn     *Conn
	buffer   []byte // bytes received and not yet consumed are buffer[start:end]
	start    int
	end      int
	received uint64 // bytes, ever
	arrivals [arrivalBatch]arrival
	decoder  wire.Reader
	small    int  // reads in a row that had no need for the large buffer there is
	writes   bool // it is the writer, too, until it has called writeForCallers
	together int  // answers that came together, as far as they are matched
	lone     int  // answers in a row that each went to the only call in flight
}

// receive reads once and delivers what there is then. The error is the end of the connection, unless
// a caller set a time limit and this is what ended.
func (r *reader) receive() error {
	r.makeRoom()
	n, err := r.conn.read(r.buffer[r.end:])
	r.end += n
	r.received += uint64(n)
	if n > 0 && !r.conn.heard.Load() {
		r.conn.heard.Store(true)
	}
	if failure := r.deliver(); failure != nil {
		return protocolViolation(failure)
	}
	switch {
	case err == io.EOF: //nolint:errorlint // a stream's end is never wrapped
		// Nobody who looks for the regular end of something must take the loss of a connection for it.
		return fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("read: %w", err)
	}
	return nil
}

// deliver hands every whole frame in the buffer to its caller. As long as there are more, and the reader is the
// writer, too, it lets callers run after each batch, and writes for them after several. It holds no call
// meanwhile that it has matched and not finished: such a call's context could not end it.
func (r *reader) deliver() error {
	r.together = 0
	for batch := 1; ; batch++ {
		count, err := r.parse()
		r.together += count
		r.match(count)
		for i := range r.arrivals[:count] {
			if failure := r.complete(&r.arrivals[i]); err == nil {
				err = failure
			}
			r.arrivals[i] = arrival{}
		}
		switch {
		case err != nil || count < arrivalBatch:
			return err
		case !r.writes: // others do
		case batch%batchesPerWrite == 0:
			r.writeForCallers()
		default:
			r.conn.yield.once()
		}
	}
}

// parse reads as many whole frames as there are, up to a batch. Frames before a fault count.
func (r *reader) parse() (count int, err error) {
	for count < arrivalBatch && r.end-r.start >= wire.ResponseSizePrefix {
		rest := r.buffer[r.start:r.end]
		size, err := wire.ResponseSize(rest, r.conn.options.MaxResponseBytes)
		if err != nil {
			r.refuse(rest, err)
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

// plausibleExcess is by what factor an answer may exceed Options.MaxResponseBytes and still be believed.
const plausibleExcess = 8

// refuse fails the call that an answer is for which is too large, if as much of it has come as tells.
// The connection cannot be saved, but the call should not be repeated on the next one, where its answer
// would be as large. A length that is beyond belief is taken for damage, which the next connection may
// not do to it.
func (r *reader) refuse(answer []byte, why error) {
	var head wire.Response
	plausible := min(int64(plausibleExcess)*int64(r.conn.options.MaxResponseBytes), math.MaxInt32-1)
	if _, beyond := wire.ResponseSize(answer, int(plausible)); beyond != nil || wire.ParseResponse(answer, &head) != nil {
		return
	}
	c := r.conn
	c.mu.Lock()
	call, _ := c.pending.take(head.Sequence)
	if call != nil {
		c.retireFor(protocolViolation(why)) // or its caller's next request could still go this way, and be in doubt
	}
	c.mu.Unlock()
	if call != nil {
		call.sample(c.latency)
		call.finish(&ResultError{Err: fmt.Errorf("%w: %w", ErrResponseTooLarge, why)})
	}
}

// match takes the calls out of the table for which answers have come. From here on this goroutine is
// their finisher.
func (r *reader) match(count int) {
	if count == 0 {
		return
	}
	c := r.conn
	returning := int32(0)
	c.mu.Lock()
	for i := range r.arrivals[:count] {
		a := &r.arrivals[i]
		var late bool
		a.call, late = c.pending.take(a.response.Sequence)
		switch {
		case a.call != nil:
			returning++
		case late, c.cause != nil: // dead, it no longer knows who was waiting
			c.stats.late++
		case !c.answersOneway(a.response.Sequence):
			c.stats.unexpected++
		}
	}
	c.returning.Add(returning)
	c.stats.received += uint64(count)
	c.stats.readBytes = r.received
	c.crowd = r.together
	c.admitNext()
	r.countLone()
	if r.lone == 0 {
		r.claimForCallers()
	}
	c.dieIfRetired()
	c.mu.Unlock()
}

// answersOneway says whether an answer may be to a request that should get none, or to one whose
// answer nobody waits for. The mutex is held.
func (c *Conn) answersOneway(sequence int32) bool {
	if sequence != onewaySequence || c.oneways == 0 {
		return false
	}
	c.oneways--
	return true
}

// countLone counts answers that come one by one. The mutex is held.
func (r *reader) countLone() {
	if r.together > 1 || r.conn.expecting() {
		r.lone = 0
	} else {
		r.lone++
	}
}

// complete decodes an answer for its caller, if it still waits, and wakes it. The error is a reason
// to give up the connection.
func (r *reader) complete(a *arrival) error {
	if a.call == nil {
		return nil
	}
	if want := a.call.request.Method.ReplyName(); string(a.response.Name) != want {
		err := fmt.Errorf("answer named %.60q to a call that expects %q", a.response.Name, want)
		cause := protocolViolation(err)
		r.conn.mu.Lock()
		r.conn.retireFor(cause) // before the caller can try again
		r.conn.mu.Unlock()
		a.call.finish(&CallError{Address: r.conn.address, Stage: StageAwaiting, Outcome: retry.InDoubt, Err: cause})
		return err
	}
	a.call.sample(r.conn.latency)
	a.call.finish(r.interpret(a))
	return nil
}

func (r *reader) interpret(a *arrival) error {
	if a.response.Error != wire.ErrOK {
		r.conn.refused(a.response.Error)
		return &ServerError{Name: a.response.Error}
	}
	if len(a.response.Result) == 0 {
		return ErrNoResult
	}
	if err := wire.DecodeResult(&r.decoder, a.response.Result, a.call.request.Result); err != nil {
		return &ResultError{Err: err}
	}
	return nil
}

// makeRoom prepares the buffer for the next read: it moves the rest of an unfinished frame to the
// front, doubles a buffer that such a frame fills, as far as a frame can, and lets go of a large one that
// is empty. So memory follows the bytes that came, not the length that a frame announces.
func (r *reader) makeRoom() {
	if r.start == r.end {
		r.letGo()
		r.start, r.end = 0, 0
		return
	}
	unfinished, most := r.buffer[r.start:r.end], max(r.conn.options.MaxResponseBytes, readBufferSize)
	switch {
	case len(unfinished) > len(r.buffer)/2 && len(r.buffer) < most:
		r.buffer = make([]byte, doubled(len(r.buffer), most))
	case r.start == 0:
		return // a large frame that comes in small pieces must not be copied for each of them
	}
	r.start, r.end = 0, copy(r.buffer, unfinished)
}

// doubled returns twice the size, but at most most, which may be as large as an int can be.
func doubled(size, most int) int {
	if size > most/2 {
		return most
	}
	return 2 * size
}

// letGo replaces a large buffer, which is empty, by one of the usual size: a very large one at once,
// others after some reads that had no need of it, since large answers mostly come one after the
// other, as those of a scan do.
func (r *reader) letGo() {
	switch {
	case len(r.buffer) == readBufferSize:
		return
	case r.end > readBufferSize:
		r.small = 0
	default:
		r.small++
	}
	if len(r.buffer) > keptBufferSize || r.small == smallReads {
		r.buffer, r.small = make([]byte, readBufferSize), 0
	}
}
