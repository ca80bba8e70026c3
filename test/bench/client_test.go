package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// newCaller returns a caller of an operation that is a function.
func newCaller(t *testing.T, deadline time.Duration, call func(ctx context.Context, r *record) error) *caller {
	c := &callers{
		operation: operation{call: func(ctx context.Context, _ *caller, r *record) error { return call(ctx, r) }},
		records:   newRecords(50, 3), deadline: deadline,
	}
	workers, err := c.workers(1, time.Second)
	require.NoError(t, err)
	return workers[0].(*caller)
}

// TestCallerWalks wants every record to be used equally often, and one in eight calls timed.
func TestCallerWalks(t *testing.T) {
	const calls = 40_000
	var stop atomic.Bool
	used, count := make(map[string]int), 0
	c := newCaller(t, 0, func(ctx context.Context, r *record) error {
		_, has := ctx.Deadline()
		require.False(t, has)
		used[string(r.hashKey[:])+string(r.sortKey[:])]++
		if count++; count == calls {
			stop.Store(true)
		}
		return nil
	})
	operations, err := c.run(&stop)
	require.NoError(t, err)
	require.Equal(t, calls, operations)
	require.Len(t, used, 50)
	for _, times := range used {
		require.Equal(t, calls/50, times)
	}
	require.InEpsilon(t, calls/sampling, c.times().TotalCount(), 0.1)
}

func TestCallerStopsAtFailure(t *testing.T) {
	failure, count := errors.New("refused"), 0
	c := newCaller(t, 0, func(context.Context, *record) error {
		if count++; count == 5 {
			return failure
		}
		return nil
	})
	operations, err := c.run(new(atomic.Bool))
	require.ErrorIs(t, err, failure)
	require.Equal(t, 4, operations)
}

// TestDeadline wants each operation to have a context of its own, which ends with it.
func TestDeadline(t *testing.T) {
	var contexts []context.Context
	var stop atomic.Bool
	c := newCaller(t, time.Minute, func(ctx context.Context, _ *record) error {
		end, has := ctx.Deadline()
		require.True(t, has)
		require.WithinDuration(t, time.Now().Add(time.Minute), end, 30*time.Second)
		contexts = append(contexts, ctx)
		stop.Store(len(contexts) == 3)
		return ctx.Err()
	})
	_, err := c.run(&stop)
	require.NoError(t, err)
	require.Len(t, contexts, 3)
	require.NotSame(t, contexts[0], contexts[1])
	for _, ctx := range contexts {
		require.ErrorIs(t, ctx.Err(), context.Canceled)
	}
}

func TestCheck(t *testing.T) {
	r := &record{hashKey: [16]byte([]byte("bench-0000000001")), value: []byte("abc")}
	failure := errors.New("refused")
	require.NoError(t, check([]byte("abc"), r, nil))
	require.ErrorContains(t, check([]byte("ab"), r, nil), `"bench-0000000001" has a value of 2 bytes instead of 3`)
	require.ErrorIs(t, check(nil, r, failure), failure)
}

func TestRecords(t *testing.T) {
	records := newRecords(1000, 100)
	seen, sorted := make(map[string]bool), true
	for i, r := range records {
		require.Len(t, r.hashKey[:], 16)
		require.Len(t, r.sortKey[:], 8)
		require.Len(t, r.value, 100)
		seen[string(r.hashKey[:])] = true
		sorted = sorted && (i == 0 || string(records[i-1].hashKey[:]) < string(r.hashKey[:]))
	}
	require.Len(t, seen, 1000)
	require.False(t, sorted)
	require.Equal(t, records, newRecords(1000, 100), "the same in every run")
}

func TestGroups(t *testing.T) {
	got := groups(allOperations)
	require.Len(t, got, 6)
	require.Equal(t, []string{"woken_get", "get", "append_get"}, names(got[0]))
	require.Equal(t, []string{"set"}, names(got[1]))
	require.Empty(t, groups(nil))
}
