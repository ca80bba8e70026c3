package rpc

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// queueModel is what the queue promises, in the plainest form: those who wait, in their order.
type queueModel struct {
	queue   admission
	waiting []ticketed
	gone    []int // tickets of those who wait no more
	most    int   // the most that ever waited at once
}

type ticketed struct {
	waiter
	ticket int
}

// Whoever comes first goes first, whoever left is not served, a ticket stays good for its owner and
// nobody else, and memory follows the number of those who wait, however many came and went.
func TestAdmissionQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &queueModel{}
		t.Repeat(map[string]func(*rapid.T){
			"push": m.push, "push more": m.push, "pop": m.pop, "leave": m.leave, "leave again": m.leaveAgain,
			"expire": m.expire, "": m.check,
		})
		require.Len(t, m.queue.drain(), len(m.waiting))
		require.Zero(t, m.queue.waiting)
		require.Empty(t, m.queue.drain())
	})
}

var dawn = time.Unix(0, 0)

func (m *queueModel) push(t *rapid.T) {
	w := waiter{admitted: make(chan error, 1)}
	if life := rapid.IntRange(0, 5).Draw(t, "life"); life > 0 {
		w.until = dawn.Add(time.Duration(life))
	}
	m.waiting = append(m.waiting, ticketed{w, m.queue.push(w)})
	m.most = max(m.most, len(m.waiting))
}

func (m *queueModel) pop(t *rapid.T) {
	if len(m.waiting) == 0 {
		t.Skip("nobody waits")
	}
	if got := m.queue.pop(); got.admitted != m.waiting[0].admitted {
		t.Fatalf("not the first one")
	}
	m.remove(0)
}

func (m *queueModel) leave(t *rapid.T) {
	if len(m.waiting) == 0 {
		t.Skip("nobody waits")
	}
	i := rapid.IntRange(0, len(m.waiting)-1).Draw(t, "who")
	if !m.queue.leave(m.waiting[i].ticket) {
		t.Fatalf("a waiter is not in the queue")
	}
	m.remove(i)
}

func (m *queueModel) leaveAgain(t *rapid.T) {
	if len(m.gone) == 0 {
		t.Skip("nobody is gone")
	}
	if m.queue.leave(rapid.SampledFrom(m.gone).Draw(t, "ticket")) {
		t.Fatalf("somebody leaves twice, or for another")
	}
}

func (m *queueModel) expire(t *rapid.T) {
	now := dawn.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "now")))
	told := m.queue.expire(now, address)
	before := len(m.waiting)
	for i := len(m.waiting) - 1; i >= 0; i-- {
		w := m.waiting[i]
		late := !w.until.IsZero() && !now.Before(w.until)
		if told := len(w.admitted) == 1; told != late {
			t.Fatalf("told %v of a deadline that has passed: %v", told, late)
		}
		if late {
			require.ErrorIs(t, <-w.admitted, context.DeadlineExceeded)
			m.remove(i)
		}
	}
	if told != (len(m.waiting) < before) {
		t.Fatalf("says %v, but %d of %d were told", told, before-len(m.waiting), before)
	}
}

func (m *queueModel) remove(i int) {
	m.gone = append(m.gone, m.waiting[i].ticket)
	m.waiting = slices.Delete(m.waiting, i, i+1)
}

func (m *queueModel) check(t *rapid.T) {
	if m.queue.waiting != len(m.waiting) {
		t.Fatalf("%d wait, want %d", m.queue.waiting, len(m.waiting))
	}
	if len(m.waiting) == 0 && len(m.queue.queue) > 0 {
		t.Fatalf("an empty queue keeps %d places", len(m.queue.queue))
	}
}

// A queue that is never empty, as on a connection that is overloaded for days, does not grow.
func TestAdmissionQueueDoesNotGrowForEver(t *testing.T) {
	var a admission
	for range 10 {
		a.push(waiter{admitted: make(chan error, 1)})
	}
	for range 10_000 {
		a.push(waiter{admitted: make(chan error, 1)})
		a.pop()
	}
	require.Equal(t, 10, a.waiting)
	require.LessOrEqual(t, cap(a.queue), 64)
}

// Neither does one in which nobody is ever served because all leave in time.
func TestAdmissionQueueForgetsThoseWhoLeft(t *testing.T) {
	var a admission
	last := a.push(waiter{admitted: make(chan error, 1)})
	for range 10_000 {
		next := a.push(waiter{admitted: make(chan error, 1)})
		require.True(t, a.leave(last))
		last = next
	}
	require.Equal(t, 1, a.waiting)
	require.LessOrEqual(t, cap(a.queue), 64)
}

// A crowd's memory does not stay when it has left, at once or little by little, whether or not somebody
// always waits.
func TestAdmissionQueueLetsGoOfMemory(t *testing.T) {
	const crowd = 100_000
	crowded := func() *admission {
		a := new(admission)
		for range crowd {
			a.push(waiter{admitted: make(chan error, 1)})
		}
		return a
	}
	a := crowded()
	a.drain()
	require.LessOrEqual(t, cap(a.queue), keptWaiters)

	a = crowded()
	for range crowd - 10 {
		a.pop()
	}
	last := make([]chan error, 10)
	for n := range 2 * crowd { // ten wait all the time, in their order
		next := waiter{admitted: make(chan error, 1)}
		a.push(next)
		first := a.pop()
		if n >= len(last) {
			require.Equal(t, last[n%len(last)], first.admitted)
		}
		last[n%len(last)] = next.admitted
	}
	require.Equal(t, 10, a.waiting)
	require.LessOrEqual(t, cap(a.queue), keptWaiters)

	a = new(admission)
	for range keptWaiters / 2 {
		a.push(waiter{admitted: make(chan error, 1)})
	}
	size := cap(a.queue)
	a.drain()
	require.Equal(t, size, cap(a.queue), "a usual crowd finds its memory again")
}
