package pegasus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// ErrOverloaded means that an operation found no place among those that may be under way, and that
// the client was told not to let operations wait. Nothing was sent.
var ErrOverloaded = rpc.ErrBusy

// gate bounds the requests that a client has under way. A request holds a place from before it is
// sent until it is answered or given up.
type gate struct {
	places   chan struct{}
	waiting  atomic.Int32 // who waits for one
	failFast bool
}

// enter takes a place, after waiting for one if need be and allowed.
func (g *gate) enter(ctx context.Context, deadline time.Time) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	if g.failFast {
		return ErrOverloaded
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	g.waiting.Inc()
	defer g.waiting.Dec()
	select {
	case g.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) leave() { <-g.places }

// AdaptiveRate sets how a client slows down for a table that answers ERR_BUSY, see
// [WithAdaptiveRate]. The zero value of each field means its default.
type AdaptiveRate struct {
	// Backoff is the factor by which the rate falls when servers are busy, 0.1 to 0.95. Default 0.7.
	Backoff float64
	// Recovery is the share by which the rate grows each second after that, 0.01 to 1. Default 0.1.
	Recovery float64
	// MinRate is the lowest rate in requests per second, 0.1 to a million. Default 10.
	MinRate float64
}

func (a AdaptiveRate) withDefaults() (AdaptiveRate, error) {
	a.Backoff = orDefault(a.Backoff, 0.7)
	a.Recovery = orDefault(a.Recovery, 0.1)
	a.MinRate = orDefault(a.MinRate, 10)
	return a, errors.Join(
		inRange("AdaptiveRate.Backoff", a.Backoff, 0.1, 0.95),
		inRange("AdaptiveRate.Recovery", a.Recovery, 0.01, 1),
		inRange("AdaptiveRate.MinRate", a.MinRate, 0.1, 1_000_000),
	)
}

const (
	// rateWindow is the time over which demand is measured. Servers throttle by the second.
	rateWindow = time.Second
	// rateSample is the number of requests after which the window is looked at while nothing is limited.
	rateSample = 64
	// rateHeadroom is how far the rate must exceed the demand before it no longer matters.
	rateHeadroom = 2
	// rateBurst is the share of a second's requests that may go out at once.
	rateBurst = 0.1
)

// throttle holds the requests of one table and kind, reads or writes, to what its servers accept.
// While they accept everything it only counts. After an ERR_BUSY the rate is a fraction of what was
// asked for in the last second, and grows until it is above the demand again.
//
// All of it but sent is guarded by the mutex, which requests take only while the rate is limited.
type throttle struct {
	settings AdaptiveRate
	changed  func(RateChange) // told with the mutex held, so in order; waits for nobody
	limited  atomic.Bool
	sent     atomic.Uint32 // requests since windowBegan

	mu          sync.Mutex
	windowBegan time.Time
	demand      float64 // requests per second in the last whole window
	rate        float64 // requests per second allowed
	tokens      float64 // may be negative: those who wait have taken theirs
	refilled    time.Time
	busyAt      time.Time // when the rate was lowered last
	stats       RateStats // but for the limit
}

// turn counts one more request and returns the time until it may be sent. It fails, with an error that is
// ErrBusy, if that is after the deadline, or later than now and failFast.
func (h *throttle) turn(deadline time.Time, failFast bool) (pause time.Duration, err error) {
	n := h.sent.Inc()
	if h.limited.Load() {
		return h.reserve(deadline, failFast)
	}
	if n%rateSample == 1 { // the first of a window, too, which thereby begins with it
		h.look()
	}
	return 0, nil
}

// reserve takes a token and returns the time until it is there.
func (h *throttle) reserve(deadline time.Time, failFast bool) (pause time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.measure(now)
	h.refill(now)
	if !h.limited.Load() {
		return 0, nil
	}
	if h.tokens < 1 {
		pause = time.Duration((1 - h.tokens) / h.rate * float64(time.Second))
		if failFast || now.Add(pause).After(deadline) {
			h.stats.Refused++
			return 0, &throttledError{pause}
		}
		h.stats.Held++
	}
	h.tokens--
	return pause, nil
}

// giveBack returns the token of a request that is not sent after all. Otherwise callers that gave up
// would hold back those after them. A nil h is no throttle.
func (h *throttle) giveBack() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.tokens++
	h.mu.Unlock()
}

// look measures the demand while nothing is limited.
func (h *throttle) look() {
	h.mu.Lock()
	h.measure(time.Now())
	h.mu.Unlock()
}

// measure closes the window of the demand when it is over. The mutex is held.
func (h *throttle) measure(now time.Time) {
	if span := now.Sub(h.windowBegan); span >= rateWindow {
		h.demand = float64(h.sent.Swap(0)) / span.Seconds()
		h.windowBegan = now
	}
}

// refill adds the tokens of the time since the last call, and lets the rate grow. The mutex is held.
func (h *throttle) refill(now time.Time) {
	seconds := now.Sub(h.refilled).Seconds()
	h.refilled = now
	h.rate *= 1 + h.settings.Recovery*seconds
	h.tokens = min(h.tokens+h.rate*seconds, max(1, h.rate*rateBurst))
	if h.rate > rateHeadroom*max(h.demand, h.settings.MinRate) && now.Sub(h.busyAt) > 2*rateWindow && h.limited.CompareAndSwap(true, false) {
		h.changed(RateChange{At: now, Since: h.stats.Since})
		h.stats.Since = time.Time{}
	}
}

// busy learns of an ERR_BUSY. All of one window count once: they are about the same second at the
// server.
func (h *throttle) busy() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Sub(h.busyAt) < rateWindow {
		return
	}
	current := h.current(now)
	h.rate = max(h.settings.Backoff*current, h.settings.MinRate)
	h.busyAt, h.refilled, h.tokens = now, now, 0
	if h.limited.CompareAndSwap(false, true) {
		h.stats.Since = now
		h.stats.Limits++
	}
	h.changed(RateChange{At: now, Limit: h.rate, Since: h.stats.Since})
}

