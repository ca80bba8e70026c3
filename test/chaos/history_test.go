package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/atomic"
)

const (
	// rowsAtOnce is the number of rows that callers share at a time.
	rowsAtOnce = 4
	// A row that so much has happened to is left alone, and another one takes its place. A write in
	// doubt counts for many, because each doubles the number of explanations that may have to be tried.
	rowLife, doubt = 200, 30
	// explaining bounds the time that takes. A history that nobody can explain in this time is a
	// finding, too.
	explaining = time.Minute
)

// histories is a workload: callers share few records and do all operations to them, with all sorts of
// conditions, and what they saw must be explained by records that change in one moment each.
type histories struct {
	clock atomic.Int64 // counts moments: soundly ordered, however many happen in a nanosecond

	mu         sync.Mutex
	shared     [rowsAtOnce]struct{ number, weight int }
	operations []porcupine.Operation
}

func (*histories) callers() int { return 10 }

func (h *histories) work(ctx context.Context, c *caller) {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	if c.IntN(8) == 0 {
		h.batch(ctx, c)
		return
	}
	h.access(ctx, c, c.strict, h.row(c.IntN(rowsAtOnce)), operations[c.IntN(len(operations))](c.Rand, c.fresh()))
}

// row returns the hash key of the i-th row that is shared now.
func (h *histories) row(i int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.name(i)
}

// name is row for those who hold mu.
func (h *histories) name(i int) string { return fmt.Sprintf("row %d.%d", h.shared[i].number, i) }

// wear has the i-th row left alone when enough has happened to it. The caller holds mu.
func (h *histories) wear(i int, weight int) {
	r := &h.shared[i]
	if r.weight += weight; r.weight >= rowLife {
		r.number, r.weight = r.number+1, 0
	}
}

// access makes an operation and adds it to the history.
func (h *histories) access(ctx context.Context, c *caller, on database, hashKey string, o *operation) {
	called := h.clock.Inc()
	seen, err := o.perform(ctx, on, []byte(hashKey))
	h.ended(c, step{hashKey, o}, called, h.clock.Inc(), seen, err)
}

// ended adds what has ended to the history: not if it certainly had no effect, and without an end if
// it may have one yet.
func (h *histories) ended(c *caller, s step, called, returned int64, seen string, err error) {
	switch end := c.ended(err); {
	case end == took && err == nil:
		h.add(c, s, called, returned, seen)
	case end == mayTake && s.write:
		h.add(c, s, called, forever, unseen)
	}
}

func (h *histories) add(c *caller, s step, called, returned int64, seen string) {
	weight := 1
	if seen == unseen {
		weight = doubt
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: c.number, Input: s, Call: called, Output: seen, Return: returned})
	for i := range h.shared {
		if h.name(i) == s.hashKey {
			h.wear(i, weight)
		}
	}
}

// check reads every row once more, so that the last writes must show as well, and explains what was seen.
func (h *histories) check(ctx context.Context, c *caller) {
	seen := make(map[string]bool)
	for _, o := range h.operations {
		seen[o.Input.(step).hashKey] = true
	}
	for hashKey := range seen {
		h.access(ctx, c, c.strict, hashKey, getAll(c.Rand, ""))
	}
	verdict, culprit := explained(h.operations, explaining)
	if verdict != porcupine.Ok {
		c.findings.add("histories: no order explains what was seen (%s):\n%s", verdict, describe(culprit))
	}
}

// describe writes a history for people, one operation per line.
func describe(history []porcupine.Operation) string {
	var text strings.Builder
	for _, o := range history {
		s := o.Input.(step)
		end := fmt.Sprint(o.Return)
		if o.Return == forever {
			end = "?"
		}
		fmt.Fprintf(&text, "\t%s: caller %d from %d to %s: %s: saw %q\n", s.hashKey, o.ClientId, o.Call, end, s.name, o.Output)
	}
	return text.String()
}
