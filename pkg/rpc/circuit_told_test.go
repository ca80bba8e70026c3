package rpc

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// circuitDiary is a node whose changes of circuit are kept, and whose log uses it.
type circuitDiary struct {
	*rig
	told  []CircuitChange
	lines chan string
}

func newCircuitDiary(t *testing.T) *circuitDiary {
	d := &circuitDiary{lines: make(chan string, 100)}
	log := recorder{lines: d.lines, node: func() *Node {
		if d.rig == nil {
			return nil
		}
		return d.node
	}}
	d.rig = newRig(t, Options{Logger: slog.New(log), Hooks: Hooks{CircuitChanged: func(change CircuitChange) {
		d.node.Stats() // for which no mutex may be held
		d.told = append(d.told, change)
	}}})
	return d
}

// take returns what was told since it was last called.
func (d *circuitDiary) take() []CircuitChange {
	synctest.Wait()
	told := d.told
	d.told = nil
	return told
}

// logged returns what was logged since it was last called.
func (d *circuitDiary) logged() (lines []string) {
	synctest.Wait()
	for len(d.lines) > 0 {
		lines = append(lines, <-d.lines)
	}
	return lines
}

// failUntilOpen makes writes, all of which fail, until the circuit opens with the last of them.
func (d *circuitDiary) failUntilOpen() (opened time.Time) {
	const distance = 30 * time.Millisecond
	for i := range d.pool.options.CircuitFailures {
		if i > 0 {
			time.Sleep(distance)
		}
		require.NotErrorIs(d.t, d.put(), ErrCircuitOpen)
	}
	return time.Now()
}

// A circuit that opens, stays open after a probe, and closes after the next one tells each of its changes
// when it happens, in the order in which they happen, and with no mutex held.
func TestCircuitTells(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newCircuitDiary(t)
		name := wire.ErrDiskIOError
		serve(t, d.network, answering(&name))
		opened := d.failUntilOpen()
		failure := &ServerError{Name: wire.ErrDiskIOError}
		change := CircuitChange{
			At: opened, Node: address, State: CircuitOpen, Since: opened, RetryIn: circuitPause, Failures: 50, Err: failure,
		}
		require.Equal(t, []CircuitChange{change}, d.take())
		require.Equal(t, []string{"INFO connected", "WARN circuit opened"}, d.logged())
		for range 3 {
			require.ErrorIs(t, d.put(), ErrCircuitOpen)
		}
		require.Empty(t, d.take())
		stats := d.node.Stats()
		require.Equal(t, opened, stats.CircuitOpenSince)
		require.EqualValues(t, 1, stats.CircuitOpened)
		require.EqualValues(t, 3, stats.CircuitKept)

		time.Sleep(circuitPause)
		require.NotErrorIs(t, d.put(), ErrCircuitOpen, "the probe")
		half, still := change, change
		half.At, half.State, half.RetryIn, half.Kept = time.Now(), CircuitHalfOpen, 0, 3
		still.At, still.RetryIn, still.Failures, still.Kept = time.Now(), 2*circuitPause, 51, 3
		require.Equal(t, []CircuitChange{half, still}, d.take())
		require.Equal(t, []string{"DEBUG circuit half-open", "DEBUG circuit still open"}, d.logged())

		name = wire.ErrOK
		time.Sleep(2 * circuitPause)
		require.NoError(t, d.put())
		half.At, half.Failures = time.Now(), 51
		closed := half
		closed.State = CircuitClosed
		require.Equal(t, []CircuitChange{half, closed}, d.take())
		require.Equal(t, []string{"DEBUG circuit half-open", "INFO circuit closed"}, d.logged())
		stats = d.node.Stats()
		require.Zero(t, stats.CircuitOpenSince)
		require.EqualValues(t, 1, stats.CircuitOpened)
		require.EqualValues(t, 3, stats.CircuitKept)

		name = wire.ErrDiskIOError // a failure or two open nothing, so nothing closes either
		require.Error(t, d.put())
		name = wire.ErrOK
		require.NoError(t, d.put())
		require.Empty(t, d.take())
	})
}

// What is counted since a circuit opened begins anew when it opens again.
func TestCircuitTellsOfEachOpening(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newCircuitDiary(t)
		name := wire.ErrDiskIOError
		serve(t, d.network, answering(&name))
		for round := range 3 {
			name = wire.ErrDiskIOError
			opened := d.failUntilOpen()
			for range 2 {
				require.ErrorIs(t, d.put(), ErrCircuitOpen)
			}
			name = wire.ErrOK
			time.Sleep(circuitPause)
			require.NoError(t, d.put())
			told := d.take()
			require.Len(t, told, 3)
			for i, state := range []CircuitState{CircuitOpen, CircuitHalfOpen, CircuitClosed} {
				require.Equal(t, state, told[i].State)
				require.Equal(t, opened, told[i].Since)
			}
			require.EqualValues(t, 2, told[2].Kept)
			require.EqualValues(t, round+1, d.node.Stats().CircuitOpened)
			require.EqualValues(t, 2*(round+1), d.node.Stats().CircuitKept)
		}
	})
}

// A log that hangs holds up no writes.
func TestCircuitTellsWithoutWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hang := make(chan struct{})
		defer close(hang)
		r := newRig(t, Options{Hooks: Hooks{CircuitChanged: func(CircuitChange) { <-hang }}})
		d := &circuitDiary{rig: r}
		name := wire.ErrDiskIOError
		serve(t, r.network, answering(&name))
		opened := d.failUntilOpen()
		require.ErrorIs(t, r.put(), ErrCircuitOpen)
		name = wire.ErrOK
		time.Sleep(circuitPause)
		for range 10 {
			require.NoError(t, r.put())
		}
		require.Equal(t, circuitPause, time.Since(opened))
	})
}
