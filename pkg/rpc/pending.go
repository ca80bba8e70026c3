package rpc

import (
	"math/bits"
	"sync"
	"time"
)

// call is a Request in the hands of a connection, of which it is a part: so it costs no memory of its own.
// The caller owns it, except between its entry into the table of pending calls and its removal, when whoever
// removes it must finish it.
type call struct {
	request *Request
	users   *sync.WaitGroup // the goroutines of the pool that done was made for
	end     uint64          // position of the frame's last byte in the stream of the connection, plus one
	began   time.Time       // when it entered the table, if it is a sample of the node's latency
	done    chan struct{}   // capacity 1; the finisher sends once, as the last thing it does
	err     error           // set by the finisher before it sends
	slot    int
	tick    uint32 // of the sweep when it entered the table
}

// begin returns the request's call, ready for a connection of the pool with the given goroutines. The channel
// serves all calls of a request that is used again, except that of a copy, which may be under way together
// with the original, and that of another pool, which may live in another synctest bubble, where it could
// not be used.
func (q *Request) begin(users *sync.WaitGroup) *call {
	if q.call.request != q || q.call.users != users {
		q.call = call{request: q, users: users, done: make(chan struct{}, 1)}
	}
	return &q.call
}

// outOfTime says whether the call has a deadline that has passed.
func (c *call) outOfTime(now time.Time) bool {
	until := c.request.Deadline
	return !until.IsZero() && !now.Before(until)
}

// finish hands the call back to its caller. Only who removed it from the table may do so.
func (c *call) finish(err error) {
	c.err = err
	c.done <- struct{}{}
}

// sample records the latency of the call, if it is a sample. Calls that are given up count as well:
// without them slow answers would seem to be rare.
func (c *call) sample(l *latency) {
	if !c.began.IsZero() {
		l.record(time.Since(c.began))
		c.began = time.Time{}
	}
}

// pendingCalls is the table of the calls in flight on one connection. The connection's mutex guards
// it. A sequence id holds a slot in its low bits and that slot's generation above.
type pendingCalls struct {
	slots    []slot
	free     []int // slots ready for use, the last used on top: its memory is likely in the cache
	inFlight int
	window   int
	slotBits int
}

type slot struct {
	call       *call
	generation uint32
	abandoned  uint32 // calls that were given up here and whose answers may still come
}

func newPendingCalls(window int) pendingCalls {
	// One more than the window, so that no slot gets the number of onewaySequence.
	return pendingCalls{window: window, slotBits: bits.Len(uint(window))}
}

// onewaySequence is the id of requests that get no answer. Its slot is never used, so should a
// server answer nevertheless, nobody is taken for the addressee.
const onewaySequence int32 = -1

// add enters a call, for which the caller made sure there is room, and returns its sequence id. It
// is false if every remaining slot waits for answers to abandoned calls; the connection is worn out
// then.
func (p *pendingCalls) add(c *call) (seq int32, ok bool) {
	if len(p.free) == 0 {
		if len(p.slots) == p.window {
			return 0, false
		}
		p.free = append(p.free, len(p.slots))
		p.slots = append(p.slots, slot{})
	}
	last := len(p.free) - 1
	index := p.free[last]
	p.free = p.free[:last]
	s := &p.slots[index]
	s.call, c.slot = c, index
	p.inFlight++
	return int32(s.generation<<p.slotBits | uint32(index)), true
}

// take removes and returns the call that an answer is for, or nil if there is none: it was given up,
// answered before, or never made. late tells which: true if such an answer was due.
func (p *pendingCalls) take(seq int32) (c *call, late bool) {
	index := int(uint32(seq) & (1<<p.slotBits - 1))
	if index >= len(p.slots) {
		return nil, false
	}
	s := &p.slots[index]
	generation := uint32(seq) >> p.slotBits
	if s.call != nil && s.generation == generation {
		c = s.call
		p.release(index)
		return c, false
	}
	if s.abandoned == 0 || generation >= s.generation {
		return nil, false
	}
	s.abandoned--
	if s.abandoned == 0 && p.exhausted(s) {
		p.reopen(index)
	}
	return nil, true
}

// giveUp removes a call whose answer may still come. It is false if the call was removed before,
// which means that its finisher is about to finish it.
func (p *pendingCalls) giveUp(c *call) bool {
	if c.slot >= len(p.slots) || p.slots[c.slot].call != c {
		return false
	}
	p.slots[c.slot].abandoned++
	p.release(c.slot)
	return true
}

// release ends a slot's generation and returns the slot to service, unless all generations are used
// up and the answer to an abandoned one may still come: reusing its id could deliver that answer to
// the wrong caller.
func (p *pendingCalls) release(index int) {
	s := &p.slots[index]
	s.call = nil
	s.generation++
	p.inFlight--
	if !p.exhausted(s) {
		p.free = append(p.free, index)
	} else if s.abandoned == 0 {
		p.reopen(index)
	}
}

// exhausted says whether the slot has used every generation that its ids can carry.
func (p *pendingCalls) exhausted(s *slot) bool { return s.generation == 1<<(32-p.slotBits) }

// reopen starts a slot's generations anew.
func (p *pendingCalls) reopen(index int) {
	p.slots[index].generation = 0
	p.free = append(p.free, index)
}

// drain removes and returns every call.
func (p *pendingCalls) drain() []*call {
	calls := make([]*call, 0, p.inFlight)
	for i := range p.slots {
		if c := p.slots[i].call; c != nil {
			calls = append(calls, c)
		}
	}
	p.slots, p.free, p.inFlight = nil, nil, 0
	return calls
}
