package snapshot_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/snapshot"
)

var errGaveUp = errors.New("the caller gave up")

// outcome is what an Await returned.
type outcome struct {
	version *snapshot.Version[int]
	err     error
}

// await calls Await in a goroutine of its own; the outcome arrives in the
// channel. It returns when the goroutine is blocked or done, so it must be
// called inside a synctest bubble.
func await(ctx context.Context, c *snapshot.Cell[int], seen *snapshot.Version[int]) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		v, err := c.Await(ctx, seen)
		done <- outcome{v, err}
	}()
	synctest.Wait()
	return done
}

// cancelled returns a context that is done, with a cause of its own.
func cancelled() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errGaveUp)
	return ctx
}

// What ends a wait: the newer version, the end of the cell, the context.
func TestAwaitEnds(t *testing.T) {
	for name, test := range map[string]struct {
		trigger func(c *snapshot.Cell[int], cancel context.CancelCauseFunc)
		wants   []error
	}{
		"by an update": {
			trigger: func(c *snapshot.Cell[int], _ context.CancelCauseFunc) { c.Update(increment) },
		},
		"by Shut": {
			trigger: func(c *snapshot.Cell[int], _ context.CancelCauseFunc) { c.Shut() },
			wants:   []error{snapshot.ErrShut},
		},
		"by cancelling": {
			trigger: func(_ *snapshot.Cell[int], cancel context.CancelCauseFunc) { cancel(nil) },
			wants:   []error{context.Canceled},
		},
		"by cancelling with a cause": {
			trigger: func(_ *snapshot.Cell[int], cancel context.CancelCauseFunc) { cancel(errGaveUp) },
			wants:   []error{context.Canceled, errGaveUp},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				c := snapshot.New(1)
				done := await(ctx, c, c.Load())
				require.Empty(t, done, "nothing has happened yet")

				test.trigger(c, cancel)
				got := <-done
				if test.wants == nil {
					require.NoError(t, got.err)
					requireVersion(t, got.version, 2, 2, false)
					return
				}
				require.Nil(t, got.version)
				for _, want := range test.wants {
					require.ErrorIs(t, got.err, want)
				}
			})
		})
	}
}

func TestAwaitObeysTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errGaveUp)
		defer cancel()
		c, start := snapshot.New(1), time.Now()
		v, err := c.Await(ctx, c.Load())
		require.Nil(t, v)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errGaveUp)
		require.ErrorContains(t, err, "waiting for a version after 1")
		require.Equal(t, 3*time.Second, time.Since(start), "virtual time")
	})
}

// An update that changes nothing is not news.
func TestAwaitIsNotWokenWithoutChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := snapshot.New(1)
		done := await(t.Context(), c, c.Load())
		c.Update(keep)
		synctest.Wait()
		require.Empty(t, done)
		c.Update(increment)
		requireVersion(t, (<-done).version, 2, 2, false)
	})
}

func TestAwaitWakesEveryWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := snapshot.New(1)
		var all []<-chan outcome
		for range 20 {
			all = append(all, await(t.Context(), c, c.Load()))
		}
		installed, _ := c.Update(increment)
		for _, done := range all {
			require.Equal(t, outcome{version: installed}, <-done)
		}
	})
}

// What is there already is returned without regard to context and Shut, and
// the newest of several.
func TestAwaitReturnsWhatIsThere(t *testing.T) {
	c := snapshot.New(1)
	first := c.Load()
	for range 4 {
		c.Update(increment)
	}
	for _, seen := range []*snapshot.Version[int]{nil, first} {
		v, err := c.Await(cancelled(), seen)
		require.NoError(t, err)
		requireVersion(t, v, 5, 5, false)
	}
	c.Shut()
	for _, seen := range []*snapshot.Version[int]{nil, first} {
		v, err := c.Await(cancelled(), seen)
		require.NoError(t, err)
		requireVersion(t, v, 5, 5, true)
	}
}

// A version that was loaded before Shut and one loaded after it are the same
// one to a waiter, although they are two objects.
func TestAwaitOnAShutCell(t *testing.T) {
	c := snapshot.New(1)
	before := c.Load()
	c.Shut()
	for _, seen := range []*snapshot.Version[int]{before, c.Load()} {
		v, err := c.Await(cancelled(), seen)
		require.Nil(t, v)
		require.ErrorIs(t, err, snapshot.ErrShut)
		require.NotErrorIs(t, err, context.Canceled)
	}
}
