package rpc

import (
	"context"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// put makes one write and returns its error.
func (r *rig) put() error {
	return r.node.Call(r.t.Context(), &newPut("key").Request)
}

// answering serves writes with the given frame error, ERR_OK for none, for as long as it stays.
func answering(name *wire.ErrorName) func(*peer) {
	return func(p *peer) {
		for a, ok := p.next(); ok; a, ok = p.next() {
			switch {
			case a.method.Name() != wire.Put.Name():
				p.write(a.answer())
			case *name != wire.ErrOK:
				p.write(a.refusal(*name))
			default:
				p.write(wire.AppendResponse(nil, wire.ErrOK, wire.Put, a.sequence, &wire.UpdateResponse{}))
			}
		}
	}
}

// Writes that all fail for more than a second are not sent any more, except for a probe at growing
// distances; the first one that succeeds ends it.
func TestCircuit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		name := wire.ErrDiskIOError
		serve(t, r.network, answering(&name))
		for range 200 {
			require.NotErrorIs(t, r.put(), ErrCircuitOpen, "a failover can look like that")
		}
		time.Sleep(circuitSpan)
		require.NotErrorIs(t, r.put(), ErrCircuitOpen)
		failure := requireCallError(t, r.put(), StageConnecting, retry.NotSent, ErrCircuitOpen)
		var open *CircuitError
		require.ErrorAs(t, failure, &open)
		require.Equal(t, circuitPause, open.RetryIn)
		r.call("reads are not concerned")
		for pause := circuitPause; pause <= 4*circuitMaxPause; pause *= 2 {
			sent := r.node.Stats().Sent
			time.Sleep(min(pause, circuitMaxPause) - 1)
			require.ErrorIs(t, r.put(), ErrCircuitOpen)
			time.Sleep(time.Nanosecond)
			require.NotErrorIs(t, r.put(), ErrCircuitOpen, "the probe")
			require.ErrorIs(t, r.put(), ErrCircuitOpen)
			require.Equal(t, sent+1, r.node.Stats().Sent)
		}
		require.True(t, r.node.Stats().CircuitOpen)
		name = wire.ErrOK
		time.Sleep(circuitMaxPause)
		for range 10 {
			require.NoError(t, r.put())
		}
		require.False(t, r.node.Stats().CircuitOpen)
	})
}

// A write that succeeds among others that fail keeps the circuit closed, and so do failures that say
// nothing about the node.
func TestCircuitStaysClosed(t *testing.T) {
	for _, refusal := range []wire.ErrorName{wire.ErrBusy, wire.ErrInvalidState, wire.ErrNotEnoughMember, wire.ErrDiskIOError} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			name := refusal
			serve(t, r.network, answering(&name))
			for range 300 {
				require.NotErrorIs(t, r.put(), ErrCircuitOpen)
				time.Sleep(100 * time.Millisecond)
				if refusal == wire.ErrDiskIOError {
					name = wire.ErrOK
					require.NoError(t, r.put())
					name = refusal
				}
			}
		})
	}
	bubble(t, func(t *testing.T) { // callers that give up
		r := newRig(t, Options{SilenceLimit: time.Hour})
		serve(t, r.network, silence)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			require.ErrorIs(t, r.node.Call(ctx, &newPut("key").Request), context.Canceled)
		}
		require.False(t, r.node.Stats().CircuitOpen)
	})
	bubble(t, func(t *testing.T) { // switched off
		r := newRig(t, Options{CircuitFailures: -1})
		name := wire.ErrDiskIOError
		serve(t, r.network, answering(&name))
		for range 100 {
			require.NotErrorIs(t, r.put(), ErrCircuitOpen)
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// Of many writers that come when the pause is over, one is the probe.
func TestCircuitLetsOneThrough(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{SilenceLimit: time.Hour})
		p := r.connect()
		r.node.circuit.since, r.node.circuit.pause = time.Now(), circuitPause
		r.node.circuit.failures.Store(100)
		r.node.circuit.open.Store(true)
		var calls []*background
		for range 20 {
			calls = append(calls, r.startWith(newPut("key")))
		}
		synctest.Wait()
		require.EqualValues(t, 1, r.node.Stats().Sent)
		p.mustNext()
		for _, c := range calls {
			c.cancel()
		}
		for _, c := range calls {
			require.Error(t, c.result())
		}
	})
}

