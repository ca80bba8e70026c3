package retry

import (
	"fmt"
	"math"

	"go.uber.org/atomic"
)

// Defaults for [NewBudget].
const (
	// DefaultBudgetCapacity is the number of tokens that a client's budget holds when it is full.
	DefaultBudgetCapacity = 1000
	// DefaultBudgetRefill is the share of a token that one success earns.
	DefaultBudgetRefill = 0.1
)

// token is one retry in the unit that a Budget counts in. Whole numbers of thousandths keep the
// account exact, which sums of floating-point refills would not.
const token = 1000

// Ranges of NewBudget's arguments.
const (
	maxCapacity = 1_000_000_000
	minRefill   = 1.0 / token
	maxRefill   = 1.0 // one retry per success
)

// Budget is a bucket of tokens that all operations of a client share. A retry takes one token and
// every success brings back a fraction of one, so over any stretch of time
//
//	retries <= capacity + refill × successes
//
// The second term is the load that retries add in steady state: with the default of 0.1 at most one
// tenth. The first is a burst: after a calm time, capacity retries may go out as fast as the back-off
// lets them, which is what rides out the move of a primary; when nothing succeeds any more they are
// the last ones. A smaller capacity protects the cluster sooner and gives up on callers sooner.
//
// All methods may be called by any number of goroutines, and on a nil Budget, which is unlimited.
type Budget struct {
	// tokens is within [0, capacity]. Only change writes it, by compare-and-swap with the value it
	// judged by, so no interleaving loses a refill or spends a token twice. It comes first because
	// 32-bit machines align only the first word for 64-bit atomics.
	tokens   atomic.Int64
	refused  atomic.Uint64 // retries for which there was no token
	capacity int64         // immutable
	refill   int64         // immutable
	invalid  error         // immutable; what was wrong with NewBudget's arguments, for Policy.Validate

	// Every successful operation of every goroutine reads tokens. The padding keeps out neighbours
	// whose writes would take the cache line away from the readers.
	_ [80]byte
}

// NewBudget returns a full budget of capacity tokens, 1 to 1,000,000,000, in which each success brings
// back refillPerSuccess of a token, 0.001 to 1, rounded to thousandths. The usual values are
// DefaultBudgetCapacity and DefaultBudgetRefill. A value outside its range is moved to the nearest
// bound (NaN to the lowest), and [Policy.Validate] reports it.
func NewBudget(capacity int, refillPerSuccess float64) *Budget {
	tokens := min(max(int64(capacity), 1), maxCapacity)
	refill := minRefill
	if refillPerSuccess > minRefill { // false for NaN
		refill = min(refillPerSuccess, maxRefill)
	}
	b := &Budget{
		capacity: tokens * token,
		refill:   int64(math.Round(refill * token)),
	}
	if tokens != int64(capacity) || refill != refillPerSuccess {
		b.invalid = fmt.Errorf("capacity %d is not within 1 to %d, or refill %v is not within %v to %v",
			capacity, maxCapacity, refillPerSuccess, minRefill, maxRefill)
	}
	b.tokens.Store(b.capacity)
	return b
}

// validate returns what was wrong with the arguments of NewBudget.
func (b *Budget) validate() error {
	if b == nil {
		return nil
	}
	return b.invalid
}

// Success brings back a part of a token. It is called after every successful operation; while the
// bucket is full, as it is in good times, that costs one atomic load and no write, so the cores
// calling it do not contend.
func (b *Budget) Success() {
	if b != nil {
		b.change(b.refilled)
	}
}

// Spend takes a token for one retry. It returns false, and takes nothing, when there is less than
// one left: then too many operations are failing for retries to help.
func (b *Budget) Spend() bool {
	if b == nil || b.change(b.spent) {
		return true
	}
	b.refused.Inc()
	return false
}

// Refused returns how often Spend was false. It is 0 for a nil Budget.
func (b *Budget) Refused() uint64 {
	if b == nil {
		return 0
	}
	return b.refused.Load()
}

// Left returns how many retries the budget allows now, and how many it does when it is full. A nil
// Budget has none of either.
func (b *Budget) Left() (tokens, capacity int) {
	if b == nil {
		return 0, 0
	}
	return int(b.tokens.Load() / token), int(b.capacity / token)
}

// refilled returns the level after a success, and whether that is a change.
func (b *Budget) refilled(level int64) (next int64, ok bool) {
	return min(level+b.refill, b.capacity), level < b.capacity
}

// spent returns the level after a retry, and whether it can be paid.
func (b *Budget) spent(level int64) (next int64, ok bool) {
	return level - token, level >= token
}

// change replaces the level by next(level) and returns true, or leaves it alone and returns false if
// next says so. The level that is replaced is the one that was judged: when another goroutine has
// changed it in between, next is asked again about the new one.
func (b *Budget) change(next func(level int64) (int64, bool)) bool {
	for {
		level := b.tokens.Load()
		changed, ok := next(level)
		if !ok {
			return false
		}
		if b.tokens.CompareAndSwap(level, changed) {
			return true
		}
	}
}
