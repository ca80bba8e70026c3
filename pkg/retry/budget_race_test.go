package retry

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// An operation that another one overtakes, between reading the level and writing it, ends as if the
// two had come one after the other: no token is spent twice, no refill is lost or counted above the
// capacity, nothing is refused for want of a token that is there.
func TestBudgetSurvivesBeingOvertaken(t *testing.T) {
	const capacity, refill = 3 * token, token / 4
	b := NewBudget(capacity/token, float64(refill)/token)
	type judge = func(level int64) (int64, bool)
	type ending struct {
		granted, overtakerGranted bool
		level                     int64
	}
	overtaken := func(op, overtaker judge) (e ending) {
		judged := 0
		e.granted = b.change(func(level int64) (int64, bool) {
			next, ok := op(level)
			if judged++; judged == 1 {
				e.overtakerGranted = b.change(overtaker)
			}
			return next, ok
		})
		e.level = b.tokens.Load()
		return e
	}
	inTurn := func(first, second judge) (bool, bool, int64) {
		return b.change(first), b.change(second), b.tokens.Load()
	}
	for _, level := range []int64{
		0, 1, token - refill, token - 1, token, token + 1, 2*token - 1, 2 * token, capacity - refill, capacity - 1, capacity,
	} {
		for i, op := range []judge{b.refilled, b.spent} {
			for j, overtaker := range []judge{b.refilled, b.spent} {
				var before, after ending
				b.tokens.Store(level)
				before.granted, before.overtakerGranted, before.level = inTurn(op, overtaker)
				b.tokens.Store(level)
				after.overtakerGranted, after.granted, after.level = inTurn(overtaker, op)

				b.tokens.Store(level)
				require.Contains(t, []ending{before, after}, overtaken(op, overtaker), "level %d, %d over %d", level, j, i)
			}
		}
	}
}

// barrier lets its parties go on together, again and again. The test above needs no luck; the ones
// below look at whole operations on free-running cores, where an interleaving that lasts a nanosecond
// shows only to goroutines that are released at the same instant.
type barrier struct {
	arrived atomic.Int64
	parties int64
}

func (b *barrier) wait() {
	mine := b.arrived.Inc()
	all := (mine + b.parties - 1) / b.parties * b.parties
	for spins := 0; b.arrived.Load() < all; spins++ {
		if spins > 100 {
			runtime.Gosched() // somebody needs this core to arrive
		}
	}
}

// The books balance after any mixture: away from the bounds the level is exactly what was there,
// plus the refills, minus the tokens spent.
func TestBudgetLosesNothingUnderContention(t *testing.T) {
	const goroutines, rounds = 4, 2000
	b := NewBudget(goroutines*rounds*2, 0.1)
	before := b.capacity / 2
	b.tokens.Store(before)
	gate := barrier{parties: goroutines}
	var successes, spent atomic.Int64
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(g)))
			for range rounds {
				succeeds := random.IntN(2) == 0
				gate.wait()
				if succeeds {
					b.Success()
					successes.Inc()
				} else if b.Spend() {
					spent.Inc()
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, goroutines*rounds, successes.Load()+spent.Load(), "nothing was refused")
	require.Equal(t, before+successes.Load()*b.refill-spent.Load()*token, b.tokens.Load())
}

// budgetModel is a token bucket used by one goroutine: the state is its level, the input is true for
// a success and false for a retry, the output says whether the retry was granted.
func budgetModel(capacity, refill int64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return capacity },
		Step: func(state, input, output any) (bool, any) {
			level := state.(int64)
			switch {
			case input.(bool):
				return true, min(level+refill, capacity)
			case level < token:
				return output == false, level
			default:
				return output == true, level - token
			}
		},
	}
}

// Every answer of a budget that many goroutines use, around both of its bounds, is one that a budget
// used by one could have given.
func TestBudgetIsLinearizable(t *testing.T) {
	const goroutines, rounds, histories = 3, 15, 100
	for seed := range uint64(histories) {
		b := NewBudget(2, 0.5)
		gate := barrier{parties: goroutines}
		var clock atomic.Int64
		operations := make([][]porcupine.Operation, goroutines)
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(g)))
				for range rounds {
					op := porcupine.Operation{ClientId: g, Input: random.IntN(3) > 0}
					op.Call = clock.Inc()
					gate.wait()
					if op.Input == true {
						b.Success()
					} else {
						op.Output = b.Spend()
					}
					op.Return = clock.Inc()
					operations[g] = append(operations[g], op)
				}
			})
		}
		wg.Wait()
		var history []porcupine.Operation
		for _, own := range operations {
			history = append(history, own...)
		}
		for granted := true; granted; { // the level at the end is one more fact to explain
			op := porcupine.Operation{Input: false, Call: clock.Inc()}
			granted = b.Spend()
			op.Output, op.Return = granted, clock.Inc()
			history = append(history, op)
		}
		require.True(t, porcupine.CheckOperations(budgetModel(b.capacity, b.refill), history), "history %d", seed)
	}
}