// describe returns the present limit and what was counted. The rate grows with time, which a request
// notices; so does this.
func (h *throttle) describe() RateStats {
	if h == nil {
		return RateStats{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limited.Load() {
		now := time.Now()
		h.measure(now)
		h.refill(now)
	}
	stats := h.stats
	if h.limited.Load() {
		stats.Limit = h.rate
	}
	return stats
}

// current returns the rate at which requests are sent: those of the last second, for which the window
// before stands in as long as this one is shorter. The mutex is held.
func (h *throttle) current(now time.Time) float64 {
	span := now.Sub(h.windowBegan).Seconds()
	demand := float64(h.sent.Load())/max(span, 1) + h.demand*max(0, 1-span)
	h.measure(now)
	if h.limited.Load() {
		return min(h.rate, demand)
	}
	return demand
}

// throttledError says that the client itself keeps to what servers accept.
type throttledError struct{ retryAfter time.Duration }

func (e *throttledError) Error() string { return "held back, since " + ErrBusy.Error() }

func (e *throttledError) Is(target error) bool { return target == ErrBusy }

// guard is what a table's requests must pass before they are sent; nil: nothing.
type guard struct {
	gate          *gate // of the client; nil: none
	reads, writes *throttle
	failFast      bool
}

// newGuard returns the guard of the table of that name.
func (c *Client) newGuard(table string) *guard {
	g := &guard{gate: c.gate, failFast: c.settings.FailFast}
	if rate := c.settings.AdaptiveRate; rate != nil {
		changed := func(reads bool) func(RateChange) {
			return func(change RateChange) {
				change.Table, change.Reads = table, reads
				c.rateChanged(change)
			}
		}
		g.reads = &throttle{settings: *rate, changed: changed(true)}
		g.writes = &throttle{settings: *rate, changed: changed(false)}
	} else if g.gate == nil {
		return nil
	}
	return g
}

// rateChanged has the log and the hooks told, by goroutines that hold no locks.
func (c *Client) rateChanged(change RateChange) {
	if c.observers != nil {
		tell(c.observers, change, func(h *Hooks) func(RateChange) { return h.RateChanged })
	}
	if logger := c.settings.Logger; logger != nil {
		c.pool.Notify(func() { change.log(logger) })
	}
}

// log tells of a change: loudly when requests are held back that were not.
func (r *RateChange) log(to *slog.Logger) {
	requests := "writes"
	if r.Reads {
		requests = "reads"
	}
	switch {
	case r.Limit == 0:
		to.Info("rate no longer limited", "table", r.Table, "requests", requests, "limited_for", r.At.Sub(r.Since))
	case r.At.Equal(r.Since):
		to.Warn("rate limited", "table", r.Table, "requests", requests, "per_second", r.Limit)
	default:
		to.Debug("rate lowered", "table", r.Table, "requests", requests, "per_second", r.Limit)
	}
}

// sendGuarded is send for a table that has a guard.
func (t *Table) sendGuarded(ctx context.Context, op *operation, routing *routingVersion, hedged bool) error {
	g := t.guard
	throttle := g.writes
	if op.request.Method.IsRead() {
		throttle = g.reads
	}
	if throttle != nil {
		if err := t.holdBack(ctx, throttle, op.deadline); err != nil {
			return notAdmitted(op, err)
		}
	}
	if g.gate != nil {
		if err := g.gate.enter(ctx, op.deadline); err != nil {
			throttle.giveBack()
			return notAdmitted(op, err)
		}
		defer g.gate.leave()
	}
	if primary := op.partition.Primary; primary != nil && t.routing.Load() != routing {
		// Whoever has waited long may be on the way to a node that would refuse, which costs a retry.
		if moved, _ := t.routing.Moved(&op.request.Header, primary.Address()); moved {
			throttle.giveBack()
			return notAdmitted(op, rpc.ErrMoved)
		}
	}
	op.request.Header.TimeoutMillis = wire.TimeoutMillis(time.Until(op.deadline))
	err := t.send(ctx, op, hedged)
	var refusal *rpc.ServerError
	if throttle != nil && errors.As(err, &refusal) && refusal.Name == wire.ErrBusy {
		throttle.busy()
	}
	return err
}

// holdBack waits until the throttle lets one more request pass. Of the news about the table only its end
// ends the wait: after others, all who wait would go at once.
func (t *Table) holdBack(ctx context.Context, h *throttle, deadline time.Time) error {
	pause, err := h.turn(deadline, t.guard.failFast)
	if err != nil || pause <= 0 {
		return err
	}
	for until := time.Now().Add(pause); pause > 0; pause = time.Until(until) {
		if err := t.pause(ctx, pause, t.routing.Load()); err != nil {
			h.giveBack()
			return err
		}
	}
	return nil
}

// notAdmitted is the error of a try that the client itself did not send.
func notAdmitted(op *operation, cause error) error {
	e := &rpc.CallError{Stage: rpc.StageAdmission, Outcome: NotSent, Err: cause}
	if op.partition.Primary != nil {
		e.Address = op.partition.Primary.Address()
	}
	return e
}

// retryAfter returns how long a refusal for overload is likely to last, 0 for other failures. Servers
// throttle by the second of their clocks.
func retryAfter(failed failedTry) time.Duration {
	var held *throttledError
	switch {
	case errors.As(failed.err, &held):
		return held.retryAfter
	case failed.row.Overload:
		now := time.Now()
		return now.Truncate(time.Second).Add(time.Second).Sub(now)
	}
	return 0
}
