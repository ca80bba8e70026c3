package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// ErrBusy means that a request that may not wait found the connection's window full.
var ErrBusy = errors.New("too many requests are under way")

// admission is the queue of callers for whom a connection has no room, first come, first served. The
// connection's mutex guards it.
type admission struct {
	queue    []waiter // a waiter that left has a nil channel, but none such is first
	head     int      // index of the first one
	popped   int      // number of waiters ever removed from the front of queue: gives tickets
	waiting  int
	reserved int // places given to waiters that have not yet come to take them
}

type waiter struct {
	admitted chan error // capacity 1; one message from whoever takes the waiter out of the queue
	until    time.Time  // zero: no deadline
	request  *Request   // its caller leaves it alone until the waiter is out of the queue
	news     <-chan struct{}
}

// Route decides where requests go, and may change its mind while they wait.
type Route interface {
	// Moved says whether a request with this header, for the node at address, belongs elsewhere by now. It
	// returns a channel that is closed when the answer may have changed, or nil if it never will. It is
	// called by any goroutine, which may have the connection locked: it waits for nothing and calls nobody.
	Moved(header *wire.Header, address string) (moved bool, news <-chan struct{})
}

// moved asks the request's route, if there is news, whether the request belongs elsewhere.
func (w *waiter) moved(address string) (moved bool) {
	select {
	case <-w.news:
		moved, w.news = w.request.Route.Moved(&w.request.Header, address)
	default:
	}
	return moved
}

// maxReserved bounds the places given to waiters that have not yet come to take them. How much they
// will append shows only then, so that many of them could exceed Options.MaxQueuedBytes by far.
const maxReserved = 16

// keptWaiters is the number of places in the queue whose memory is kept for those to come. Once, a hundred
// times as many may have waited.
const keptWaiters = 1024

func (a *admission) push(w waiter) (ticket int) {
	if len(a.queue) == cap(a.queue) && a.head > len(a.queue)/2 {
		a.makeRoom()
	}
	a.queue = append(a.queue, w)
	a.waiting++
	return a.popped + len(a.queue) - 1 - a.head
}

// makeRoom uses the room in front rather than let the queue grow, which one that is never empty would do
// for ever. It lets go of memory of which most is not needed any more.
func (a *admission) makeRoom() {
	rest := a.queue[a.head:]
	if cap(a.queue) > keptWaiters && len(rest) < cap(a.queue)/4 {
		a.queue, a.head = append(make([]waiter, 0, 2*len(rest)+1), rest...), 0
		return
	}
	kept := copy(a.queue, rest)
	clear(a.queue[kept:])
	a.queue, a.head = a.queue[:kept], 0
}

// leave takes the waiter with the given ticket out, unless it was taken out before.
func (a *admission) leave(ticket int) bool {
	index := a.head + ticket - a.popped
	if index < a.head || index >= len(a.queue) || a.queue[index].admitted == nil {
		return false
	}
	a.remove(index)
	return true
}

// pop takes the first waiter out. There must be one.
func (a *admission) pop() waiter { return a.remove(a.head) }

// remove takes out the waiter at index, and whoever is in front then and left before.
func (a *admission) remove(index int) waiter {
	w := a.queue[index]
	a.queue[index] = waiter{}
	a.waiting--
	for a.head < len(a.queue) && a.queue[a.head].admitted == nil {
		a.head++
		a.popped++
	}
	if a.head == len(a.queue) {
		a.queue, a.head = a.queue[:0], 0
		if cap(a.queue) > keptWaiters {
			a.queue = nil
		}
	}
	return w
}

// drain takes every waiter out.
func (a *admission) drain() []waiter {
	var all []waiter
	for a.waiting > 0 {
		all = append(all, a.pop())
	}
	return all
}

