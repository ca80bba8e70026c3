package pegasus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// newThrottle returns a throttle that tells nobody.
func newThrottle(settings AdaptiveRate) *throttle {
	return &throttle{settings: settings, changed: func(RateChange) {}}
}

// ask has so many requests pass a throttle, one in each gap.
func (h *throttle) ask(t *testing.T, count int, gap time.Duration) {
	t.Helper()
	for range count {
		_, err := h.turn(time.Now().Add(time.Hour), false)
		require.NoError(t, err)
		time.Sleep(gap)
	}
}

// The rate begins with a share of what was asked for in the last second, whatever there was before that.
func TestRateBeginsWithTheDemand(t *testing.T) {
	for name, test := range map[string]struct {
		before func(t *testing.T, h *throttle)
		want   float64
	}{
		"nothing before": {func(*testing.T, *throttle) {}, 500},
		"a few before":   {func(t *testing.T, h *throttle) { h.ask(t, 3, time.Second/10) }, 500},
		"as many before": {func(t *testing.T, h *throttle) { h.ask(t, 3000, time.Millisecond) }, 1000},
		"more before":    {func(t *testing.T, h *throttle) { h.ask(t, 30_000, time.Second/10_000) }, 5500},
		"idle for long before": {func(t *testing.T, h *throttle) {
			h.ask(t, 3000, time.Millisecond)
			time.Sleep(time.Hour)
		}, 500},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newThrottle(AdaptiveRate{Backoff: 0.5, Recovery: 0.1, MinRate: 1})
				test.before(t, h)
				h.ask(t, 500, time.Millisecond) // for half a second
				h.busy()
				require.True(t, h.limited.Load())
				require.InEpsilon(t, test.want/2, h.rate, 0.1)
			})
		})
	}
}

// Refusals of the same second are about the same second, and count once.
func TestRateFallsOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newThrottle(AdaptiveRate{Backoff: 0.5, Recovery: 0.01, MinRate: 1})
		h.ask(t, 2000, time.Millisecond)
		for range 10 {
			h.busy()
		}
		require.InEpsilon(t, 500, h.rate, 0.1)
		time.Sleep(rateWindow - 1)
		h.busy()
		require.InEpsilon(t, 500, h.rate, 0.1)
		time.Sleep(time.Nanosecond)
		h.busy()
		require.Less(t, h.rate, 300.0)
	})
}

// A rate is a rate: tokens come evenly, and no more than a tenth of a second's are saved.
func TestRateHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newThrottle(AdaptiveRate{Backoff: 0.1, Recovery: 0.01, MinRate: 100})
		h.ask(t, 1000, time.Millisecond)
		h.busy()
		require.InEpsilon(t, 100, h.rate, 0.01)
		deadline := time.Now().Add(time.Second)
		for i := 1; i <= 100; i++ {
			pause, err := h.turn(deadline, false)
			require.NoError(t, err)
			require.InDelta(t, time.Duration(i)*10*time.Millisecond, pause, float64(time.Microsecond))
		}
		_, err := h.turn(deadline, false)
		require.ErrorIs(t, err, ErrBusy)
		_, err = h.turn(deadline.Add(time.Hour), true)
		require.ErrorIs(t, err, ErrBusy, "who may not wait")
		pause, err := h.turn(deadline.Add(time.Hour), false)
		require.NoError(t, err)
		require.InDelta(t, 1010*time.Millisecond, pause, float64(time.Microsecond), "refusals cost nothing")

		time.Sleep(pause + 2*time.Second)
		require.Equal(t, 10, h.passing())

		time.Sleep(2 * time.Second) // ten are saved
		h.busy()
		require.Zero(t, h.passing(), "which count for nothing when the server is busy")
	})
}

// passing returns how many requests pass without waiting.
func (h *throttle) passing() (count int) {
	for {
		if pause, err := h.turn(time.Now(), true); err != nil || pause > 0 {
			return count
		}
		count++
	}
}

// A rate of less than one in the share of a second that may be saved lets one pass all the same.
func TestLowRateLetsOnePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newThrottle(AdaptiveRate{Backoff: 0.5, Recovery: 0.01, MinRate: 1})
		h.busy()
		require.Zero(t, h.passing())
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, 1, h.passing())
	})
}

// What is held back counts as asked for, but not as what servers were sent: the rate falls from what it was.
func TestRateFallsFromTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newThrottle(AdaptiveRate{Backoff: 0.5, Recovery: 0.01, MinRate: 1})
		h.ask(t, 2000, time.Millisecond)
		h.busy()
		require.InEpsilon(t, 500, h.rate, 0.1)
		h.ask(t, 2000, time.Millisecond)
		h.busy()
		require.InEpsilon(t, 250, h.rate, 0.1)
	})
}

// When the rate has grown far beyond what is asked for, requests are not looked at any more, but not before
// servers had time to be busy again.
func TestRateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newThrottle(AdaptiveRate{Backoff: 0.9, Recovery: 1, MinRate: 1})
		h.ask(t, 200, 10*time.Millisecond)
		h.busy()
		h.ask(t, 199, 10*time.Millisecond)
		require.True(t, h.limited.Load(), "for two seconds at least")
		h.ask(t, 200, 10*time.Millisecond)
		require.False(t, h.limited.Load())
	})
}
