package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Request is one RPC as its caller states it. The caller owns it and must leave it alone until the
// call has returned; nothing of it is kept after that. It serves one call at a time, and may serve again: that
// spares memory. A copy is a request of its own.
type Request struct {
	// Method is the RPC.
	Method *wire.Method
	// Header is the frame's header. TimeoutMillis should be the time until Deadline; it is corrected
	// if the call had to wait before it was sent.
	Header wire.Header
	// Arguments are encoded before the call waits for its answer, perhaps more than once.
	Arguments wire.Arguments
	// Result receives the answer, on the goroutine that reads the connection.
	Result wire.Result
	// Attentive keeps the call from receiving its own answer, which saves a lone caller time but lets
	// it notice the end of its context up to 5 ms late.
	Attentive bool
	// FailFast has the call fail with ErrBusy rather than wait for a place in a connection's window.
	FailFast bool
	// Deadline is the time at which the call fails with context.DeadlineExceeded, to within
	// Options.SweepInterval. The context may end it earlier, and to the point. Zero means none.
	Deadline time.Time
	// Times, if it is not nil, is filled in before Call returns.
	Times *Times
	// Route, if it is not nil, is asked while the call waits for a connection, or for a place in its window.
	// When it says that the request belongs elsewhere, the call fails with ErrMoved.
	Route Route

	call call
}

// waited corrects the announced timeout after a wait.
func (q *Request) waited() {
	if !q.Deadline.IsZero() {
		q.Header.TimeoutMillis = wire.TimeoutMillis(time.Until(q.Deadline))
	}
}

// errUnusable is returned by Conn.do when the connection died or retired before the call entered its
// table. Nothing was sent, and the cause says nothing about the call: it belongs on another
// connection.
type errUnusable struct{ cause error }

func (e *errUnusable) Error() string { return e.cause.Error() }
func (e *errUnusable) Unwrap() error { return e.cause }

// Conn is one pipelined connection. It starts alive and dies once. All methods are for concurrent
// use.
type Conn struct {
	address string
	options *Options
	stream  net.Conn
	// tryWrite writes as many bytes as the system takes without waiting; nil if the stream cannot. Only who
	// made writerIdle false calls it.
	tryWrite func(batch []byte) (n int, err error)
	// read is the stream's Read at the least cost. One goroutine at a time calls it: the reader.
	read   func(buffer []byte) (n int, err error)
	usable atomic.Bool   // false once dead or retired: a hint that spares callers the mutex
	kick   chan struct{} // capacity 1: there is work for an idle writer, or the connection died
	// returning is the number of callers that have got their answers since frames were gathered last, and
	// have not called again: how many frames are likely to come soon. It changes under the mutex only.
	returning atomic.Int32
	yield     yield         // belongs to whoever made writerIdle false
	heard     atomic.Bool   // bytes came since the sweep looked last
	latency   *latency      // the node's
	patience  *readPatience // the node's
	onDeath   func(*Conn, error)
	onDoubt   func(error)     // told once at most, when the node is silent but writes still wait for it
	running   *sync.WaitGroup // of the pool, which outlives the connection's goroutines

	mu         sync.Mutex // guards all below; never held across I/O
	cause      error      // set once, by die
	retired    error      // why there are no new calls: the cause of death when the last one is gone; nil: there are
	pending    pendingCalls
	admission  admission
	out        []byte // frames appended by callers, for the writer
	spare      []byte // the writer's other buffer, while it is not writing it
	queued     uint64 // bytes ever appended to out
	taken      uint64 // bytes that the system may have got
	writerIdle bool   // who makes it false must kick the writer or do its work
	oneways    uint64 // requests sent with onewaySequence and not answered
	crowd      int    // number of answers that came together last
	sweep      sweep
	stats      connStats
	role       role
	reader     *reader // belongs to the holder of the role
}

