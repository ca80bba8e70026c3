package retry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// The reasons for which [Patience.Again] refuses a retry, to be compared with errors.Is.
var (
	// ErrDeadline means that the caller's deadline has passed or would pass during the pause. It also
	// matches context.DeadlineExceeded.
	ErrDeadline = fmt.Errorf("retry: no time left to retry: %w", context.DeadlineExceeded)
	// ErrAttempts means that the operation was sent as often as its policy permits.
	ErrAttempts = errors.New("retry: no attempts left")
	// ErrBudget means that too many operations of this client fail for retries to help.
	ErrBudget = errors.New("retry: the client's retry budget is spent")
	// ErrFinal means that the action was not a retry.
	ErrFinal = errors.New("retry: the answer is final")
)

// Patience is the state of one operation: what it has spent of its budgets. It belongs to the
// goroutine that runs the operation and must not be copied once Again was called. It is a small
// value that costs nothing until the first pause. The zero Patience follows the zero Policy.
type Patience struct {
	policy  *Policy
	pauses  *backoff.ExponentialBackOff // made for the first pause
	retries int
	hurried bool // the one retry without a pause has been used
}

// Attempts returns how often the operation has been sent, counting the attempt that Again permitted
// last. It is 1 before the first retry.
func (p *Patience) Attempts() int {
	return 1 + p.retries
}

// Fork returns the patience of a part of the operation that goes on by itself. It has spent as many
// attempts; its pauses begin anew.
func (p *Patience) Fork() Patience {
	return Patience{policy: p.policy, retries: p.retries, hurried: p.hurried}
}

// Again asks for one more attempt, now, after one that called for the given action. It returns the
// pause to make before it, or ErrFinal, ErrAttempts, ErrDeadline or ErrBudget. A zero deadline means
// none. A pause that would last up to the deadline or beyond is refused at once, since the attempt
// after it could not be answered. A refused retry takes no token from the budget.
//
// RetryHere never pauses. Refresh and AskOthers do not the first time, so that a stale route costs
// one round trip; after that they back off like BackOff does, because routing that is still wrong
// right after a refresh takes time to mend.
func (p *Patience) Again(now, deadline time.Time, action Action) (wait time.Duration, err error) {
	if action == Return || action > AskOthers {
		return 0, ErrFinal
	}
	if most := p.maxAttempts(); most > 0 && p.Attempts() >= most {
		return 0, ErrAttempts
	}
	wait = p.pause(action)
	if !deadline.IsZero() && !now.Add(wait).Before(deadline) {
		return 0, ErrDeadline
	}
	if p.policy != nil && !p.policy.Budget.Spend() {
		return 0, ErrBudget
	}
	p.retries++
	return wait, nil
}

func (p *Patience) maxAttempts() int {
	if p.policy == nil {
		return 0
	}
	return p.policy.MaxAttempts
}

// pause returns how long to wait before acting, and advances the back-off.
func (p *Patience) pause(action Action) time.Duration {
	if action == RetryHere {
		return 0
	}
	if action != BackOff && !p.hurried {
		p.hurried = true
		return 0
	}
	if p.pauses == nil {
		p.pauses = p.policy.newBackOff()
	}
	return p.pauses.NextBackOff()
}

// Sleep waits for the pause d, or until wake is closed or delivers, whichever comes first: a request
// whose routing was superseded need not wait any longer. A nil wake never does. Sleep returns nil,
// or ctx's error as soon as ctx is done, also if d is not positive. It leaves no timer behind.
func Sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err()
}
