package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// A partition moves while it is read: the old node refuses, the new one is not ready at once.
func Example() {
	policy := &retry.Policy{
		InitialBackoff: time.Millisecond,
		Budget:         retry.NewBudget(retry.DefaultBudgetCapacity, retry.DefaultBudgetRefill),
	}
	replies := []wire.ErrorName{wire.ErrObjectNotFound, wire.ErrInvalidState, wire.ErrOK}
	ctx := context.Background()
	deadline := time.Now().Add(time.Second)

	patience := policy.Start()
	for {
		row := retry.Frame(replies[patience.Attempts()-1])
		if row.Name == wire.ErrOK {
			policy.Budget.Success()
			fmt.Println("attempt", patience.Attempts(), "succeeded")
			return
		}
		action := policy.Decide(row, row.Outcome, true)
		fmt.Printf("attempt %d: %s: %s\n", patience.Attempts(), row.Why, action)
		wait, err := patience.Again(time.Now(), deadline, action)
		if err == nil {
			err = retry.Sleep(ctx, wait, nil)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// attempt 1: the node does not host the partition: refresh
	// attempt 2: the replica is not an active primary: refresh
	// attempt 3 succeeded
}

// A connection that breaks under a request leaves it in doubt. A read is sent again; an increment
// is not, since it may have been counted.
func ExampleDecide() {
	lost := retry.Transport(retry.LostAfterSent)
	fmt.Println("get: ", retry.Decide(lost, lost.Outcome, true))
	fmt.Println("incr:", retry.Decide(lost, lost.Outcome, false))
	refused := retry.Transport(retry.ConnectFailed)
	fmt.Println("incr that was never sent:", retry.Decide(refused, refused.Outcome, false))
	// Output:
	// get:  refresh
	// incr: return
	// incr that was never sent: refresh
}

// The budgets of an operation end with an error that says which one.
func ExamplePatience_Again() {
	policy := &retry.Policy{MaxAttempts: 2}
	patience := policy.Start()
	now := time.Now()
	for range 2 {
		_, err := patience.Again(now, now.Add(time.Second), retry.Refresh)
		fmt.Println(err, errors.Is(err, retry.ErrAttempts))
	}
	// Output:
	// <nil> false
	// retry: no attempts left true
}
