package retry

import (
	"math"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestNewBudget(t *testing.T) {
	for _, c := range []struct {
		capacity       int
		refill         float64
		tokens, earned int64 // thousandths
		valid          bool
	}{
		{DefaultBudgetCapacity, DefaultBudgetRefill, 1_000_000, 100, true},
		{1, 1, 1000, 1000, true},
		{7, 0.001, 7000, 1, true},
		{7, 0.0014, 7000, 1, true},
		{7, 0.0016, 7000, 2, true},
		{1_000_000_000, 0.5, 1_000_000_000_000, 500, true},
		{1_000_000_001, 0.5, 1_000_000_000_000, 500, false},
		{math.MaxInt, 0.5, 1_000_000_000_000, 500, false},
		{0, 0.5, 1000, 500, false},
		{math.MinInt, 0.5, 1000, 500, false},
		{7, 0, 7000, 1, false},
		{7, -1, 7000, 1, false},
		{7, 1.001, 7000, 1000, false},
		{7, math.Inf(1), 7000, 1000, false},
		{7, math.Inf(-1), 7000, 1, false},
		{7, math.NaN(), 7000, 1, false},
	} {
		b := NewBudget(c.capacity, c.refill)
		require.Equal(t, c.tokens, b.tokens.Load(), "%+v: starts full", c)
		require.Equal(t, c.tokens, b.capacity, "%+v", c)
		require.Equal(t, c.earned, b.refill, "%+v", c)

		err := (&Policy{Budget: b}).Validate()
		if c.valid {
			require.NoError(t, err, "%+v", c)
			continue
		}
		require.ErrorIs(t, err, ErrPolicy, "%+v", c)
		require.ErrorContains(t, err, "Budget: capacity", "%+v", c)
	}
}

func TestNilBudgetIsUnlimited(t *testing.T) {
	var b *Budget
	b.Success()
	for range 10_000 {
		require.True(t, b.Spend())
	}
	require.Zero(t, b.Refused())
}

func TestBudgetCountsRefusals(t *testing.T) {
	b := NewBudget(2, 1)
	for _, refused := range []uint64{0, 0, 1, 2} {
		require.Equal(t, refused == 0, b.Spend())
		require.Equal(t, refused, b.Refused())
	}
	b.Success()
	require.True(t, b.Spend())
	require.EqualValues(t, 2, b.Refused())
}

// A budget that shared its cache line with something that is written often would make the load in
// Success a cache miss. Objects of 128 bytes are aligned to 128 bytes.
func TestBudgetFillsItsCacheLines(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		require.EqualValues(t, 128, unsafe.Sizeof(Budget{}))
	}
	require.Zero(t, unsafe.Offsetof(Budget{}.tokens), "32-bit machines align only the first word")
}

func TestBudgetRefusesAndRecovers(t *testing.T) {
	b := NewBudget(2, 0.25)
	require.True(t, b.Spend())
	require.True(t, b.Spend())
	require.False(t, b.Spend())
	for range 3 {
		b.Success()
		require.False(t, b.Spend(), "a part of a token buys nothing, and asking costs nothing")
	}
	b.Success()
	require.True(t, b.Spend())
	require.False(t, b.Spend())
	for range 1000 {
		b.Success()
	}
	require.True(t, b.Spend(), "more successes than the bucket holds")
	require.True(t, b.Spend())
	require.False(t, b.Spend(), "fill it to the brim and no further")
}

// Any order of successes and retries, compared with a plain account, and in every window of it the
// promised bound on how much load retries add.
func TestBudgetBoundsAmplification(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(1, 50).Draw(t, "capacity")
		refill := rapid.IntRange(1, token).Draw(t, "refill in thousandths")
		b := NewBudget(capacity, float64(refill)/token)
		account := capacity * token
		spent, earned := []int{0}, []int{0} // running totals, thousandths
		for _, success := range rapid.SliceOfN(rapid.Bool(), 1, 200).Draw(t, "events") {
			s, e := spent[len(spent)-1], earned[len(earned)-1]
			if success {
				b.Success()
				account = min(account+refill, capacity*token)
				e += refill
			} else if granted := b.Spend(); granted {
				require.GreaterOrEqual(t, account, token, "a token was spent that did not exist")
				account -= token
				s += token
			} else {
				require.Less(t, account, token, "a retry was refused with a token left")
			}
			require.EqualValues(t, account, b.tokens.Load())
			spent, earned = append(spent, s), append(earned, e)
		}
		for from := range spent {
			for to := from; to < len(spent); to++ {
				require.LessOrEqual(t, spent[to]-spent[from], capacity*token+earned[to]-earned[from])
			}
		}
	})
}
