package rpc

import (
	"math"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// newDirectRig returns a rig that is connected to a stream on which lone callers write themselves.
func newDirectRig(t *testing.T, room int) (*rig, *stubStream) {
	stream := newStubStream(room)
	stream.gate = make(chan struct{})
	r := newRig(t, Options{Dial: stream.dialled()})
	require.NoError(t, r.node.Connect(t.Context()))
	r.conn().direct = true
	synctest.Wait() // for the writer to go idle
	return r, stream
}

// A second caller finds the first one writing, takes it for the writer and relies on it. When the
// first is done it must pass the second's frame on to the writer; otherwise nobody would send it.
func TestLoneCallerHandsOverToTheWriter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, stream := newDirectRig(t, math.MaxInt)
		first := r.start("first")
		synctest.Wait()
		second := r.start("second")
		synctest.Wait()
		require.Zero(t, r.node.Stats().Flushes)
		close(stream.gate)
		synctest.Wait()
		require.EqualValues(t, 2, r.node.Stats().Flushes)
		go stream.deliver(append(replyTo(t, r.conn(), first), replyTo(t, r.conn(), second)...), math.MaxInt)
		first.requireAnswered(t)
		second.requireAnswered(t)
	})
}

// replyTo encodes the answer to a call in flight.
func replyTo(t *testing.T, c *Conn, b *background) []byte {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := b.slotOn(c)
	seq := int32(c.pending.slots[slot].generation<<c.pending.slotBits | uint32(slot))
	return wire.AppendResponse(nil, wire.ErrOK, wire.Get, seq, &wire.GetResponse{Value: []byte(valueOf(string(b.key)))})
}

// After its write the lone caller leaves the writer's part, or the next one could not take it.
func TestLoneCallerLeavesTheWriterIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, stream := newDirectRig(t, math.MaxInt)
		close(stream.gate)
		for range 3 {
			call := r.start("key")
			synctest.Wait()
			stream.reads <- replyTo(t, r.conn(), call)
			call.requireAnswered(t)
			r.conn().mu.Lock()
			require.True(t, r.conn().writerIdle)
			r.conn().mu.Unlock()
		}
		require.EqualValues(t, 3, r.node.Stats().Flushes)
	})
}

// A write that fails in the hands of a lone caller ends the connection, and the caller's own call with
// it: its last byte was not taken, so it was not sent.
func TestLoneCallerWhoseWriteFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, stream := newDirectRig(t, 10)
		call := r.start("key")
		synctest.Wait()
		close(stream.gate)
		call.requireFailed(t, StageQueued, retry.NotSent, errBroken)
	})
}

// Only a caller that is alone on a stream of the system writes itself, and only where the write
// cannot have to wait for the peer.
func TestWhoWritesAlone(t *testing.T) {
	alone := func(change func(c *Conn)) bool {
		c := &Conn{direct: true}
		c.pending.inFlight, c.queued, c.crowd = 1, 100, 1
		change(c)
		return c.alone()
	}
	require.True(t, alone(func(*Conn) {}))
	require.True(t, alone(func(c *Conn) { c.queued, c.heard = 1<<40, 1<<40-directLimit }))
	for name, change := range map[string]func(c *Conn){
		"foreign stream":        func(c *Conn) { c.direct = false },
		"others wait":           func(c *Conn) { c.pending.inFlight = 2 },
		"others were answered":  func(c *Conn) { c.crowd = 2 },
		"the peer has not read": func(c *Conn) { c.queued = c.heard + directLimit + 1 },
	} {
		require.False(t, alone(change), name)
	}
}
