package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"
)

// openLoop begins operations when their time has come, whatever has become of those before.
type openLoop struct {
	limit int // operations under way at once
	sleep func(nanoseconds int64) error
}

// openSlice is what was measured in one slice of an open loop.
type openSlice struct {
	arrived   int
	succeeded int
	failed    int
	overflow  int   // arrivals that were turned away because too many operations were under way
	failure   error // one of those that failed
	elapsed   time.Duration
	latency   *hdrhistogram.Histogram // of all arrivals
	late      *hdrhistogram.Histogram // by how much the generator missed the intended times
	cpu       float64                 // seconds
	server    usage                   // of this slice
	hedges    uint64                  // reads for which a secondary was asked,
	hedgesWon uint64                  // and those that it answered first
}

// fate is what became of one arrival.
type fate struct {
	took    time.Duration // from its intended time to its end
	late    time.Duration // from its intended time to its beginning
	refused bool          // it was not begun at all
	err     error
}

// run performs the operations of a schedule and waits for the last one. Each runs in a goroutine of its
// own and writes only its own fate. Latency counts from the time for which the operation was scheduled:
// if the generator, the scheduler or the machine is late, that is part of what a user would see.
func (o *openLoop) run(plan schedule, operate func(i int) error) (*openSlice, error) {
	fates := make([]fate, len(plan))
	var underWay atomic.Int64
	var running sync.WaitGroup
	began := time.Now()
	for i, at := range plan {
		if wait := at - time.Since(began); wait > 0 {
			if err := o.sleep(int64(wait)); err != nil {
				running.Wait()
				return nil, err
			}
		}
		f := &fates[i]
		f.late = time.Since(began) - at
		if underWay.Load() >= int64(o.limit) {
			f.refused = true
			continue
		}
		underWay.Inc()
		running.Go(func() {
			f.err = operate(i)
			f.took = time.Since(began) - at
			underWay.Dec()
		})
	}
	running.Wait()
	return sumUp(fates, time.Since(began)), nil
}

// sumUp counts what became of the arrivals. One that was turned away or failed counts among the latencies
// as the longest that can be noted: a client must not look faster by what it does not deliver.
func sumUp(fates []fate, elapsed time.Duration) *openSlice {
	s := &openSlice{arrived: len(fates), elapsed: elapsed, latency: newLatency(), late: newLatency()}
	for i := range fates {
		f := &fates[i]
		noteLatency(s.late, f.late, 1)
		took := f.took
		switch {
		case f.refused:
			s.overflow++
			took = greatestLatency
		case f.err != nil:
			s.failed++
			s.failure = f.err
			took = greatestLatency
		default:
			s.succeeded++
		}
		noteLatency(s.latency, took, 1)
	}
	return s
}