// newConn takes over stream, starts the two goroutines in running, and calls onDeath once when it has
// died, from a goroutine that is in running too or that closes the pool, before its callers are told.
func newConn(address string, stream net.Conn, options *Options, node *Node, running *sync.WaitGroup, onDeath func(*Conn, error), onDoubt func(error)) *Conn {
	c := &Conn{
		address: address, options: options, stream: stream, patience: &node.patience, latency: &node.latency,
		kick: make(chan struct{}, 1), onDeath: onDeath, onDoubt: onDoubt, running: running,
		pending: newPendingCalls(options.Window),
		role:    role{turn: make(chan struct{}, 1)},
	}
	c.reader = &reader{conn: c, buffer: make([]byte, readBufferSize)}
	c.tryWrite, c.read = nonBlocking(stream), reading(stream)
	c.usable.Store(true)
	running.Go(c.readLoop)
	running.Go(c.writeLoop)
	return c
}

// do makes one call and waits for its end. The answer is decoded into request.Result when it returns
// nil. Errors: *ServerError, ErrNoResult and *ResultError if the server answered, *errUnusable,
// *CallError otherwise.
func (c *Conn) do(ctx context.Context, request *Request) error {
	pending := request.begin(c.running)
	err := c.enqueue(ctx, request, pending)
	if err == nil {
		err = c.await(ctx, pending)
	}
	// Nobody else knows the call now: either it never entered the table, or it was removed and its
	// finisher has sent its only signal, or we removed it ourselves.
	pending.err, pending.began = nil, time.Time{}
	return err
}

// enqueue waits for admission, enters the call into the table and appends its frame.
func (c *Conn) enqueue(ctx context.Context, request *Request, pending *call) error {
	c.mu.Lock()
	if err := c.admit(ctx, request); err != nil {
		c.mu.Unlock()
		return err
	}
	pending.tick = c.sweep.tick
	seq, ok := c.pending.add(pending)
	if !ok {
		c.retireFor(ErrRetired)
		c.mu.Unlock()
		return &errUnusable{ErrRetired}
	}
	c.appendFrame(request, seq)
	if c.returning.Load() > 0 {
		c.returning.Dec()
	}
	request.entered()
	pending.end = c.queued
	if c.stats.sent%latencySample == 0 && request.Method.IsRead() {
		pending.began = time.Now()
	}
	c.admitNext()
	if !c.sweep.armed {
		c.armSweep()
	}
	wake := c.writerIdle
	c.writerIdle = false
	alone := wake && c.tryWrite != nil && c.pending.inFlight == 1 && c.crowd <= 1
	reads := c.takeRole(alone && !request.Attentive)
	if alone {
		c.writeNow()
		if reads {
			c.readOwn(pending)
		}
		return nil
	}
	c.mu.Unlock()
	if wake {
		c.kickWriter()
	}
	return nil
}

// appendFrame encodes the request into the outgoing buffer. The mutex is held.
func (c *Conn) appendFrame(request *Request, seq int32) {
	before := len(c.out)
	c.out = wire.AppendRequestV1(c.out, &request.Header, request.Method, seq, request.Arguments)
	c.queued += uint64(len(c.out) - before)
	c.stats.sent++
	if seq == onewaySequence {
		c.oneways++
	}
}

// kickWriter wakes an idle writer. Only who has made writerIdle false, and does not do the writer's
// work, may call it, and die: a writer that wakes while somebody else writes takes itself for idle.
func (c *Conn) kickWriter() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// await waits for the call's finisher, or gives the call up when the context ends first.
func (c *Conn) await(ctx context.Context, pending *call) error {
	if ctx.Done() != nil {
		return c.awaitEither(ctx, pending)
	}
	<-pending.done
	return pending.err
}

