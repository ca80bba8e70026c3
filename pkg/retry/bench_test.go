package retry

import (
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// The price of this package for an operation that succeeds.
func BenchmarkSuccess(b *testing.B) {
	policy := &Policy{Budget: NewBudget(DefaultBudgetCapacity, DefaultBudgetRefill)}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		attempts := 0
		for pb.Next() {
			patience := policy.Start()
			policy.Budget.Success()
			attempts += patience.Attempts()
		}
		if attempts < 0 {
			b.Error("unreachable; keeps the loop from being removed")
		}
	})
}

// The price of an answer that is not a success.
func BenchmarkFrame(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		row := Frame(wire.ErrParentPartitionMisused)
		if Decide(row, row.Outcome, false) != Refresh {
			b.Fatal("wrong action")
		}
	}
}

func BenchmarkStorage(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if Storage(wire.StatusNotFound).Action != Return {
			b.Fatal("wrong action")
		}
	}
}

// The price of the first pause of an operation.
func BenchmarkFirstPause(b *testing.B) {
	policy := &Policy{}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		patience := policy.Start()
		if _, err := patience.Again(now, time.Time{}, BackOff); err != nil {
			b.Fatal(err)
		}
	}
}
