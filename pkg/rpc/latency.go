package rpc

import (
	"math/bits"
	"sync"
	"time"
)

const (
	// latencySample is one in how many calls of a connection is timed, a power of two.
	latencySample = 8
	// latencyWindow is the number of samples after which each counts half: what is known about a node
	// should follow it within seconds, and a rare slow answer should not be forgotten at once.
	latencyWindow = 1024
	// latencyEnough is the number of samples below which nothing is known about a node.
	latencyEnough = 32
	// Each power of two has so many buckets, which bounds the error to a quarter.
	bucketsPerDouble = 4
	latencyBuckets   = 26 * bucketsPerDouble // to more than a minute
)

// latency is a decaying distribution of how long reads take on one node. The zero value is ready.
type latency struct {
	mu      sync.Mutex // taken for nanoseconds, by one in latencySample reads, and by each that may be hedged
	counts  [latencyBuckets]uint32
	samples uint32

	asked   float64       // the quantile last asked for,
	answer  time.Duration // what it was,
	answers uint32        // and how many samples came since
}

// Latencies is the distribution of how long the latest of something took. The zero value is ready. All
// methods are for concurrent use.
type Latencies struct{ latency latency }

// Record adds one.
func (l *Latencies) Record(d time.Duration) { l.latency.record(d) }

// Quantile returns the time that the given share, 0 to 1, took at most, or up to a quarter more. It is false
// while fewer than 32 are known.
func (l *Latencies) Quantile(share float64) (time.Duration, bool) { return l.latency.quantile(share) }

// record adds a sample.
func (l *latency) record(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[bucketOf(d)]++
	l.samples++
	l.answers++
	if l.samples < latencyWindow {
		return
	}
	l.samples = 0
	for i := range l.counts {
		l.counts[i] /= 2
		l.samples += l.counts[i]
	}
}

// quantile returns the latency that the given share of the reads does not exceed, at most a quarter
// too long. It is false while too little is known. It is worked out anew once in 32 samples.
func (l *latency) quantile(share float64) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.samples < latencyEnough {
		return 0, false
	}
	if l.asked == share && l.answers < latencyEnough {
		return l.answer, true
	}
	l.asked, l.answers = share, 0
	left := int64(share * float64(l.samples))
	for i, count := range l.counts {
		if left -= int64(count); left < 0 {
			l.answer = bucketEnd(i)
			return l.answer, true
		}
	}
	l.answer = bucketEnd(latencyBuckets - 1)
	return l.answer, true
}

// Latencies are counted in units of 256 ns, beginning at bucketsPerDouble so that each power of two
// has all its buckets.
const (
	latencyUnitBits  = 8
	doubleOfTheFirst = 2 // 1 << 2 is bucketsPerDouble
)

// bucketOf returns the index of the bucket for a latency.
func bucketOf(d time.Duration) int {
	units := uint64(max(d, 0))>>latencyUnitBits + bucketsPerDouble
	double := bits.Len64(units) - 1 - doubleOfTheFirst
	quarter := int(units>>double) - bucketsPerDouble
	return min(double*bucketsPerDouble+quarter, latencyBuckets-1)
}

// bucketEnd returns the latency at which the bucket after i begins.
func bucketEnd(i int) time.Duration {
	double, quarter := (i+1)/bucketsPerDouble, (i+1)%bucketsPerDouble
	units := uint64(bucketsPerDouble+quarter) << double
	return time.Duration(units-bucketsPerDouble) << latencyUnitBits
}
