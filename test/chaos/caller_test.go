package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// caller is one goroutine that uses the table, with chances of its own.
type caller struct {
	*rand.Rand
	number int
	wrote  int // values made by fresh
	user
	tally    *tally
	findings *findings
}

// workload is one thing that callers do all the time while the cluster is disturbed, and how to tell
// afterwards that it went well.
type workload interface {
	// callers says how many goroutines call work again and again.
	callers() int
	// work does one operation, or few.
	work(ctx context.Context, c *caller)
	// check adds to the findings what is wrong. The cluster works again, and nobody else uses it.
	check(ctx context.Context, c *caller)
}

// fresh returns a value that nobody else writes, and that is no part of another one.
func (c *caller) fresh() string {
	c.wrote++
	return value(c.number, c.wrote)
}

func value(caller, number int) string { return fmt.Sprintf("<%d-%d>", caller, number) }

// patient returns the context of one operation: some callers can wait for longer than faults last,
// others give up before a failover.
func (c *caller) patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 20*time.Millisecond<<c.IntN(7))
}

// tally counts how operations ended.
type tally struct {
	done, notSent, answered, inDoubt atomic.Int64
}

func (t *tally) String() string {
	return fmt.Sprintf("%d done, %d not sent, %d refused, %d in doubt",
		t.done.Load(), t.notSent.Load(), t.answered.Load(), t.inDoubt.Load())
}

// ending is how a write ended, as far as anybody can know.
type ending int

const (
	took    ending = iota // it was carried out
	mayTake               // it may be carried out, now or later
	tookNot               // it was not carried out, and never will be
)

// ended counts an operation, and says what became of it if it was a write.
func (c *caller) ended(err error) ending {
	if err == nil || errors.Is(err, pegasus.ErrNotFound) || errors.Is(err, errPartial) {
		c.tally.done.Inc()
		return took
	}
	out, ok := outcome(err)
	switch {
	case !ok:
		c.findings.add("an error without an outcome: %v", err)
		return mayTake
	case out == pegasus.NotSent:
		c.tally.notSent.Inc()
		return tookNot
	case out == pegasus.Answered:
		c.tally.answered.Inc()
		return tookNot
	}
	c.tally.inDoubt.Inc()
	return mayTake
}
