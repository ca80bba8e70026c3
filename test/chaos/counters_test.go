package chaos

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"go.uber.org/atomic"
)

// counters is a workload: callers add to shared counters, and the totals must be what was
// acknowledged, plus at most what is in doubt.
type counters struct {
	counters [6]struct {
		acknowledged, doubtful atomic.Int64
	}
	mu   sync.Mutex
	sums map[counted]int // the caller that was told of a sum, which nobody else may be
}

type counted struct {
	counter int
	sum     int64
}

func newCounters() *counters { return &counters{sums: make(map[counted]int)} }

func (*counters) callers() int { return 4 }

func (*counters) hashKey(i int) []byte { return fmt.Appendf(nil, "counter %d", i) }

func (w *counters) work(ctx context.Context, c *caller) {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	i, increment, on := c.IntN(len(w.counters)), 1+c.Int64N(100), c.strict
	if c.IntN(2) == 0 {
		on = c.lenient // which must not repeat it either
	} else if c.hedged != nil {
		on = c.hedged // of which only reads may be stale
	}
	sum, err := on.Incr(ctx, w.hashKey(i), nil, increment)
	switch c.ended(err) {
	case took:
		w.counters[i].acknowledged.Add(increment)
		w.told(c, counted{i, sum})
	case mayTake:
		w.counters[i].doubtful.Add(increment)
	}
}

func (w *counters) told(c *caller, sum counted) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if other, before := w.sums[sum]; before {
		c.findings.add("counters: counter %d was %d for callers %d and %d", sum.counter, sum.sum, other, c.number)
	}
	w.sums[sum] = c.number
}

func (w *counters) check(ctx context.Context, c *caller) {
	for i := range w.counters {
		text, err := orAbsent(c.strict.Get(ctx, w.hashKey(i), nil))
		if err != nil {
			c.findings.add("counters: the cluster works, but: %v", err)
			continue
		}
		total, _ := strconv.ParseInt(text, 10, 64) // 0 for one that was never counted up
		least := w.counters[i].acknowledged.Load()
		if most := least + w.counters[i].doubtful.Load(); total < least || total > most {
			c.findings.add("counters: counter %d is %d, not from %d, acknowledged, to %d, doubtful included", i, total, least, most)
		}
	}
}
