package retry

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDefect26SuccessCostsNothing counts what an operation allocates that needs no retry, and that
// earns a part of one: back-off and timer are made when there is something to wait for.
func TestDefect26SuccessCostsNothing(t *testing.T) {
	policy := Policy{Budget: NewBudget(10, 0.1)}
	require.True(t, policy.Budget.Spend())
	require.Zero(t, testing.AllocsPerRun(100, func() {
		patience := policy.Start()
		if patience.Attempts() == 1 {
			policy.Budget.Success()
		}
	}))
}
