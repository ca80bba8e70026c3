package retry

import (
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Defaults of a [Policy].
const (
	// DefaultInitialBackoff is the first pause, before jitter. It is short because most causes, a
	// split's switch-over among them, are over in milliseconds.
	DefaultInitialBackoff = 8 * time.Millisecond
	// DefaultMaxBackoff is the longest pause, jitter included.
	DefaultMaxBackoff = time.Second
	// DefaultBackoffMultiplier is the factor from one pause to the next.
	DefaultBackoffMultiplier = 2.0
	// DefaultJitter is the share by which a pause is randomly shortened or lengthened.
	DefaultJitter = 0.5
)

// Ranges of a Policy's settings. Values outside are mistakes in units; shorter pauses are spinning.
const (
	shortestBackoff   = time.Microsecond
	longestBackoff    = time.Hour
	highestMultiplier = 100
)

// ErrPolicy is in the chain of every error that [Policy.Validate] returns.
var ErrPolicy = errors.New("retry: invalid policy")

// Policy holds the settings by which operations are retried. A zero field stands for its default,
// so the zero Policy is ready to use. Many goroutines may share a Policy; it must not be changed
// once an operation has started with it.
type Policy struct {
	// MaxAttempts bounds how often one operation is sent, the first time included. 1 means never to
	// retry. Default 0: as often as the deadline and the budget permit. An operation without a
	// deadline should have one or the other, or it may wait for ever.
	MaxAttempts int
	// InitialBackoff is the first pause, before jitter, from 1 µs to MaxBackoff. Default
	// DefaultInitialBackoff, 8 ms, or MaxBackoff if that is shorter.
	InitialBackoff time.Duration
	// MaxBackoff is the longest pause, jitter included, at most 1 h. Default DefaultMaxBackoff,
	// 1 s.
	MaxBackoff time.Duration
	// BackoffMultiplier is the factor from one pause to the next, 1 to 100. Default
	// DefaultBackoffMultiplier, 2.
	BackoffMultiplier float64
	// Jitter is the share by which each pause is randomly shortened or lengthened, more than 0 and
	// less than 1. Default DefaultJitter, 0.5. It cannot be turned off: it keeps clients that failed
	// together from coming back together.
	Jitter float64
	// RetryBusy makes ERR_BUSY from a replica server a reason to back off and retry. Default false:
	// the server is throttling, and the caller, who knows what can be dropped, is told at once.
	RetryBusy bool
	// Budget is the token bucket that every retry is paid from, one for all operations of a client.
	// Default nil: unlimited.
	Budget *Budget
}

// Validate returns nil, or an error that names every setting outside its range. The error matches
// [ErrPolicy].
func (p *Policy) Validate() error {
	s := p.withDefaults()
	return errors.Join(
		check(s.MaxAttempts >= 0,
			"MaxAttempts is %d, want 0 or more", s.MaxAttempts),
		check(s.MaxBackoff >= shortestBackoff && s.MaxBackoff <= longestBackoff,
			"MaxBackoff is %v, want %v to %v", s.MaxBackoff, shortestBackoff, longestBackoff),
		check(s.InitialBackoff >= shortestBackoff && s.InitialBackoff <= s.MaxBackoff,
			"InitialBackoff is %v, want %v to MaxBackoff", s.InitialBackoff, shortestBackoff),
		check(s.BackoffMultiplier >= 1 && s.BackoffMultiplier <= highestMultiplier,
			"BackoffMultiplier is %v, want 1 to %v", s.BackoffMultiplier, highestMultiplier),
		check(s.Jitter > 0 && s.Jitter < 1,
			"Jitter is %v, want more than 0 and less than 1", s.Jitter),
		check(s.Budget.validate() == nil, "Budget: %w", s.Budget.validate()),
	)
}

// check returns nil if ok, or else an error of the given text. The conditions passed to it are
// written so that NaN fails them.
func check(ok bool, format string, values ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: "+format, append([]any{ErrPolicy}, values...)...)
}

// withDefaults returns a copy in which zero fields are replaced by their defaults.
func (p *Policy) withDefaults() Policy {
	var s Policy
	if p != nil {
		s = *p
	}
	if s.MaxBackoff == 0 {
		s.MaxBackoff = DefaultMaxBackoff
	}
	if s.InitialBackoff == 0 {
		s.InitialBackoff = min(DefaultInitialBackoff, s.MaxBackoff)
	}
	if s.BackoffMultiplier == 0 {
		s.BackoffMultiplier = DefaultBackoffMultiplier
	}
	if s.Jitter == 0 {
		s.Jitter = DefaultJitter
	}
	return s
}

// Decide is the function [Decide] under this policy: RetryBusy applies.
func (p *Policy) Decide(row Row, outcome Outcome, idempotent bool) Action {
	if p != nil && p.RetryBusy && row.Overload {
		row.Action = BackOff
	}
	return Decide(row, outcome, idempotent)
}

// Start returns the patience of a new operation. It allocates nothing. The policy should have passed
// Validate; the back-off settings of one that did not are replaced by the defaults, so that a
// mistake cannot make the client spin.
func (p *Policy) Start() Patience {
	return Patience{policy: p}
}

// newBackOff returns the pauses of one operation. ExponentialBackOff caps the interval before
// jitter; here the cap is lower by the jitter, so that the longest pauses stay spread instead of
// being cut to one length at which all clients meet.
func (p *Policy) newBackOff() *backoff.ExponentialBackOff {
	if p.Validate() != nil {
		p = nil
	}
	s := p.withDefaults()
	longest := time.Duration(float64(s.MaxBackoff) / (1 + s.Jitter))
	pauses := &backoff.ExponentialBackOff{
		InitialInterval:     min(s.InitialBackoff, longest),
		MaxInterval:         longest,
		Multiplier:          s.BackoffMultiplier,
		RandomizationFactor: s.Jitter,
		MaxElapsedTime:      0, // never ends by itself: the deadline is for Patience to watch
		Stop:                backoff.Stop,
		Clock:               backoff.SystemClock,
	}
	pauses.Reset() // only this makes InitialInterval the first one
	return pauses
}
