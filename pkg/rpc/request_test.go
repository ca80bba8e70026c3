package rpc

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// A request that was given up serves again, and the answer to the call before is not taken for the new one's.
func TestRequestServesAgainAfterItWasGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		g := newGet("key")
		first := r.startWith(g)
		late := p.mustNext()
		first.cancel()
		require.ErrorIs(t, first.result(), context.Canceled)

		again := r.startWith(g)
		due := p.mustNext()
		p.write(late.answerWith([]byte("late")))
		synctest.Wait()
		require.False(t, again.ended(), "it took the answer to the call before")
		p.write(due.answer())
		again.requireAnswered(t)
	})
}

// A copy of a request that has served may be under way together with the original: each gets its own answer.
// With one channel for both, the first answer would end the call that has waited longer, whose answer it is not.
func TestCopyOfARequestIsARequestOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		original := newGet("key")
		served := r.startWith(original)
		p.write(p.mustNext().answer())
		served.requireAnswered(t)

		copied := newGet("copy")
		arguments, result := copied.Arguments, copied.Result
		copied.Request = original.Request
		copied.Arguments, copied.Result = arguments, result

		one := r.startWith(original)
		ofOriginal := p.mustNext()
		other := r.startWith(copied)
		p.write(p.mustNext().answer())
		other.requireAnswered(t)
		require.False(t, one.ended(), "it was told of the copy's answer")
		p.write(ofOriginal.answer())
		one.requireAnswered(t)
	})
}

// Memory of requests is used again for other clients, also where a channel of one means nothing to another.
func TestRequestServesSeveralPools(t *testing.T) {
	g := newGet("key")
	for range 2 {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			p := r.connect()
			c := r.startWith(g)
			p.write(p.mustNext().answer())
			c.requireAnswered(t)
		})
	}
}
