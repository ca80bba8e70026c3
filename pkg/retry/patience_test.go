package retry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var never time.Time // no deadline

// again asks for a retry that must be granted.
func again(t *testing.T, p *Patience, action Action) time.Duration {
	t.Helper()
	wait, err := p.Again(time.Now(), never, action)
	require.NoError(t, err)
	return wait
}

func TestPauseOfEachAction(t *testing.T) {
	policy := Policy{InitialBackoff: 10 * time.Millisecond, Jitter: 1e-6}
	for _, c := range []struct {
		name    string
		actions []Action
		want    []time.Duration // milliseconds
	}{
		{"retry here never pauses", []Action{RetryHere, RetryHere, RetryHere}, []time.Duration{0, 0, 0}},
		{"back off doubles", []Action{BackOff, BackOff, BackOff}, []time.Duration{10, 20, 40}},
		{"the first refresh is free", []Action{Refresh, Refresh, Refresh, Refresh}, []time.Duration{0, 10, 20, 40}},
		{"so is the first other meta server", []Action{AskOthers, AskOthers, AskOthers}, []time.Duration{0, 10, 20}},
		{"all share one sequence", []Action{BackOff, Refresh, Refresh, RetryHere, BackOff}, []time.Duration{10, 0, 20, 0, 40}},
		{"one free retry, not one for each", []Action{AskOthers, Refresh, BackOff}, []time.Duration{0, 10, 20}},
	} {
		t.Run(c.name, func(t *testing.T) {
			patience := policy.Start()
			for i, action := range c.actions {
				require.Equal(t, i+1, patience.Attempts())
				require.InDelta(t, c.want[i]*time.Millisecond, again(t, &patience, action), float64(time.Microsecond))
			}
			require.Equal(t, len(c.actions)+1, patience.Attempts())
		})
	}
}

func TestOperationsPauseIndependently(t *testing.T) {
	policy := Policy{Jitter: 1e-6}
	first, second := policy.Start(), policy.Start()
	for range 10 {
		again(t, &first, BackOff)
	}
	require.InDelta(t, DefaultInitialBackoff, again(t, &second, BackOff), float64(time.Microsecond))
}

// The parts of an operation share what was spent before they parted, and nothing after that.
func TestPartsGoOnByThemselves(t *testing.T) {
	policy := Policy{Jitter: 1e-6, MaxAttempts: 4}
	whole := policy.Start()
	again(t, &whole, Refresh)
	again(t, &whole, BackOff)
	part := whole.Fork()
	require.Equal(t, 3, part.Attempts())
	require.InDelta(t, 2*DefaultInitialBackoff, again(t, &whole, BackOff), float64(time.Microsecond))
	require.InDelta(t, DefaultInitialBackoff, again(t, &part, Refresh), float64(time.Microsecond), "the free one was used")
	for _, p := range []*Patience{&whole, &part} {
		_, err := p.Again(time.Now(), never, Refresh)
		require.ErrorIs(t, err, ErrAttempts)
	}
}

func TestReturnIsFinal(t *testing.T) {
	budget := NewBudget(1, 1)
	patience := (&Policy{Budget: budget}).Start()
	for _, action := range []Action{Return, AskOthers + 1, Action(255)} {
		_, err := patience.Again(time.Now(), never, action)
		require.ErrorIs(t, err, ErrFinal)
	}
	require.Equal(t, 1, patience.Attempts())
	require.True(t, budget.Spend(), "nothing was spent")
}

func TestAttemptsAreBounded(t *testing.T) {
	for most := 1; most <= 4; most++ {
		patience := (&Policy{MaxAttempts: most}).Start()
		for range most - 1 {
			again(t, &patience, RetryHere)
		}
		_, err := patience.Again(time.Now(), never, RetryHere)
		require.ErrorIs(t, err, ErrAttempts)
		require.Equal(t, most, patience.Attempts(), "a refusal is not an attempt")
	}
}

func TestBudgetIsSharedByOperations(t *testing.T) {
	policy := &Policy{Budget: NewBudget(3, 0.5)}
	for range 3 {
		patience := policy.Start()
		again(t, &patience, Refresh)
	}
	patience := policy.Start()
	_, err := patience.Again(time.Now(), never, Refresh)
	require.ErrorIs(t, err, ErrBudget)
	policy.Budget.Success()
	policy.Budget.Success()
	again(t, &patience, RetryHere)
}

// A retry that is refused for want of time or attempts must not take a token from those that can
// use it.
func TestRefusalsSpendNoToken(t *testing.T) {
	policy := &Policy{MaxAttempts: 2, Budget: NewBudget(2, 0.1)}
	late := policy.Start()
	_, err := late.Again(time.Now(), time.Now().Add(-time.Second), RetryHere)
	require.ErrorIs(t, err, ErrDeadline)

	worn := policy.Start()
	again(t, &worn, RetryHere) // the first token
	_, err = worn.Again(time.Now(), never, RetryHere)
	require.ErrorIs(t, err, ErrAttempts)

	require.True(t, policy.Budget.Spend(), "the second token")
	require.False(t, policy.Budget.Spend())
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := Policy{InitialBackoff: 100 * time.Millisecond, Jitter: 1e-9}
		for _, c := range []struct {
			action Action
			left   time.Duration
			ok     bool
		}{
			{RetryHere, time.Nanosecond, true},
			{RetryHere, 0, false}, // no time is left for the attempt
			{RetryHere, -time.Hour, false},
			{Refresh, time.Nanosecond, true},
			{BackOff, 101 * time.Millisecond, true},
			{BackOff, 99 * time.Millisecond, false},
		} {
			patience := policy.Start()
			_, err := patience.Again(time.Now(), time.Now().Add(c.left), c.action)
			if c.ok {
				require.NoError(t, err, "%+v", c)
				continue
			}
			require.ErrorIs(t, err, ErrDeadline, "%+v", c)
			require.ErrorIs(t, err, context.DeadlineExceeded, "%+v", c)
		}
	})
}

