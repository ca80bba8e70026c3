package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

func TestPipeliningMatchesAnswersInReverseOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		first, second := r.start("first"), r.start("second")
		a, b := p.mustNext(), p.mustNext()
		p.write(b.answer())
		synctest.Wait()
		require.NotEqual(t, first.ended(), second.ended(), "one of them was answered")
		p.write(a.answer())
		first.requireAnswered(t)
		second.requireAnswered(t)
	})
}

// shuffle collects requests and answers them in random order, some at a time.
func shuffle(p *peer) {
	requests := make(chan asked, 1024)
	defer close(requests)
	go func() {
		var held []asked
		for a := range requests {
			held = append(held, a)
			for len(held) > 64 || len(requests) == 0 && len(held) > 0 {
				i := rand.IntN(len(held))
				p.write(held[i].answer())
				held[i] = held[len(held)-1]
				held = held[:len(held)-1]
			}
		}
	}()
	for a, ok := p.next(); ok; a, ok = p.next() {
		requests <- a
	}
}

func TestPipeliningGivesEachCallerItsOwnAnswer(t *testing.T) {
	const callers, callsEach = 300, 50
	for name, test := range map[string]struct {
		window int
		direct bool // the reader writes for those it wakes
	}{
		"little room": {7, false}, "room for all": {4096, false}, "room for all, direct": {4096, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{Window: test.window})
			serve(t, r.network, shuffle)
			if test.direct {
				require.NoError(t, r.node.Connect(t.Context()))
				setDirect(r.conn())
			}
			var running sync.WaitGroup
			for i := range callers {
				running.Go(func() {
					for n := range callsEach {
						g := newGet(fmt.Sprint("caller ", i, " call ", n))
						if err := r.node.Call(context.Background(), &g.Request); err != nil || !g.right() {
							t.Errorf("%s got %q, %v", g.key, g.value, err)
						}
					}
				})
			}
			running.Wait()
			stats := r.node.Stats()
			require.EqualValues(t, callers*callsEach, stats.Sent)
			require.EqualValues(t, callers*callsEach, stats.Received)
			require.Zero(t, stats.InFlight)
			require.Zero(t, stats.Late+stats.Unexpected+stats.Abandoned)
		})
	}
}

// Requests that gather while the writer is busy leave in one write.
func TestPipeliningCoalescesWrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const callers = 500
		r := newRig(t, Options{})
		p := r.connect()
		// Fill the network, so that the writer is stuck while the callers come.
		blocker := r.start(large("blocker", 128<<10))
		synctest.Wait()
		var calls []*background
		for i := range callers {
			calls = append(calls, r.start(fmt.Sprint("key ", i)))
		}
		synctest.Wait()
		go echo(p)
		for _, c := range append(calls, blocker) {
			c.requireAnswered(t)
		}
		stats := r.node.Stats()
		require.EqualValues(t, callers+1, stats.Sent)
		require.LessOrEqual(t, stats.Flushes, uint64(2), "one for the first, one for all the others")
	})
}

// Without anything in their way, requests of many callers share writes too.
func TestPipeliningCoalescesUnderLoad(t *testing.T) {
	const callers, callsEach = 64, 200
	r := newRig(t, Options{})
	serve(t, r.network, echo)
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			g := newGet(fmt.Sprint("caller ", i))
			for range callsEach {
				if err := r.node.Call(context.Background(), &g.Request); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	stats := r.node.Stats()
	require.EqualValues(t, callers*callsEach, stats.Sent)
	require.Less(t, stats.Flushes, stats.Sent/2)
}

// A large request leaves no large buffers behind.
func TestPipeliningKeepsNoLargeBuffers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		r.call("small")
		for range 3 {
			r.call(large("large", 2<<20))
		}
		require.LessOrEqual(t, cap(r.conn().out)+cap(r.conn().spare), 2*largeBuffer)
	})
}

// A server refuses some requests: the others around them are not affected.
func TestPipeliningMixesAnswersAndRefusals(t *testing.T) {
	r := newRig(t, Options{})
	serve(t, r.network, func(p *peer) {
		for a, ok := p.next(); ok; a, ok = p.next() {
			if len(a.key)%2 == 0 {
				p.write(a.refusal(wire.ErrBusy))
			} else {
				p.write(a.answer())
			}
		}
	})
	var running sync.WaitGroup
	for i := range 200 {
		running.Go(func() {
			g := newGet(large("", i))
			err := r.node.Call(context.Background(), &g.Request)
			var refused *ServerError
			switch {
			case i%2 == 1 && (err != nil || !g.right()):
				t.Errorf("got %q, %v", g.value, err)
			case i%2 == 0 && (!errors.As(err, &refused) || refused.Name != wire.ErrBusy):
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
	running.Wait()
}