// What a circuit remembers does not outlive it: the next one begins with the first pause. Writes that were
// sent before it opened, and fail while it is, are no probes.
func TestCircuitBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := circuit{changed: func(CircuitChange) {}}
		for range 2 {
			c.settle(ErrNoResult, 1)
			time.Sleep(circuitSpan)
			require.NoError(t, c.admit())
			c.settle(ErrNoResult, 1)
			for range 10 {
				c.settle(ErrNoResult, 1)
			}
			var open *CircuitError
			require.ErrorAs(t, c.admit(), &open)
			require.Equal(t, circuitPause, open.RetryIn)
			time.Sleep(circuitPause)
			require.NoError(t, c.admit())
			c.settle(ErrNoResult, 1)
			require.ErrorAs(t, c.admit(), &open)
			require.Equal(t, 2*circuitPause, open.RetryIn)
			c.settle(nil, 1)
			require.NoError(t, c.admit())
		}
	})
}

// Only what speaks against the node counts.
func TestDamningFailures(t *testing.T) {
	for _, failure := range []struct {
		err  error
		want bool
	}{
		{&CallError{Outcome: retry.InDoubt, Err: ErrSilent}, true},
		{&CallError{Outcome: retry.InDoubt, Err: io.ErrUnexpectedEOF}, true},
		{&CallError{Outcome: retry.InDoubt, Err: context.DeadlineExceeded}, true},
		{&CallError{Outcome: retry.InDoubt, Err: context.Canceled}, false},
		{&CallError{Outcome: retry.InDoubt, Err: ErrClosed}, false},
		{&CallError{Outcome: retry.NotSent, Err: &ConnectError{Err: io.EOF}}, false},
		{&CallError{Outcome: retry.NotSent, Err: context.DeadlineExceeded}, false},
		{&ServerError{Name: wire.ErrDiskIOError}, true},
		{&ServerError{Name: wire.ErrDiskInsufficient}, true},
		{&ServerError{Name: wire.ErrInvalidState}, false},
		{&ServerError{Name: wire.ErrBusy}, false},
		{ErrNoResult, true},
		{&ResultError{Err: io.EOF}, false},
	} {
		require.Equal(t, failure.want, damning(failure.err), "%v", failure.err)
	}
}

// A full window is no reason to wait for who may not.
func TestFailFast(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		first := r.start("first")
		a := p.mustNext()
		second := newGet("second")
		second.FailFast = true
		requireCallError(t, r.node.Call(t.Context(), &second.Request), StageAdmission, retry.NotSent, ErrBusy)
		p.write(a.answer())
		first.requireAnswered(t)
		c := r.startWith(second)
		p.write(p.mustNext().answer())
		c.requireAnswered(t)
	})
}

// A write may find the circuit open, and closed by the time it gets the mutex, because another one has just
// succeeded. Then it is sent: the time of the next probe means nothing any more.
func TestCircuitThatClosesMeanwhile(t *testing.T) {
	for range 200 {
		c := circuit{changed: func(change CircuitChange) { t.Errorf("it was told to be %s", change.State) }}
		c.open.Store(true)
		c.next = time.Now().Add(time.Hour)
		c.mu.Lock()
		admitted := make(chan error, 1)
		go func() { admitted <- c.admit() }()
		for range 20 {
			runtime.Gosched() // it looks, and waits for the mutex
		}
		c.open.Store(false)
		c.mu.Unlock()
		require.NoError(t, <-admitted)
	}
}