// A pause that ends exactly at the deadline leaves no time for the attempt after it.
func TestPauseUpToTheDeadlineIsRefused(t *testing.T) {
	now := time.Now()
	for range 50 {
		policy := Policy{InitialBackoff: time.Microsecond, MaxBackoff: time.Microsecond, Jitter: 0.01}
		patience := policy.Start()
		wait, err := patience.Again(now, now.Add(time.Microsecond), BackOff)
		if err == nil {
			require.Less(t, wait, time.Microsecond)
		} else {
			require.ErrorIs(t, err, ErrDeadline)
		}
	}
}

func TestErrorsAreDistinct(t *testing.T) {
	all := []error{ErrDeadline, ErrAttempts, ErrBudget, ErrFinal, ErrPolicy}
	for i, a := range all {
		for j, b := range all {
			require.Equal(t, i == j, errors.Is(a, b), "%v, %v", a, b)
		}
	}
}

func TestZeroPatienceFollowsTheDefaults(t *testing.T) {
	var patience Patience
	require.Zero(t, again(t, &patience, Refresh))
	wait := again(t, &patience, BackOff)
	require.GreaterOrEqual(t, wait, DefaultInitialBackoff/2)
	require.LessOrEqual(t, wait, DefaultInitialBackoff*3/2)
}

// retryUntil runs an operation that always fails with the given action until patience ends, in fake
// time, and returns what ended it.
func retryUntil(t *testing.T, policy *Policy, deadline time.Time, action Action) (tries int, err error) {
	patience := policy.Start()
	for {
		wait, err := patience.Again(time.Now(), deadline, action)
		if err != nil {
			return patience.Attempts(), err
		}
		require.NoError(t, Sleep(t.Context(), wait, nil))
	}
}

// A stale route that never gets better must not be asked about in a tight loop: 8 ms doubling to
// about 2/3 s gives about 20 tries in 10 s.
func TestStaleRouteDoesNotSpin(t *testing.T) {
	for _, action := range []Action{Refresh, BackOff, AskOthers} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			tries, err := retryUntil(t, &Policy{}, start.Add(10*time.Second), action)
			require.ErrorIs(t, err, ErrDeadline)
			require.Greater(t, tries, 10)
			require.Less(t, tries, 45, "%v: even if jitter halved every pause", action)
			require.Less(t, time.Since(start), 10*time.Second)
			require.Greater(t, time.Since(start), 9*time.Second-time.Millisecond, "gave up with a pause's time left")
		})
	}
}

// Back-off has no end of its own. The old client's gave up after 15 minutes and then returned a
// pause of -1, which turned a call without deadline into a busy loop.
func TestPausesGoOnForHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := &Policy{InitialBackoff: time.Minute, MaxBackoff: time.Minute, MaxAttempts: 200}
		start := time.Now()
		tries, err := retryUntil(t, policy, never, BackOff)
		require.ErrorIs(t, err, ErrAttempts)
		require.Equal(t, 200, tries)
		require.Greater(t, time.Since(start), time.Hour)
	})
}

// Whatever is asked in whatever order, the three budgets hold and the clock never passes the
// deadline in a pause.
func TestPatienceKeepsItsBudgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := drawPolicy(t)
		policy.MaxAttempts = rapid.IntRange(0, 10).Draw(t, "attempts")
		tokens := rapid.IntRange(1, 10).Draw(t, "tokens")
		policy.Budget = NewBudget(tokens, 0.1)
		now := time.Now()
		deadline := now.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "left")))
		patience := policy.Start()
		granted := 0
		for _, action := range rapid.SliceOf(rapid.SampledFrom(allActions)).Draw(t, "actions") {
			wait, err := patience.Again(now, deadline, action)
			if err != nil {
				require.Zero(t, wait)
				continue
			}
			require.NotEqual(t, Return, action)
			require.GreaterOrEqual(t, wait, time.Duration(0))
			granted++
			now = now.Add(wait)
			require.True(t, now.Before(deadline))
		}
		require.Equal(t, granted+1, patience.Attempts())
		require.LessOrEqual(t, granted, tokens)
		require.EqualValues(t, (tokens-granted)*token, policy.Budget.tokens.Load())
		if policy.MaxAttempts > 0 {
			require.LessOrEqual(t, patience.Attempts(), policy.MaxAttempts)
		}
	})
}

// The way of nearly every operation: started, succeeded, nothing allocated. A stale route is still
// free of allocation; the first pause pays for the back-off.
func TestSuccessAllocatesNothing(t *testing.T) {
	policy := &Policy{Budget: NewBudget(1_000_000, 1)}
	attempts := 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		patience := policy.Start()
		policy.Budget.Success()
		attempts += patience.Attempts()
	}))
	now := time.Now()
	deadline := now.Add(time.Hour)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		patience := policy.Start()
		if _, err := patience.Again(now, deadline, Refresh); err != nil {
			t.Error(err)
		}
		policy.Budget.Success()
		attempts += patience.Attempts()
	}))
	require.Positive(t, attempts)
}
