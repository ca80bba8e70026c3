package retry

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPolicyValidate(t *testing.T) {
	valid := map[string]Policy{
		"zero":           {},
		"one attempt":    {MaxAttempts: 1},
		"short pauses":   {MaxBackoff: time.Millisecond}, // shorter than the default of the first one
		"constant pause": {InitialBackoff: time.Second, BackoffMultiplier: 1},
		"extremes": {
			MaxAttempts: math.MaxInt, InitialBackoff: time.Microsecond, MaxBackoff: time.Hour,
			BackoffMultiplier: 100, Jitter: 0.999, RetryBusy: true, Budget: NewBudget(1, 1),
		},
	}
	for name, policy := range valid {
		require.NoError(t, policy.Validate(), name)
	}
	require.NoError(t, (*Policy)(nil).Validate(), "nil stands for the defaults")

	for _, c := range []struct {
		policy Policy
		field  string
	}{
		{Policy{MaxAttempts: -1}, "MaxAttempts"},
		{Policy{InitialBackoff: -1}, "InitialBackoff"},
		{Policy{InitialBackoff: time.Microsecond - 1}, "InitialBackoff"},
		{Policy{InitialBackoff: time.Second + 1}, "InitialBackoff"}, // more than the default maximum
		{Policy{InitialBackoff: time.Second, MaxBackoff: time.Millisecond}, "InitialBackoff"},
		{Policy{InitialBackoff: time.Minute, MaxBackoff: time.Hour + 1}, "MaxBackoff"},
		{Policy{MaxBackoff: -time.Second}, "MaxBackoff"},
		{Policy{BackoffMultiplier: 0.99}, "BackoffMultiplier"},
		{Policy{BackoffMultiplier: -2}, "BackoffMultiplier"},
		{Policy{BackoffMultiplier: 100.5}, "BackoffMultiplier"},
		{Policy{BackoffMultiplier: math.NaN()}, "BackoffMultiplier"},
		{Policy{BackoffMultiplier: math.Inf(1)}, "BackoffMultiplier"},
		{Policy{Jitter: -0.1}, "Jitter"},
		{Policy{Jitter: 1}, "Jitter"},
		{Policy{Jitter: math.NaN()}, "Jitter"},
		{Policy{Budget: NewBudget(0, 1)}, "Budget"},
	} {
		err := c.policy.Validate()
		require.ErrorIs(t, err, ErrPolicy, "%+v", c.policy)
		require.ErrorContains(t, err, ": "+c.field, "%+v", c.policy)
	}
}

func TestPolicyValidateNamesEveryMistake(t *testing.T) {
	p := Policy{MaxAttempts: -1, Jitter: 2, BackoffMultiplier: 0.5}
	lines := strings.Split(p.Validate().Error(), "\n")
	require.Equal(t, []string{
		"retry: invalid policy: MaxAttempts is -1, want 0 or more",
		"retry: invalid policy: BackoffMultiplier is 0.5, want 1 to 100",
		"retry: invalid policy: Jitter is 2, want more than 0 and less than 1",
	}, lines)
}

// drawPolicy returns any policy that passes Validate.
func drawPolicy(t *rapid.T) *Policy {
	p := &Policy{
		MaxBackoff:        time.Duration(rapid.Int64Range(int64(time.Microsecond), int64(time.Hour)).Draw(t, "max")),
		BackoffMultiplier: rapid.Float64Range(1, 100).Draw(t, "multiplier"),
		Jitter:            rapid.Float64Range(0.001, 0.999).Draw(t, "jitter"),
	}
	p.InitialBackoff = time.Duration(rapid.Int64Range(int64(time.Microsecond), int64(p.MaxBackoff)).Draw(t, "initial"))
	require.NoError(t, p.Validate())
	return p
}

// Every pause lies within the jitter of its interval, the intervals grow by the multiplier from the
// very first one set, and no pause exceeds the maximum.
func TestPausesStayWithinBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		pauses := p.newBackOff()
		longest := time.Duration(float64(p.MaxBackoff) / (1 + p.Jitter))
		interval := min(p.InitialBackoff, longest)
		for range 40 {
			pause := pauses.NextBackOff()
			spread := time.Duration(float64(interval) * p.Jitter)
			const rounding = 2 // nanoseconds
			require.GreaterOrEqual(t, pause, interval-spread-rounding)
			require.LessOrEqual(t, pause, interval+spread+rounding)
			require.LessOrEqual(t, pause, p.MaxBackoff+rounding)
			interval = time.Duration(min(float64(interval)*p.BackoffMultiplier, float64(longest)))
		}
	})
}

func TestDefaultPauses(t *testing.T) {
	for _, p := range []*Policy{nil, {}, {MaxAttempts: 3, RetryBusy: true}} {
		pauses := p.newBackOff()
		interval, longest := 8*time.Millisecond, time.Second*2/3
		for range 50 {
			pause := pauses.NextBackOff()
			require.GreaterOrEqual(t, pause, interval/2)
			require.LessOrEqual(t, pause, interval*3/2+1)
			interval = min(2*interval, longest)
		}
	}
}

// The first pause is the one that was set. The old client set it on a finished back-off and waited
// for half the time of its own choosing.
func TestFirstPauseIsTheInitialOne(t *testing.T) {
	p := &Policy{InitialBackoff: 100 * time.Millisecond, Jitter: 1e-6}
	require.InDelta(t, 100*time.Millisecond, p.newBackOff().NextBackOff(), float64(time.Microsecond))
}

// A policy that was never validated must not turn into a busy loop, a panic or an endless pause.
func TestInvalidPolicyBacksOffByTheDefaults(t *testing.T) {
	for _, p := range []*Policy{
		{InitialBackoff: -time.Second},
		{InitialBackoff: 1},
		{MaxBackoff: 1},
		{MaxBackoff: math.MaxInt64},
		{BackoffMultiplier: math.NaN()},
		{BackoffMultiplier: -1},
		{Jitter: math.NaN()},
		{Jitter: 50},
		{MaxAttempts: -5},
	} {
		patience := p.Start()
		for range 50 {
			wait, err := patience.Again(time.Now(), time.Time{}, BackOff)
			require.NoError(t, err)
			require.GreaterOrEqual(t, wait, DefaultInitialBackoff/2, "%+v", p)
			require.LessOrEqual(t, wait, DefaultMaxBackoff, "%+v", p)
		}
	}
}

func TestLongestPausesAreSpread(t *testing.T) {
	pauses := (&Policy{InitialBackoff: time.Second}).newBackOff()
	seen := map[time.Duration]bool{}
	for range 100 {
		seen[pauses.NextBackOff()] = true
	}
	require.Greater(t, len(seen), 90, "clients that wait the longest must not wait the same")
}
