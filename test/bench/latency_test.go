package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestDepartures compares with a queue that has one entry for each request.
func TestDepartures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 8).Draw(t, "window")
		d := newDepartures(window)
		got, want := newLatency(), newLatency()
		var queue []time.Time
		now := time.Unix(1000, 0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 1000).Draw(t, "microseconds")) * time.Microsecond)
			if room := window - len(queue); room > 0 && rapid.Bool().Draw(t, "send") {
				n := rapid.IntRange(1, room).Draw(t, "sent")
				d.sent(n, now)
				for range n {
					queue = append(queue, now)
				}
			} else if len(queue) > 0 {
				n := rapid.IntRange(0, len(queue)).Draw(t, "answered")
				d.answered(n, now, got)
				for _, at := range queue[:n] {
					noteLatency(want, now.Sub(at), 1)
				}
				queue = queue[n:]
			}
			require.True(t, want.Equals(got))
		}
	})
}

func TestSurplusAnswersAreIgnored(t *testing.T) {
	d, latency := newDepartures(4), newLatency()
	d.sent(2, time.Unix(0, 0))
	d.answered(5, time.Unix(1, 0), latency)
	require.EqualValues(t, 2, latency.TotalCount())
}

func TestSamples(t *testing.T) {
	s, want := newSamples(), newLatency()
	for i := range recentSamples + 10 {
		took := time.Duration(i+1) * time.Microsecond
		s.note(took)
		noteLatency(want, took, 1)
	}
	require.Len(t, s.recent, 10, "kept apart for the moment")
	require.Equal(t, recentSamples, cap(s.recent))
	s.flush()
	s.flush()
	require.True(t, want.Equals(s.latency))
}

func TestLatencyRange(t *testing.T) {
	latency := newLatency()
	noteLatency(latency, 0, 1)
	noteLatency(latency, time.Hour, 1)
	require.EqualValues(t, 2, latency.TotalCount(), "no time is lost")
	require.InEpsilon(t, greatestLatency, latency.Max(), 0.01)
	require.LessOrEqual(t, latency.Min(), int64(leastLatency))
}

func TestLatencyPrecision(t *testing.T) {
	for _, want := range []time.Duration{2 * time.Microsecond, 123 * time.Microsecond, 45 * time.Millisecond} {
		latency := newLatency()
		noteLatency(latency, want, 3)
		require.InEpsilon(t, want, latency.ValueAtPercentile(50), 0.035, want)
	}
}