// awaitEither is await for a context that can end. As a part of await it would cost all others a hundred
// bytes of stack, which are not in the cache any more when their answers come.
func (c *Conn) awaitEither(ctx context.Context, pending *call) error {
	select {
	case <-pending.done:
		return pending.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	ours := c.pending.giveUp(pending)
	var err error
	if ours {
		err = c.givenUp(pending, ctx.Err())
		c.admitNext()
	}
	c.mu.Unlock()
	if !ours {
		<-pending.done // the finisher was faster, and does not block
		return pending.err
	}
	return err
}

// givenUp is the bookkeeping for a call removed from the table without an answer. Its frame is, or
// will be, on its way, so the outcome is in doubt. The mutex is held.
func (c *Conn) givenUp(pending *call, cause error) error {
	c.sweep.unanswered = true
	c.stats.abandoned++
	pending.sample(c.latency) // it would have taken longer still
	c.dieIfRetired()
	stage := StageAwaiting
	if pending.end > c.taken {
		stage = StageQueued
	}
	return &CallError{Address: c.address, Stage: stage, Outcome: retry.InDoubt, Err: cause}
}

// send queues a request that gets no answer, without waiting for anything: if the connection has no
// room for it, it is dropped.
func (c *Conn) send(request *Request) error {
	c.mu.Lock()
	if c.refusal() != nil || !c.hasRoom() {
		c.mu.Unlock()
		return &CallError{Address: c.address, Stage: StageAdmission, Outcome: retry.NotSent, Err: ErrBusy}
	}
	c.appendFrame(request, onewaySequence)
	wake := c.writerIdle
	c.writerIdle = false
	c.mu.Unlock()
	if wake {
		c.kickWriter()
	}
	return nil
}

// die ends the connection for the given cause; the first cause wins. It is called without the mutex,
// and returns without waiting for the goroutines.
func (c *Conn) die(cause error) {
	c.mu.Lock()
	if c.cause != nil {
		c.mu.Unlock()
		return
	}
	c.cause = cause
	c.usable.Store(false)
	calls, taken := c.pending.drain(), c.taken
	waiting := c.admission.drain()
	c.out, c.spare = nil, nil // nothing more is taken: what was not sent stays so
	c.sweep.stop()
	c.mu.Unlock()

	c.kickWriter()
	c.wakeLoop()
	c.onDeath(c, cause) // before the callers try again: then they find the pause and the new epoch
	for _, pending := range calls {
		failure := &CallError{Address: c.address, Stage: StageAwaiting, Outcome: retry.InDoubt, Err: cause}
		if pending.end > taken {
			failure.Stage, failure.Outcome = StageQueued, retry.NotSent
		}
		pending.sample(c.latency)
		pending.finish(failure)
	}
	for _, w := range waiting {
		w.admitted <- &errUnusable{cause}
	}
	// Last, since foreign code may take its time.
	if err := c.stream.Close(); err != nil {
		c.options.Logger.Debug("closing a connection failed", "node", c.address, "error", err)
	}
	level := slog.LevelWarn
	if byUs(cause) {
		level = slog.LevelDebug
	}
	c.options.Logger.Log(context.Background(), level, "connection lost", "node", c.address, "cause", cause)
	if lost := c.options.Hooks.ConnectionLost; lost != nil {
		lost(c.address, cause)
	}
}

// byUs says whether a connection died because the client had no more use for it.
func byUs(cause error) bool { return errors.Is(cause, ErrRetired) || errors.Is(cause, ErrClosed) }

// dieSoon is die for those who hold the mutex.
func (c *Conn) dieSoon(cause error) {
	if c.cause == nil { // so the goroutines of the connection still run, and nobody has waited for all
		c.running.Go(func() { c.die(cause) })
	}
}

// retire lets the calls in flight finish, accepts no new ones, and then dies with ErrRetired.
func (c *Conn) retire() {
	c.mu.Lock()
	c.retireFor(ErrRetired)
	c.mu.Unlock()
}

// retireFor is retire for the given reason. The first reason counts. The mutex is held.
func (c *Conn) retireFor(cause error) {
	if c.retired == nil {
		c.retired = cause
	}
	c.usable.Store(false)
	for _, w := range c.admission.drain() {
		w.admitted <- &errUnusable{c.retired}
	}
	c.dieIfRetired()
}

// dieIfRetired starts the death of a retired connection whose last call is gone. The mutex is held.
func (c *Conn) dieIfRetired() {
	if c.retired != nil && c.pending.inFlight == 0 {
		c.dieSoon(c.retired)
	}
}

func protocolViolation(err error) error { return fmt.Errorf("%w: %w", ErrProtocol, err) }
