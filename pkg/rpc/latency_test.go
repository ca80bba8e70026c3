package rpc

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Every latency is in a bucket that ends above it, and by a quarter at most.
func TestLatencyBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "latency"))
		end := bucketEnd(bucketOf(d))
		require.Greater(t, end, d)
		require.LessOrEqual(t, end, d+d/4+time.Microsecond)
	})
	for i := range latencyBuckets - 1 {
		require.Equal(t, min(i+1, latencyBuckets-1), bucketOf(bucketEnd(i)), "buckets leave nothing out")
	}
	require.Equal(t, latencyBuckets-1, bucketOf(math.MaxInt64))
	require.Zero(t, bucketOf(-time.Second))
}

func TestLatencyQuantile(t *testing.T) {
	var l latency
	_, known := l.quantile(0.5)
	require.False(t, known)
	samples := make([]time.Duration, latencyWindow-1)
	for i := range samples {
		samples[i] = time.Duration(math.Exp(rand.NormFloat64()) * float64(time.Millisecond))
		l.record(samples[i])
	}
	slices.Sort(samples)
	for _, share := range []float64{0, 0.5, 0.9, 0.95, 0.99, 1} {
		exact := samples[min(int(share*float64(len(samples))), len(samples)-1)]
		got, known := l.quantile(share)
		require.True(t, known)
		if share == 1 {
			require.Equal(t, bucketEnd(latencyBuckets-1), got, "nobody knows how long the longest will be")
			continue
		}
		require.GreaterOrEqual(t, got, exact)
		require.LessOrEqual(t, got, exact*5/4+time.Microsecond)
	}
}

// What a node did long ago is forgotten.
func TestLatencyFollowsTheNode(t *testing.T) {
	var l latency
	for range 10 * latencyWindow {
		l.record(time.Millisecond)
	}
	for range 4 * latencyWindow {
		l.record(100 * time.Millisecond)
	}
	slow, _ := l.quantile(0.1)
	require.GreaterOrEqual(t, slow, 100*time.Millisecond)
}

// The answer is worked out once in a while, and not for each who asks.
func TestLatencyIsWorkedOutNowAndThen(t *testing.T) {
	var l latency
	for range 3 * latencyEnough {
		l.record(time.Millisecond)
	}
	before, _ := l.quantile(0.9)
	for range latencyEnough - 1 {
		l.record(time.Second)
		got, _ := l.quantile(0.9)
		require.Equal(t, before, got)
	}
	other, _ := l.quantile(0.91)
	require.Greater(t, other, time.Second, "unless it was not asked for")
	for range latencyEnough {
		l.record(time.Second)
	}
	got, _ := l.quantile(0.9)
	require.Greater(t, got, time.Second)
}

// Only reads are timed, those included that are given up because the node is silent.
func TestLatencyIsOfReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		name := wire.ErrOK
		serve(t, r.network, answering(&name))
		for range 2 * latencySample {
			require.NoError(t, r.put())
		}
		require.Zero(t, r.node.latency.samples)
		for range latencySample {
			r.call("key")
		}
		require.EqualValues(t, 1, r.node.latency.samples)
	})
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{ReadSilenceLimit: readLimit})
		serve(t, r.network, silence)
		write := r.startWith(newPut("write")) // because of which the connection goes on when reads are given up
		synctest.Wait()
		var reads []*background
		for range latencySample {
			reads = append(reads, r.start("key"))
		}
		for _, read := range reads {
			read.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		}
		require.EqualValues(t, 1, r.node.latency.samples)
		require.Error(t, write.result())
	})
}

// Calls are timed from when they are sent, those that are given up included.
func TestLatencyOfANode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{SilenceLimit: time.Hour})
		const delay = 10 * time.Millisecond
		serve(t, r.network, func(p *peer) {
			for n := 0; ; n++ {
				a, ok := p.next()
				if !ok {
					return
				}
				if a.key == "slow" {
					continue
				}
				time.Sleep(delay)
				p.write(a.answer())
			}
		})
		for range latencySample * (latencyEnough - 1) {
			r.call("key")
		}
		_, known := r.node.Latency(0.5)
		require.False(t, known)
		for range latencySample {
			r.call("key")
		}
		got, known := r.node.Latency(0.5)
		require.True(t, known)
		requireBetween(t, delay, delay/4, got)
		for range 4 * latencySample * latencyEnough {
			c := r.startWith(withDeadline("slow", time.Second))
			require.Error(t, c.result())
		}
		got, _ = r.node.Latency(0.5)
		require.Greater(t, got, time.Second)
	})
}
