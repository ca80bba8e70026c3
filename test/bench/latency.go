package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency histograms count nanoseconds. Two significant figures tell times apart that differ by 1 %,
// and keep a histogram so small that hundreds do not change how often the garbage collector runs.
const (
	leastLatency       = 100 * time.Nanosecond
	greatestLatency    = 10 * time.Second
	significantFigures = 2
)

func newLatency() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(leastLatency), int64(greatestLatency), significantFigures)
}

// noteLatency records n times the same latency. One beyond the histogram's range counts as its end.
func noteLatency(latency *hdrhistogram.Histogram, took time.Duration, n int) {
	took = min(max(took, leastLatency), greatestLatency)
	_ = latency.RecordValues(int64(took), int64(n)) // fails only out of range
}

// samples collects the latencies of one caller. They go to the histogram many at a time: hundreds of
// histograms touched now and then are never in the processor's cache, and would cost 4 % of a Get.
type samples struct {
	recent  []time.Duration
	latency *hdrhistogram.Histogram
}

const recentSamples = 256

func newSamples() samples {
	return samples{recent: make([]time.Duration, 0, recentSamples), latency: newLatency()}
}

func (s *samples) note(took time.Duration) {
	if s.recent = append(s.recent, took); len(s.recent) == recentSamples {
		s.flush()
	}
}

func (s *samples) flush() {
	for _, took := range s.recent {
		noteLatency(s.latency, took, 1)
	}
	s.recent = s.recent[:0]
}

// departures remembers when the requests in flight on one connection were sent, oldest first. Those
// sent together have one entry.
type departures struct {
	ring  []departure
	first int // index of the oldest
	count int // entries in use
}

type departure struct {
	at       time.Time
	requests int
}

// newDepartures makes room for so many requests in flight, sent one by one.
func newDepartures(inFlight int) departures { return departures{ring: make([]departure, inFlight)} }

// sent notes that requests were sent.
func (d *departures) sent(requests int, at time.Time) {
	d.ring[(d.first+d.count)%len(d.ring)] = departure{at, requests}
	d.count++
}

// answered takes the oldest requests out and records how long they were under way.
func (d *departures) answered(requests int, now time.Time, latency *hdrhistogram.Histogram) {
	for requests > 0 && d.count > 0 {
		oldest := &d.ring[d.first]
		n := min(requests, oldest.requests)
		noteLatency(latency, now.Sub(oldest.at), n)
		requests -= n
		if oldest.requests -= n; oldest.requests == 0 {
			d.first = (d.first + 1) % len(d.ring)
			d.count--
		}
	}
}
