package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

func TestEvenArrivals(t *testing.T) {
	require.Equal(t, schedule{0, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond},
		evenly(4, time.Second, nil))
	require.Equal(t, schedule{0}, evenly(1, time.Millisecond, nil), "what begins at once is in the shortest slice")
	long := evenly(3, 1000*time.Second, nil)
	require.Len(t, long, 3000)
	require.Equal(t, 999*time.Second+666_666_666, long[2999], "roundings do not add up")
}

// TestEvenArrivalsKeepTheRate wants the arrivals of any beginning of the slice to be as many as the rate
// says, whatever the rate.
func TestEvenArrivalsKeepTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.IntRange(1, 100_000).Draw(t, "rate")
		duration := time.Duration(rapid.Int64Range(1, int64(3*time.Second)).Draw(t, "duration"))
		s := evenly(rate, duration, nil)
		require.True(t, slices.IsSorted(s))
		require.Less(t, s[len(s)-1], duration)
		require.InDelta(t, duration.Seconds()*float64(rate), len(s), 1)
		for i := range s {
			require.InDelta(t, float64(i)/float64(rate), s[i].Seconds(), 2e-9)
		}
	})
}

// TestPoissonArrivals looks at the distances: exponential ones have a standard deviation equal to their
// mean, and e^-1 of them are longer than it.
func TestPoissonArrivals(t *testing.T) {
	const rate, seconds = 5000, 20
	s := poisson(rate, seconds*time.Second, seeded(1))
	require.InEpsilon(t, rate*seconds, len(s), 0.02)
	require.True(t, slices.IsSorted(s))
	require.Less(t, s[len(s)-1], seconds*time.Second)
	mean, squares, longer := 1.0/rate, 0.0, 0
	for i := 1; i < len(s); i++ {
		distance := (s[i] - s[i-1]).Seconds()
		squares += (distance - mean) * (distance - mean)
		if distance > mean {
			longer++
		}
	}
	require.InEpsilon(t, mean, math.Sqrt(squares/float64(len(s))), 0.03)
	require.InEpsilon(t, math.Exp(-1), float64(longer)/float64(len(s)), 0.03)

	require.Equal(t, s, poisson(rate, seconds*time.Second, seeded(1)), "the same for all contenders")
	require.NotEqual(t, s, poisson(rate, seconds*time.Second, seeded(2)), "another one in each round")
}

func TestExpected(t *testing.T) {
	require.EqualValues(t, 1, expected(1, 1))
	require.EqualValues(t, 100, expected(1000, 100*time.Millisecond))
	require.Equal(t, int64(3_600_000_000), expected(maxRate, time.Hour), "no overflow")
}
