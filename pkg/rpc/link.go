package rpc

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/atomic"
)

// link is the place for one live connection to a node, and the dialling that fills it. At most one
// dial is under way; callers that come meanwhile wait for it, each with its own context, and share
// its end.
type link struct {
	node *Node
	conn atomic.Pointer[Conn] // nil while there is none

	mu       sync.Mutex // guards what follows; never held across I/O
	flight   *flight    // the dial under way
	failures int        // dials in a row that came to nothing
	retryAt  time.Time  // calls before this moment fail at once with failure
	failure  error
}

// flight is one dial. conn and err are set before done is closed.
type flight struct {
	done chan struct{}
	conn *Conn
	err  error
}

// live returns the connection if there is one that accepts calls.
func (l *link) live() *Conn {
	if conn := l.conn.Load(); conn != nil && conn.usable.Load() {
		return conn
	}
	return nil
}

// connect returns the live connection, after a dial if need be. While the node is in its pause after
// a failed dial, it fails at once. A request that belongs elsewhere by now does not wait for the dial any
// longer: one to a host that is gone takes all its time. Those who wait ask for themselves here, unlike those
// in a connection's queue, since there is no connection that could ask for them.
func (l *link) connect(ctx context.Context, request *Request) (*Conn, error) {
	f, conn, err := l.join()
	if f == nil {
		return conn, err
	}
	if !request.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, request.Deadline)
		defer cancel()
	}
	for {
		var moved bool
		var news <-chan struct{} // nil: none will come
		if request.Route != nil {
			if moved, news = request.Route.Moved(&request.Header, l.node.address); moved {
				return nil, ErrMoved
			}
		}
		select {
		case <-f.done:
			request.waited()
			return f.conn, f.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-news:
		}
	}
}

// join returns the dial under way, which it starts if there is none, or what makes a dial needless.
func (l *link) join() (*flight, *Conn, error) {
	if l.node.pool.ctx.Err() != nil {
		return nil, nil, ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flight != nil {
		return l.flight, nil, nil
	}
	if conn := l.live(); conn != nil {
		return nil, conn, nil
	}
	if left := time.Until(l.retryAt); left > 0 {
		return nil, nil, &ConnectError{RetryIn: left, Err: l.failure}
	}
	f := &flight{done: make(chan struct{})}
	if !l.node.pool.Go(func() { l.dial(f) }) {
		return nil, nil, ErrClosed
	}
	l.flight = f
	return f, nil, nil
}

// errNoStream is the failure of a dialler that returned neither a stream nor an error.
var errNoStream = errors.New("the dialler returned no stream")

// dial runs in a goroutine of the pool, on the pool's context: a caller that gives up must not fail
// the others.
func (l *link) dial(f *flight) {
	n, options := l.node, &l.node.pool.options
	n.mu.Lock()
	n.dials++
	n.mu.Unlock()
	if begin := options.Hooks.DialBegin; begin != nil {
		begin(n.address)
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(n.pool.ctx, options.DialTimeout)
	defer cancel()
	stream, err := options.Dial(ctx, "tcp", n.address)
	if err == nil && stream == nil {
		err = errNoStream
	}
	if err == nil {
		tuneSocket(stream, options.SilenceLimit)
		f.conn, err = n.pool.adopt(l, stream)
	}
	failures := l.land(f, err)
	if f.err != nil {
		level := slog.LevelDebug
		if failures == 1 && !byUs(f.err) { // the first of a row, of which there may be ten a second
			level = slog.LevelWarn
		}
		options.Logger.Log(ctx, level, "cannot connect", "node", n.address, "error", f.err)
	} else {
		options.Logger.Info("connected", "node", n.address, "took", time.Since(started))
	}
	if end := options.Hooks.DialEnd; end != nil {
		end(n.address, time.Since(started), f.err)
	}
}

// land ends a dial, which gave a connection or err. It returns how many dials in a row have failed.
func (l *link) land(f *flight, err error) (failures int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flight = nil
	if err != nil {
		f.err = l.failed(err)
	} else {
		l.conn.Store(f.conn)
		if !f.conn.usable.Load() {
			l.conn.CompareAndSwap(f.conn, nil) // it died before it was stored, and found nothing to remove
		}
	}
	close(f.done)
	return l.failures
}

// failed does what follows a failed dial. The mutex is held.
func (l *link) failed(err error) error {
	if l.node.pool.ctx.Err() != nil {
		return ErrClosed
	}
	l.node.trouble(err)
	return &ConnectError{RetryIn: l.pause(err), Err: err}
}

// pause keeps callers from dialling again too soon. The mutex is held.
func (l *link) pause(err error) time.Duration {
	l.failures++
	pause := l.node.pool.options.backoff(l.failures, timedOut(err))
	l.failure, l.retryAt = err, time.Now().Add(pause)
	return pause
}

// lost is told by every connection of the link that died.
func (l *link) lost(conn *Conn, cause error) {
	l.conn.CompareAndSwap(conn, nil)
	counters := l.node.bury(conn)
	if byUs(cause) {
		return
	}
	l.mu.Lock()
	if counters.received > counters.unexpected {
		l.failures, l.retryAt, l.failure = 0, time.Time{}, nil
	} else {
		l.pause(cause) // it was good for nothing, so it counts as a failed dial
	}
	l.mu.Unlock()
	l.node.trouble(cause)
}

// backoff returns the pause after so many failed dials in a row: doubling, with half of it left to
// chance so that clients do not return in step.
func (o *Options) backoff(failures int, slow bool) time.Duration {
	limit := o.BackoffMax
	if slow {
		limit *= slowBackoffFactor
	}
	pause := o.BackoffMin
	for i := 1; i < failures && pause < limit; i++ {
		pause *= 2
	}
	pause = min(pause, limit)
	return pause/2 + rand.N(pause/2+1)
}

// timedOut tells a dial that ran into silence from one that was refused.
func timedOut(err error) bool {
	var netErr net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &netErr) && netErr.Timeout()
}
