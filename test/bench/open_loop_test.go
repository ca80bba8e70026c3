package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// asleep is the sleep of an open loop in a bubble.
func asleep(nanoseconds int64) error {
	time.Sleep(time.Duration(nanoseconds))
	return nil
}

// play runs an open loop in virtual time, so that every figure is exact.
func play(t *testing.T, loop openLoop, plan schedule, operate func(i int) error) (s *openSlice) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if loop.sleep == nil {
			loop.sleep = asleep
		}
		var err error
		s, err = loop.run(plan, operate)
		require.NoError(t, err)
	})
	require.Equal(t, len(plan), s.arrived)
	require.Equal(t, s.arrived, s.succeeded+s.failed+s.overflow)
	require.EqualValues(t, s.arrived, s.latency.TotalCount(), "no arrival is left out")
	require.EqualValues(t, s.arrived, s.late.TotalCount())
	return s
}

// longer counts the latencies of at least the given time. Those it is called with are far from it.
func longer(s *openSlice, than time.Duration) (count int) {
	for _, bar := range s.latency.Distribution() {
		if bar.From >= int64(than) {
			count += int(bar.Count)
		}
	}
	return count
}

func TestOpenLoop(t *testing.T) {
	s := play(t, openLoop{limit: 10}, evenly(100, 10*time.Second, nil), func(int) error {
		time.Sleep(7 * time.Millisecond)
		return nil
	})
	require.Equal(t, 1000, s.succeeded)
	require.Equal(t, 10*time.Second-3*time.Millisecond, s.elapsed, "until the last one has ended")
	require.InEpsilon(t, 7*time.Millisecond, s.latency.Max(), 0.02)
	require.InEpsilon(t, 7*time.Millisecond, s.latency.ValueAtPercentile(1), 0.02)
	require.Less(t, s.late.Max(), int64(2*leastLatency), "begun in time")
}

// TestCoordinatedOmission has the server stand still for a second. A closed loop would have one operation
// notice; here every operation does that arrives meanwhile, by as much as is left of the second.
func TestCoordinatedOmission(t *testing.T) {
	const rate = 1000
	stall, end := 2*time.Second, 3*time.Second
	plan := evenly(rate, 10*time.Second, nil)
	s := play(t, openLoop{limit: 10 * rate}, plan, func(i int) error {
		if at := plan[i]; at >= stall && at < end {
			time.Sleep(end - at)
			return nil
		}
		time.Sleep(time.Millisecond)
		return nil
	})
	require.InDelta(t, rate*3/4, longer(s, 250*time.Millisecond), rate/50)
	require.InDelta(t, rate/2, longer(s, 500*time.Millisecond), rate/50)
	require.InEpsilon(t, 900*time.Millisecond, s.latency.ValueAtPercentile(99), 0.02, "a tenth of all waited, evenly up to a second")
	require.InEpsilon(t, time.Millisecond, s.latency.ValueAtPercentile(89), 0.02)
	require.InEpsilon(t, time.Second, s.latency.Max(), 0.02)
}

// TestArrivalsDoNotWait lets no operation end before the last has begun.
func TestArrivalsDoNotWait(t *testing.T) {
	const arriving = 500
	synctest.Test(t, func(t *testing.T) {
		var underWay atomic.Int64
		plan := poisson(100, 100*time.Second, seeded(3))[:arriving]
		all := make(chan struct{})
		loop := openLoop{limit: arriving, sleep: asleep}
		s, err := loop.run(plan, func(int) error {
			if underWay.Inc() == arriving {
				close(all)
			}
			<-all
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, arriving, s.succeeded)
		require.Less(t, s.late.Max(), int64(2*leastLatency))
		require.Equal(t, plan[arriving-1], s.elapsed)
	})
}

// TestOverflow offers ten times what may be under way. What is turned away counts, as the longest time.
func TestOverflow(t *testing.T) {
	s := play(t, openLoop{limit: 10}, evenly(100, 10*time.Second, nil), func(int) error {
		time.Sleep(995 * time.Millisecond)
		return nil
	})
	require.Equal(t, 100, s.succeeded)
	require.Equal(t, 900, s.overflow)
	require.Equal(t, 900, longer(s, greatestLatency*9/10))
	require.InEpsilon(t, greatestLatency, s.latency.ValueAtPercentile(50), 0.02)
	require.InEpsilon(t, 995*time.Millisecond, s.latency.ValueAtPercentile(9), 0.02)
}

// TestLateGenerator oversleeps. Users are not interested in whose fault that is.
func TestLateGenerator(t *testing.T) {
	const by = 30 * time.Millisecond
	oversleep := func(nanoseconds int64) error { return asleep(nanoseconds + int64(by)) }
	s := play(t, openLoop{limit: 10, sleep: oversleep}, schedule{time.Second, 2 * time.Second}, func(int) error {
		time.Sleep(time.Millisecond)
		return nil
	})
	require.InEpsilon(t, by, s.late.Min(), 0.02)
	require.InEpsilon(t, by+time.Millisecond, s.latency.Min(), 0.02)

	// Being late once does not move the arrivals that come after.
	first := true
	once := func(nanoseconds int64) error {
		if first {
			first = false
			nanoseconds += int64(by)
		}
		return asleep(nanoseconds)
	}
	s = play(t, openLoop{limit: 1000, sleep: once}, evenly(1000, time.Second, nil), func(int) error { return nil })
	require.InDelta(t, by/time.Millisecond, longer(s, leastLatency*2), 1, "those that should have begun meanwhile")
}

func TestFailuresCount(t *testing.T) {
	failure := errors.New("refused")
	s := play(t, openLoop{limit: 10}, evenly(10, time.Second, nil), func(i int) error {
		if i%5 == 0 {
			return failure
		}
		return nil
	})
	require.Equal(t, 8, s.succeeded)
	require.Equal(t, 2, s.failed)
	require.Equal(t, failure, s.failure)
	require.Equal(t, 2, longer(s, greatestLatency*9/10), "failing at once is not fast")
	require.Equal(t, 10, s.begun())
}

// TestAlarmBreaks wants the operations under way to be waited for even then.
func TestAlarmBreaks(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		loop := openLoop{limit: 10, sleep: func(int64) error { return broken }}
		ended := false
		_, err := loop.run(schedule{0, time.Second}, func(int) error {
			time.Sleep(time.Minute)
			ended = true
			return nil
		})
		require.ErrorIs(t, err, broken)
		require.True(t, ended)
	})
}

func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	require.NoError(t, err)
	for _, d := range []time.Duration{1, 300 * time.Microsecond, 20 * time.Millisecond} {
		began := time.Now()
		require.NoError(t, a.sleep(int64(d)))
		require.GreaterOrEqual(t, time.Since(began), d)
	}
	require.NoError(t, a.close())
}
