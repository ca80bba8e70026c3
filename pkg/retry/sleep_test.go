package retry

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSleep(t *testing.T) {
	for _, c := range []struct {
		name        string
		pause       time.Duration
		wakeAfter   time.Duration // 0: no wake channel
		doneAfter   time.Duration // 0: never
		took        time.Duration
		interrupted bool
	}{
		{name: "the pause", pause: time.Second, took: time.Second},
		{name: "the pause, no news", pause: time.Second, wakeAfter: time.Hour, took: time.Second},
		{name: "news", pause: time.Second, wakeAfter: time.Millisecond, took: time.Millisecond},
		{name: "cancelled", pause: time.Second, doneAfter: time.Millisecond, took: time.Millisecond, interrupted: true},
		{name: "cancelled while waiting for news", pause: time.Hour, wakeAfter: time.Minute, doneAfter: time.Second, took: time.Second, interrupted: true},
		{name: "cancelled too late", pause: time.Second, doneAfter: time.Minute, took: time.Second},
		{name: "no pause"},
		{name: "negative pause", pause: -time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var wake chan struct{}
				if c.wakeAfter > 0 {
					wake = make(chan struct{})
					defer time.AfterFunc(c.wakeAfter, func() { close(wake) }).Stop()
				}
				if c.doneAfter > 0 {
					defer time.AfterFunc(c.doneAfter, cancel).Stop()
				}
				start := time.Now()
				err := Sleep(ctx, c.pause, wake)
				require.Equal(t, c.took, time.Since(start))
				if c.interrupted {
					require.ErrorIs(t, err, context.Canceled)
				} else {
					require.NoError(t, err)
				}
			})
		})
	}
}

// A channel that delivers instead of closing wakes as well.
func TestSleepTakesADelivery(t *testing.T) {
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	require.NoError(t, Sleep(t.Context(), time.Hour, wake))
}

// endedMeanwhile is a context that ends between the first look at it and the second.
type endedMeanwhile struct {
	context.Context
	looks int
}

func (c *endedMeanwhile) Err() error {
	c.looks++
	if c.looks == 1 {
		return nil
	}
	return context.Canceled
}

// The caller's context comes first, whatever else is ready: a retry nobody waits for is not sent.
func TestSleepPrefersTheContext(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	closed := make(chan struct{})
	close(closed)
	for range 100 { // a select among ready channels picks any
		require.ErrorIs(t, Sleep(ended, time.Hour, closed), context.Canceled)
	}
	require.ErrorIs(t, Sleep(ended, 0, nil), context.Canceled)
	require.ErrorIs(t, Sleep(ended, -1, closed), context.Canceled)
	require.ErrorIs(t, Sleep(&endedMeanwhile{Context: t.Context()}, time.Hour, closed), context.Canceled)
}
