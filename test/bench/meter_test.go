package main

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

func noServer() (float64, error) { return notAvailable, nil }

// fake is a contender whose workers do what a function says.
type fake struct {
	work    func(i int, stop *atomic.Bool) (int, error)
	refusal error
}

func (*fake) name() string { return "fake" }

func (f *fake) workers(callers int, _ time.Duration) ([]worker, error) {
	workers := make([]worker, callers)
	for i := range workers {
		workers[i] = &fakeWorker{fake: f, index: i, latency: newLatency()}
	}
	return workers, f.refusal
}

type fakeWorker struct {
	*fake
	index   int
	latency *hdrhistogram.Histogram
}

func (w *fakeWorker) run(stop *atomic.Bool) (int, error) {
	noteLatency(w.latency, time.Duration(w.index+1)*time.Millisecond, 1)
	return w.work(w.index, stop)
}

func (w *fakeWorker) times() *hdrhistogram.Histogram { return w.latency }

// sink keeps the compiler from taking allocations away.
var sink []*[64]byte

func TestMeasure(t *testing.T) {
	const allocations = 10_000
	cpu := 7.0
	m := meter{serverCPU: func() (float64, error) { cpu += 0.5; return cpu, nil }}
	f := &fake{work: func(i int, stop *atomic.Bool) (int, error) {
		if i == 0 {
			sink = make([]*[64]byte, allocations)
			for j := range sink {
				sink[j] = new([64]byte)
			}
		}
		for !stop.Load() {
			runtime.Gosched()
		}
		return 10 * (i + 1), nil
	}}
	s, err := m.measure(f, 100, 20*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, 10*5050, s.operations)
	require.EqualValues(t, 100, s.latency.TotalCount(), "those of all workers")
	require.GreaterOrEqual(t, s.elapsed, 20*time.Millisecond)
	require.InDelta(t, 0.5, s.serverCPU, 1e-9)
	require.InDelta(t, float64(s.operations)/s.elapsed.Seconds(), s.rate(), 1e-9)
	// Histograms, goroutines and the collection before are not the workers'.
	require.InDelta(t, allocations, float64(s.mallocs), 200)
	require.InEpsilon(t, allocations*(64+8), float64(s.bytes), 0.2)
}

// TestWorkersWaitForTheCounters gives workers the chance to begin while the counters are being read.
func TestWorkersWaitForTheCounters(t *testing.T) {
	var before, after atomic.Bool
	m := meter{serverCPU: func() (float64, error) {
		time.Sleep(20 * time.Millisecond)
		after.Store(before.Swap(true))
		return 1, nil
	}}
	f := &fake{work: func(int, *atomic.Bool) (int, error) {
		if !before.Load() || after.Load() {
			return 0, errors.New("not at work while counters are read")
		}
		return 1, nil
	}}
	_, err := m.measure(f, 10, time.Millisecond)
	require.NoError(t, err)
}

// TestFirstFailureStopsAll has one worker fail while the others would go on for an hour.
func TestFirstFailureStopsAll(t *testing.T) {
	failure := errors.New("refused")
	m := meter{serverCPU: noServer}
	for _, failing := range []int{1, 3} {
		f := &fake{work: func(i int, stop *atomic.Bool) (int, error) {
			if i < failing {
				return 5, failure
			}
			for !stop.Load() {
				time.Sleep(100 * time.Microsecond)
			}
			return 1, nil
		}}
		_, err := m.measure(f, 4, time.Hour)
		require.ErrorIs(t, err, failure)
		require.ErrorContains(t, err, "fake with 4 callers")
		if failing > 1 {
			require.ErrorContains(t, err, "and 2 more")
		}
	}
}

func TestMeasureFails(t *testing.T) {
	failure := errors.New("gone")
	busy := func(int, *atomic.Bool) (int, error) { return 1, nil }

	m := meter{serverCPU: noServer}
	_, err := m.measure(&fake{work: busy, refusal: failure}, 1, time.Millisecond)
	require.ErrorIs(t, err, failure)

	m.serverCPU = func() (float64, error) { return 0, failure }
	_, err = m.measure(&fake{work: busy}, 2, time.Millisecond)
	require.ErrorIs(t, err, failure)
}

func TestFirstOf(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	require.NoError(t, firstOf([]error{nil, nil}))
	require.Equal(t, first, firstOf([]error{nil, first, nil}))
	err := firstOf([]error{nil, first, second})
	require.ErrorIs(t, err, first)
	require.EqualError(t, err, "first (and 1 more)")
}