// expire takes out every waiter whose deadline has passed, or whose request belongs on another node than
// that at address, and tells it. It says whether a deadline has passed.
//
// The routes are asked here, and not by those who wait, so that news of which they have none wake nobody:
// there may be a hundred thousand of them. Who stays keeps its place.
func (a *admission) expire(now time.Time, address string) (expired bool) {
	for i := a.head; i < len(a.queue); i++ {
		w := &a.queue[i]
		switch admitted := w.admitted; {
		case admitted == nil:
		case !w.until.IsZero() && !now.Before(w.until):
			a.remove(i)
			admitted <- context.DeadlineExceeded
			expired = true
		case w.moved(address):
			a.remove(i)
			admitted <- ErrMoved
		}
	}
	return expired
}

// admit returns nil when there is room for one more call, after waiting for it if need be. It is
// called, and returns, with the mutex held, but lets go of it while it waits. So do the functions below
// that it is made of.
func (c *Conn) admit(ctx context.Context, request *Request) error {
	if err := c.refusal(); err != nil {
		return err
	}
	if c.admission.waiting == 0 && c.hasRoom() {
		return nil
	}
	return c.queueUp(ctx, request)
}

// queueUp waits for room, unless the request may not wait or belongs elsewhere.
func (c *Conn) queueUp(ctx context.Context, request *Request) error {
	if request.FailFast {
		return c.notAdmitted(ErrBusy)
	}
	w := waiter{admitted: make(chan error, 1), until: request.Deadline, request: request}
	if request.Route != nil {
		var moved bool
		if moved, w.news = request.Route.Moved(&request.Header, c.address); moved {
			return c.notAdmitted(ErrMoved)
		}
	}
	ticket := c.admission.push(w)
	c.stats.waited++
	if !c.sweep.armed {
		c.armSweep()
	}
	c.mu.Unlock()
	select {
	case err := <-w.admitted:
		c.mu.Lock()
		return c.takePlace(request, err)
	case <-ctx.Done():
		c.mu.Lock()
		return c.leaveQueue(&w, ticket, ctx.Err())
	}
}

// takePlace ends the wait of a caller that is out of the queue: it has a place if verdict is nil.
func (c *Conn) takePlace(request *Request, verdict error) error {
	request.waited()
	if verdict == nil {
		c.admission.reserved--
		return c.refusal()
	}
	var unusable *errUnusable
	if errors.As(verdict, &unusable) {
		return verdict
	}
	return c.notAdmitted(verdict)
}

// leaveQueue ends the wait of a caller that gives up, for a cause. Who has taken it out of the queue
// meanwhile has told it already, or is about to.
func (c *Conn) leaveQueue(w *waiter, ticket int, cause error) error {
	if c.admission.leave(ticket) {
		c.sweep.unanswered = true
		return c.notAdmitted(cause)
	}
	c.mu.Unlock()
	verdict := <-w.admitted
	c.mu.Lock()
	if verdict != nil {
		return c.takePlace(w.request, verdict)
	}
	c.admission.reserved--
	c.admitNext() // our place is somebody else's now
	return c.notAdmitted(cause)
}

func (c *Conn) notAdmitted(cause error) error {
	return &CallError{Address: c.address, Stage: StageAdmission, Outcome: retry.NotSent, Err: cause}
}

// refusal says why the connection accepts no call at all, or nil. The mutex is held.
func (c *Conn) refusal() error {
	if c.cause != nil {
		return &errUnusable{c.cause}
	}
	if c.retired != nil {
		return &errUnusable{c.retired}
	}
	return nil
}

// hasRoom says whether one more call fits, besides those for whom a place is reserved. The mutex is
// held.
func (c *Conn) hasRoom() bool {
	return c.pending.inFlight+c.admission.reserved < c.options.Window &&
		len(c.out) < c.options.MaxQueuedBytes
}

// admitNext admits waiting callers as long as there is room. It must follow everything that makes
// room. The mutex is held.
func (c *Conn) admitNext() {
	for c.admission.waiting > 0 && c.admission.reserved < maxReserved && c.hasRoom() {
		w := c.admission.pop()
		c.admission.reserved++
		w.admitted <- nil
	}
}
