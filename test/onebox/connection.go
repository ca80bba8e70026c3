package onebox

import (
	"bytes"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Sizes of a connection's buffers.
const (
	minBuffer = 8 << 10   // before the first request
	maxBuffer = 128 << 10 // input and output buffers that grew larger are given back
	maxInput  = 16 << 20  // a client that sends a larger frame is cut off
	maxOutput = 128 << 10 // more output than this is sent before more requests are served
)

// connection is a client's connection to a server. One goroutine, which runs serve, reads requests in
// batches, serves them one after the other, and sends the replies of a batch with one write. It owns
// every field, except that delayed replies write to conn as well, under sending.
type connection struct {
	process *process
	node    *Node
	conn    net.Conn
	sending *sync.Mutex

	input  []byte // its first filled bytes are requests not yet served
	filled int
	output []byte // replies not yet sent
	counts [maxOperations]int64
	hungUp bool // send the output, then close

	frame     []byte // of the request being served
	request   wire.Request
	reader    wire.Reader
	scratch   []byte // memory for reuse
	run       execution
	calls     [maxOperations]call // by operation, made at first use
	throttled bool                // the request was, and must not be again
	// replyMethod and replySequence are what the reply says; faults falsify them.
	replyMethod   *wire.Method
	replySequence int32
	// held are replies to send after the next reply, which is the first that the output holds beyond
	// heldAt; see Fault.Hold.
	held   []byte
	heldAt int
}

func newConnection(p *process, conn net.Conn) *connection {
	return &connection{
		process: p, node: p.node, conn: conn,
		sending: &sync.Mutex{},
		input:   make([]byte, minBuffer),
		run:     execution{cluster: p.node.cluster, node: p.node},
	}
}

func (k *connection) serve() {
	defer k.process.forget(k)
	defer k.closeConn()
	for k.process.proceed() {
		n, err := k.conn.Read(k.input[k.filled:])
		k.filled += n
		ample := k.filled < len(k.input)
		if !k.process.proceed() {
			return
		}
		k.serveInput()
		k.fitInput(ample)
		if !k.flush() || k.hungUp || err != nil {
			return
		}
	}
}

// closeConn closes the connection in the way in which its process ends it.
func (k *connection) closeConn() {
	select {
	case <-k.process.dead:
		reset(k.conn)
	default:
		_ = k.conn.Close() // a connection that the client has broken already
	}
}

// serveInput serves every complete request of the input and moves the rest to its start.
func (k *connection) serveInput() {
	start := 0
	for start < k.filled && !k.hungUp {
		size, err := wire.ParseRequest(k.input[start:k.filled], &k.request)
		if err != nil {
			k.abort("sent a frame on which servers hang up: %v", err)
			return
		}
		if size == 0 {
			break
		}
		k.frame = k.input[start : start+size]
		k.serveRequest()
		start += size
		if len(k.output) >= maxOutput && !k.flush() {
			k.hungUp = true
		}
	}
	k.filled = copy(k.input, k.input[start:k.filled])
}

// fitInput makes room for more input: for the rest of a frame, and for larger batches if the last one
// filled the buffer.
func (k *connection) fitInput(ample bool) {
	size := len(k.input)
	switch {
	case k.filled == size && size >= maxInput:
		k.abort("sent a frame of more than %d bytes", maxInput)
		return
	case k.filled == size, !ample && size < maxBuffer:
		size *= 2
	case k.filled == 0 && size > maxBuffer:
		size = maxBuffer
	default:
		return
	}
	fitting := make([]byte, size)
	copy(fitting, k.input[:k.filled])
	k.input = fitting
}

// flush sends the output. The counts become visible first, so that who has a reply can rely on them.
func (k *connection) flush() bool {
	for i, n := range k.counts {
		if n != 0 {
			k.node.requests[i].Add(n)
			k.counts[i] = 0
		}
	}
	if len(k.held) > 0 && len(k.output) > k.heldAt {
		k.output = append(k.output, k.held...)
		k.held = k.held[:0]
	}
	k.heldAt = 0
	if len(k.output) == 0 {
		return true
	}
	sent := k.send(k.output, 0)
	k.output = k.output[:0]
	if cap(k.output) > 2*maxBuffer {
		k.output = nil
	}
	return sent
}

// send writes bytes to the client, in pieces of the given size if that is positive. It may be called
// by any goroutine.
func (k *connection) send(data []byte, size int) bool {
	k.sending.Lock()
	defer k.sending.Unlock()
	for len(data) > 0 {
		piece := data
		if size > 0 && size < len(data) {
			piece = data[:size]
		}
		if !k.process.proceed() {
			return false
		}
		if _, err := k.conn.Write(piece); err != nil {
			return false
		}
		if data = data[len(piece):]; len(data) > 0 {
			runtime.Gosched() // lets the client see the piece by itself
		}
	}
	return true
}

// reply appends a reply to the current request to the output. A nil result leaves the result out.
func (k *connection) reply(name wire.ErrorName, result wire.Arguments) {
	k.output = wire.AppendResponse(k.output, name, k.replyMethod, k.replySequence, result)
}

// later does something about the current request after a delay, in which others overtake it. It is done
// on a goroutine of its own, which needs everything that belongs to this one a second time.
func (k *connection) later(delay time.Duration, serve func(late *connection)) {
	late := k.detached()
	k.node.cluster.working.Go(func() {
		if k.process.pause(delay) {
			serve(late)
			late.finish()
		}
	})
}

// detached returns a second connection on the same network connection, with the current request.
func (k *connection) detached() *connection {
	late := &connection{
		process: k.process, node: k.node, conn: k.conn, sending: k.sending,
		frame: bytes.Clone(k.frame), run: execution{cluster: k.run.cluster, node: k.node},
		throttled: true, replyMethod: k.replyMethod, replySequence: k.replySequence,
	}
	if _, err := wire.ParseRequest(late.frame, &late.request); err != nil {
		panic(err) // it was parsed before
	}
	return late
}

// finish sends what a detached connection has to say.
func (k *connection) finish() {
	if !k.flush() || k.hungUp {
		_ = k.conn.Close() // so that the goroutine that reads from it ends, too
	}
}

// abort notes that a client broke the protocol so badly that a real server would have hung up or
// died, and hangs up.
func (k *connection) abort(format string, args ...any) {
	k.report(format, args...)
	k.hungUp = true
}

// report notes that the client broke the protocol.
func (k *connection) report(format string, args ...any) {
	k.node.cluster.audit.report("%v, %s of %v: "+format,
		append([]any{k.node, k.request.Name, k.request.Header.GPID}, args...)...)
}
