package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// sampling is that one in so many operations is timed.
const sampling = 8

// callers is the client under one operation.
type callers struct {
	operation operation
	table     *pegasus.Table
	records   []record
	deadline  time.Duration
}

func (c *callers) name() string { return c.operation.name }

func (c *callers) workers(count int, _ time.Duration) ([]worker, error) {
	workers := make([]worker, count)
	for i := range workers {
		workers[i] = &caller{
			callers: c, random: rand.New(rand.NewPCG(uint64(i), 0)), samples: newSamples(),
			value: make([]byte, 0, len(c.records[0].value)),
		}
	}
	return workers, nil
}

// caller is one goroutine that calls the operation again and again.
type caller struct {
	*callers
	value   []byte             // what AppendGet appends to
	several [10]pegasus.Record // what MultiSet writes
	random  *rand.Rand
	samples samples
}

// run walks through the records from a random one on. They are in random order already.
func (c *caller) run(stop *atomic.Bool) (operations int, err error) {
	next, untimed := c.random.IntN(len(c.records)), c.pause()
	for {
		r := &c.records[next]
		if next++; next == len(c.records) {
			next = 0
		}
		if untimed > 0 {
			untimed--
			err = c.once(r)
		} else {
			untimed = c.pause()
			began := time.Now()
			err = c.once(r)
			c.samples.note(time.Since(began))
		}
		if err != nil {
			return operations, err
		}
		if operations++; stop.Load() {
			return operations, nil
		}
	}
}

// pause returns how many operations are not timed until the next that is. It is random, so that
// samples do not fall into step with anything.
func (c *caller) pause() int {
	if c.operation.slow {
		return 0
	}
	return c.random.IntN(2*sampling - 1)
}

func (c *caller) once(r *record) error {
	ctx := context.Background()
	if c.deadline == 0 {
		return c.operation.call(ctx, c, r)
	}
	ctx, cancel := context.WithTimeout(ctx, c.deadline)
	defer cancel()
	return c.operation.call(ctx, c, r)
}

func (c *caller) times() *hdrhistogram.Histogram {
	c.samples.flush()
	return c.samples.latency
}
