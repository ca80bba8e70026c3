package main

import (
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"
)

// woken is the floor with the one thing that no client can do without whose callers wait for their answers:
// each request is a goroutine's, which is put to sleep and woken. What it takes more than the floor is the
// price of the runtime; what the client takes more than it is the price of the client.
type woken struct{ floor *floor }

func (w *woken) name() string { return "woken_" + w.floor.kind.name }

// workers spreads the callers over the connections as the records are spread. Each connection gets a
// goroutine of its own, which ends with the last caller.
func (w *woken) workers(callers int, duration time.Duration) ([]worker, error) {
	if err := w.floor.limit(duration); err != nil {
		return nil, err
	}
	weights := make([]int, len(w.floor.streams))
	for i, s := range w.floor.streams {
		weights[i] = len(s.ends)
	}
	var workers []worker
	for i, share := range shares(callers, weights) {
		if share == 0 {
			continue
		}
		s := &sleepers{stream: w.floor.streams[i], callers: share, asleep: make(chan *sleeper, share)}
		s.called.L = &s.mu
		for range share {
			workers = append(workers, &sleeper{sleepers: s, wake: make(chan struct{}, 1), latency: newLatency()})
		}
		go s.serve()
	}
	return workers, nil
}

// sleepers are the callers of one connection.
type sleepers struct {
	stream *stream
	asleep chan *sleeper // in the order of their requests; never full

	mu      sync.Mutex // guards what follows
	called  sync.Cond  // there is a request to send, or a caller has left
	due     int        // requests to send
	flying  int        // requests sent and not answered
	callers int        // that have not left
	err     error
}

// serve sends the requests, all that there are at a time, and wakes a caller for each answer.
func (s *sleepers) serve() {
	for {
		due, ended := s.collect()
		if ended {
			return
		}
		answered, err := 0, s.stream.send(due)
		if err == nil {
			answered, err = s.stream.receive()
		}
		if err != nil {
			s.fail(err)
			return
		}
		s.mu.Lock()
		s.flying -= answered
		s.mu.Unlock()
		for range answered {
			(<-s.asleep).wake <- struct{}{}
		}
	}
}

// collect lets callers run as long as they make requests, and waits for one if none is under way. It has
// ended when all callers have left.
func (s *sleepers) collect() (due int, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for seen := -1; s.due > seen; {
		seen = s.due
		s.mu.Unlock()
		runtime.Gosched()
		s.mu.Lock()
	}
	for s.due == 0 && s.flying == 0 && s.callers > 0 {
		s.called.Wait()
	}
	due, s.due = s.due, 0
	s.flying += due
	return due, s.flying == 0
}

// fail ends all requests, those to come included.
func (s *sleepers) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
	for range len(s.asleep) {
		(<-s.asleep).wake <- struct{}{}
	}
}

// sleeper is a caller. Answers are taken to come in the order of the requests, so it may be another's that
// wakes it.
type sleeper struct {
	*sleepers
	wake    chan struct{} // capacity 1
	latency *hdrhistogram.Histogram
}

func (c *sleeper) run(stop *atomic.Bool) (operations int, err error) {
	defer c.leave()
	for {
		timed := operations%sampling == 0
		var began time.Time
		if timed {
			began = time.Now()
		}
		if err := c.call(); err != nil {
			return operations, err
		}
		<-c.wake
		if timed {
			noteLatency(c.latency, time.Since(began), 1)
		}
		if operations++; stop.Load() {
			return operations, c.failure()
		}
	}
}

func (c *sleeper) call() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due++
	c.asleep <- c
	if c.flying == 0 {
		c.called.Signal()
	}
	return c.err
}

func (c *sleeper) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *sleeper) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.callers--
	c.called.Signal()
}

func (c *sleeper) times() *hdrhistogram.Histogram { return c.latency }
