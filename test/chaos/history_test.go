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
	// fewRows that callers share at a time make for conflicts, and manyRows for records that live until they
	// expire.
	fewRows, manyRows = 4, 40
	// A row that so much has happened to is left alone, and another one takes its place. A write in
	// doubt counts for many, because each doubles the number of explanations that may have to be tried.
	rowLife, doubt = 200, 30
	// explaining bounds the time that takes. A history that nobody can explain in this time is a
	// finding, too.
	explaining = time.Minute
)

// histories is a workload: callers share few records and do all operations to them, with all sorts of
// conditions, and what they saw must be explained by records that change in one moment each, and expire.
// Some callers hedge some reads, which may see what the records were before.
type histories struct {
	ticks atomic.Int64 // counts instants: soundly ordered, however many happen in a nanosecond

	kind        string // how the names of the rows begin
	callerCount int
	// through returns how a caller uses the table.
	through func(c *caller) handles

	mu         sync.Mutex
	shared     []sharedRow
	operations []porcupine.Operation
	drops      []span // when all rows were dropped
}

// sharedRow is a row that is in use, and how much has happened to it.
type sharedRow struct {
	hashKey        string
	number, weight int
}

// span is from the call of something to its return.
type span struct{ called, returned instant }

func newHistories(kind string, rows, callers int, through func(c *caller) handles) *histories {
	h := &histories{kind: kind, callerCount: callers, through: through, shared: make([]sharedRow, rows)}
	for i := range h.shared {
		h.next(i)
	}
	return h
}

// contended are histories in which callers are in each other's way.
func contended() *histories { return newHistories("row", fewRows, 9, ofTable) }

// fleeting are histories in which records expire.
func fleeting() *histories { return newHistories("fleeting", manyRows, 4, ofTable) }

// ofTable are the handles of the table that stays.
func ofTable(c *caller) handles { return c.handles }

func (h *histories) callers() int { return h.callerCount }

func (h *histories) work(ctx context.Context, c *caller) {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	on := h.choose(c)
	if c.IntN(8) == 0 {
		h.batch(ctx, c, on)
		return
	}
	_ = h.access(ctx, c, on, h.row(c.IntN(len(h.shared))), operations[c.IntN(len(operations))](c.Rand, c.fresh())) // it may fail
}

// handle is one way to use a table: with reads that may be stale, or not.
type handle struct {
	database
	hedges bool
}

// choose returns a handle that repeats no write. Whoever can hedge does so as often as not.
func (h *histories) choose(c *caller) handle {
	of := h.through(c)
	if of.hedged != nil && c.IntN(2) == 0 {
		return handle{of.hedged, true}
	}
	return handle{of.strict, false}
}

func (h *histories) now() instant { return instant{h.ticks.Inc(), time.Now().Unix()} }

// row returns the hash key of the i-th row that is shared now.
func (h *histories) row(i int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shared[i].hashKey
}

// next has another row take the place of the i-th. The caller holds mu, if others know h.
func (h *histories) next(i int) {
	number := h.shared[i].number + 1
	h.shared[i] = sharedRow{hashKey: fmt.Sprintf("%s %d.%d", h.kind, number, i), number: number}
}

// wear has a row left alone when enough has happened to it. The caller holds mu.
func (h *histories) wear(hashKey string, weight int) {
	for i := range h.shared {
		r := &h.shared[i]
		if r.hashKey != hashKey {
			continue
		}
		if r.weight += weight; r.weight >= rowLife {
			h.next(i)
		}
	}
}

// access makes an operation and adds it to the history.
func (h *histories) access(ctx context.Context, c *caller, on handle, hashKey string, o *operation) error {
	s := step{hashKey: hashKey, operation: o, stale: on.hedges && !o.write, called: h.now()}
	seen, err := o.perform(ctx, on, []byte(hashKey))
	s.returned = h.now()
	h.ended(c, s, seen, err)
	return err
}

// ended adds what has ended to the history: not if it certainly had no effect, and without an end if
// it may have one yet.
func (h *histories) ended(c *caller, s step, seen string, err error) {
	switch end := c.ended(err); {
	case end == took && err == nil:
		h.add(c, s, s.returned.tick, seen)
	case end == mayTake && s.write:
		h.add(c, s, forever, unseen)
	}
}

func (h *histories) add(c *caller, s step, returned int64, seen string) {
	weight := 1
	if seen == unseen {
		weight = doubt
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: c.number, Input: s, Call: s.called.tick, Output: seen, Return: returned})
	h.wear(s.hashKey, weight)
}

// check reads every row once more, so that the last writes must show as well, and explains what was seen.
func (h *histories) check(ctx context.Context, c *caller) {
	for hashKey := range byRow(h.operations) {
		if err := h.access(ctx, c, handle{database: h.through(c).strict}, hashKey, getAll(c.Rand, "")); err != nil {
			c.findings.add("histories: the cluster works, but: %v", err)
			return
		}
	}
	verdict, culprit := explained(h.complete(), explaining)
	if verdict != porcupine.Ok {
		c.findings.add("histories: no order explains what was seen (%s):\n%s", verdict, describe(culprit))
	}
}

// complete returns the history with what happened to all rows. A write in doubt that was sent to a table
// cannot take effect after that was dropped: the next one of its name has other partitions.
func (h *histories) complete() (history []porcupine.Operation) {
	for hashKey, part := range byRow(h.operations) {
		for _, o := range part {
			for _, d := range h.drops {
				if o.Return == forever && d.called.tick > o.Input.(step).returned.tick {
					o.Return = d.returned.tick
				}
			}
			history = append(history, o)
		}
		for _, d := range h.drops {
			history = append(history, porcupine.Operation{
				Input: step{hashKey: hashKey, operation: dropAll, called: d.called, returned: d.returned},
				Call:  d.called.tick, Return: d.returned.tick, Output: "",
			})
		}
	}
	return history
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
		fmt.Fprintf(&text, "\t%s: caller %d from %d to %s, in seconds %d to %d: %s, TTL %d, stale %t: saw %q\n",
			s.hashKey, o.ClientId, o.Call, end, s.called.second, s.returned.second, s.name, s.ttl, s.stale, o.Output)
	}
	return text.String()
}
