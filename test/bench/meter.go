package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"
)

// contender is what takes part in the comparison: the floor, or the client under one operation.
type contender interface {
	name() string
	// workers returns what has to run side by side for so many callers, once, from now on for about
	// the given time.
	workers(callers int, duration time.Duration) ([]worker, error)
}

// base is a contender that the others are compared with.
type base interface {
	contender
	// bytesPerOperation returns the bytes that an operation receives, if that matters.
	bytesPerOperation() float64
	close() error
}

// worker is the part of a contender that runs in one goroutine.
type worker interface {
	// run works until stop, and returns the number of operations that succeeded: at least one, or an
	// error.
	run(stop *atomic.Bool) (operations int, err error)
	// times returns the latencies measured by run, which the worker does not use any more.
	times() *hdrhistogram.Histogram
}

// slice is what was measured while a contender had the machine.
type slice struct {
	operations int
	elapsed    time.Duration
	cpu        float64 // seconds
	serverCPU  float64 // seconds
	mallocs    uint64
	bytes      uint64
	latency    *hdrhistogram.Histogram
}

func (s *slice) rate() float64 { return float64(s.operations) / s.elapsed.Seconds() }

// perOperation divides an amount by the number of operations.
func (s *slice) perOperation(amount float64) float64 { return amount / float64(s.operations) }

// meter measures slices, one at a time.
type meter struct {
	// serverCPU returns the CPU time used by the server so far, in seconds.
	serverCPU func() (float64, error)
}

// measure lets a contender run for the given time. The workers' goroutines wait at a gate until all
// counters are read, so that their creation is not measured.
func (m *meter) measure(c contender, callers int, duration time.Duration) (*slice, error) {
	workers, err := c.workers(callers, duration)
	if err != nil {
		return nil, err
	}
	runtime.GC()
	gate := make(chan struct{})
	crew := start(workers, gate)
	s, err := m.observe(func() {
		timer := time.AfterFunc(duration, func() { crew.stop.Store(true) })
		defer timer.Stop()
		close(gate)
		crew.running.Wait()
	})
	if err = errors.Join(err, firstOf(crew.errs)); err != nil {
		return nil, fmt.Errorf("%s with %d callers: %w", c.name(), callers, err)
	}
	s.latency = newLatency()
	for i, w := range workers {
		s.operations += crew.operations[i]
		s.latency.Merge(w.times())
	}
	return s, nil
}

// observe reads all counters before and after the work. Those whose reading itself costs something
// are read further away from it.
func (m *meter) observe(work func()) (*slice, error) {
	var before, after runtime.MemStats
	serverBefore, errBefore := m.serverCPU()
	runtime.ReadMemStats(&before)
	cpuBefore, began := processCPU(), time.Now()
	work()
	elapsed, cpu := time.Since(began), processCPU()-cpuBefore
	runtime.ReadMemStats(&after)
	serverAfter, errAfter := m.serverCPU()
	return &slice{
		elapsed: elapsed, cpu: cpu, serverCPU: serverAfter - serverBefore,
		mallocs: after.Mallocs - before.Mallocs, bytes: after.TotalAlloc - before.TotalAlloc,
	}, errors.Join(errBefore, errAfter)
}

// crew is the goroutines of a slice. Each writes only its own elements, which are read after all have
// ended.
type crew struct {
	stop       atomic.Bool
	running    sync.WaitGroup
	operations []int
	errs       []error
}

// start lets the workers run once the gate is closed. The first that fails stops them all.
func start(workers []worker, gate <-chan struct{}) *crew {
	c := &crew{operations: make([]int, len(workers)), errs: make([]error, len(workers))}
	for i, w := range workers {
		c.running.Go(func() {
			<-gate
			c.operations[i], c.errs[i] = w.run(&c.stop)
			if c.errs[i] != nil {
				c.stop.Store(true)
			}
		})
	}
	return c
}

// firstOf returns one of the errors and says how many more there are, since callers tend to fail alike.
func firstOf(errs []error) error {
	var first error
	failed := 0
	for _, err := range errs {
		if err != nil {
			failed++
			first = cmp.Or(first, err)
		}
	}
	if failed > 1 {
		return fmt.Errorf("%w (and %d more)", first, failed-1)
	}
	return first
}
