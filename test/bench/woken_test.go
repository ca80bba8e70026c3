package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestWokenCountsWhatIsServed wants every request to be served, and counted once, and nobody to be left
// asleep, however callers are spread.
func TestWokenCountsWhatIsServed(t *testing.T) {
	x := newBox(t, getKind, 100)
	for _, callers := range []int{1, 2, 3, 64} {
		before := x.requests()
		workers, err := (&woken{x.floor}).workers(callers, time.Minute)
		require.NoError(t, err)
		require.Len(t, workers, callers)
		crew := startAtOnce(workers)
		require.Eventually(t, func() bool { return x.requests() >= before+boxRecords+100 }, time.Minute, time.Millisecond)
		crew.stop.Store(true)
		crew.running.Wait()
		require.NoError(t, firstOf(crew.errs))
		counted, timed := 0, int64(0)
		for i, w := range workers {
			counted += crew.operations[i]
			timed += w.times().TotalCount()
		}
		require.Equal(t, x.requests()-before, counted)
		require.Positive(t, timed)
		require.LessOrEqual(t, timed, int64(counted/sampling+callers))
		for _, s := range x.floor.streams {
			require.Zero(t, s.filled, "nothing is left for the next slice")
		}
	}
}

// TestWokenNoticesRefusals has all callers end when the servers refuse.
func TestWokenNoticesRefusals(t *testing.T) {
	x := newBox(t, getKind, 100)
	for _, node := range x.Replicas() {
		node.Inject(onebox.Fault{Match: onebox.OnMethod(wire.Get), Error: wire.ErrBusy})
	}
	m := meter{serverCPU: noServer}
	_, err := m.measure(&woken{x.floor}, 16, time.Minute)
	require.ErrorContains(t, err, "the server refuses")
}
