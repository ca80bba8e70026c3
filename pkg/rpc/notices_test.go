package rpc

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// newNotices returns Notices whose goroutines are waited for at the end of the test.
func newNotices(t *testing.T) *Notices {
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	return &Notices{Start: func(run func()) bool {
		running.Go(run)
		return true
	}}
}

// Notices that are added with a mutex held are called in the order in which it was held, one at a time,
// however often the goroutine has come and gone meanwhile.
func TestNoticesAreInOrder(t *testing.T) {
	const adders, each = 8, 500
	n := newNotices(t)
	var mu sync.Mutex
	var added int
	var called []int // no mutex: the race detector would tell of two calls at a time
	finished := make(chan struct{})
	var adding sync.WaitGroup
	for range adders {
		adding.Go(func() {
			for range each {
				mu.Lock()
				number := added
				added++
				for !n.Add(func() {
					if called = append(called, number); len(called) == adders*each {
						close(finished)
					}
				}) {
					runtime.Gosched() // there is no room
				}
				mu.Unlock()
				runtime.Gosched()
			}
		})
	}
	adding.Wait()
	<-finished
	for i, number := range called {
		require.Equal(t, i, number)
	}
}

// A notice that hangs delays nobody but those that follow it, of which there are only so many.
func TestNoticesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, called, hang := newNotices(t), 0, make(chan struct{})
		require.True(t, n.Add(func() { <-hang }))
		synctest.Wait()
		for range maxNotices {
			require.True(t, n.Add(func() { called++ }))
		}
		require.False(t, n.Add(func() { called++ }))
		synctest.Wait()
		require.Zero(t, called)
		close(hang)
		synctest.Wait()
		require.Equal(t, maxNotices, called)
		require.True(t, n.Add(func() { called++ }))
		synctest.Wait()
		require.Equal(t, maxNotices+1, called)
	})
}

// A notice may add another one, also as the last thing that is done.
func TestNoticesMayAddNotices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, left := newNotices(t), 10
		var again func()
		again = func() {
			if left--; left > 0 && !n.Add(again) {
				t.Error("it was left out")
			}
		}
		require.True(t, n.Add(again))
		synctest.Wait()
		require.Zero(t, left)
	})
}

// What nobody can call is left out, and does not come later.
func TestNoticesThatCannotBeCalled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n, able, called := newNotices(t), false, 0
		start := n.Start
		n.Start = func(run func()) bool { return able && start(run) }
		require.False(t, n.Add(func() { called++ }))
		able = true
		require.True(t, n.Add(func() { called += 10 }))
		synctest.Wait()
		require.Equal(t, 10, called)
	})
}

// Close waits for the notice that is being told, and tells nothing afterwards.
func TestPoolNotify(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		told := 0
		r.pool.Notify(func() {
			time.Sleep(time.Second)
			told++
		})
		synctest.Wait()
		began := time.Now()
		require.NoError(t, r.pool.Close(context.Background()))
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, 1, told)
		r.pool.Notify(func() { told++ })
		synctest.Wait()
		require.Equal(t, 1, told)
	})
}
