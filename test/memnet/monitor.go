package memnet

import (
	"sync"
	"time"
)

// monitor is a mutex whose holder can wait for a change or for a moment. All
// waiting in this package is done here. It is a sync.Cond and a timer, because
// both of them block durably in a bubble of testing/synctest; for the same
// reason nobody may hold the mutex while it waits for anything else.
type monitor struct {
	mu      sync.Mutex
	changed sync.Cond
}

// init makes m ready for use. A monitor must not be copied afterwards.
func (m *monitor) init() { m.changed.L = &m.mu }

// wait releases the mutex until somebody broadcasts or the earliest of the
// moments has come, and takes it again. A zero moment never comes. Like
// sync.Cond.Wait it may return early, so it belongs in a loop.
func (m *monitor) wait(moments ...time.Time) {
	if next := earliest(moments); !next.IsZero() {
		defer time.AfterFunc(time.Until(next), m.notify).Stop()
	}
	m.changed.Wait()
}

// notify wakes all who wait. It takes the mutex, because a timer may fire
// before the one who set it waits: it holds the mutex until it does.
func (m *monitor) notify() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed.Broadcast()
}

// earliest returns the first of the moments that are not zero, or zero.
func earliest(moments []time.Time) (first time.Time) {
	for _, moment := range moments {
		if first.IsZero() || (!moment.IsZero() && moment.Before(first)) {
			first = moment
		}
	}
	return first
}

// reached reports whether the moment, if there is one, has come.
func reached(moment time.Time) bool {
	return !moment.IsZero() && !time.Now().Before(moment)
}
