package retry

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

var allActions = []Action{Return, RetryHere, Refresh, BackOff, AskOthers}

func TestNames(t *testing.T) {
	for want, value := range map[string]interface{ String() string }{
		"not sent": NotSent, "answered": Answered, "in doubt": InDoubt, "outcome(3)": Outcome(3),
		"return": Return, "retry here": RetryHere, "refresh": Refresh, "back off": BackOff,
		"ask others": AskOthers, "action(255)": Action(255),
		"frame": FrameLayer, "meta": MetaLayer, "storage": StorageLayer, "transport": TransportLayer,
		"layer(4)": Layer(4),
		"none":     Cause(0), "connect failed": ConnectFailed, "lost before sent": LostBeforeSent,
		"lost after sent": LostAfterSent, "attempt timed out": AttemptTimedOut,
		"ERR_OK without body": OKWithoutBody, "response undecodable": Undecodable,
		"no primary": NoPrimary, "moved": Moved, "cause(9)": Cause(9),
		"frame ERR_BUSY":           Frame(wire.ErrBusy),
		"meta ERR_NEW":             Meta("ERR_NEW"),
		"storage status -101":      Storage(-101),
		"transport connect failed": Transport(ConnectFailed),
	} {
		require.Equal(t, want, value.String())
	}
}

// The outcome of several attempts is the max of theirs.
func TestOutcomesAreOrdered(t *testing.T) {
	require.Equal(t, Answered, max(NotSent, Answered), "the server's refusal tells more than the failed dial before it")
	require.Equal(t, InDoubt, max(InDoubt, Answered), "a refusal of the second attempt does not undo the first")
	require.Equal(t, InDoubt, max(NotSent, InDoubt))
}

func TestDecideMatrix(t *testing.T) {
	for _, c := range []struct {
		outcome    Outcome
		idempotent bool
		resend     bool // whether the row's action stands
	}{
		{NotSent, true, true},
		{NotSent, false, true},
		{Answered, true, true},
		{Answered, false, true},
		{InDoubt, true, true},
		{InDoubt, false, false},
		{Outcome(3), true, true},
		{Outcome(3), false, false}, // a value nobody defined is no licence to send twice
	} {
		for _, action := range allActions {
			want := Return
			if c.resend {
				want = action
			}
			got := Decide(Row{Action: action}, c.outcome, c.idempotent)
			require.Equal(t, want, got, "%v, %v, idempotent %v", action, c.outcome, c.idempotent)
		}
	}
}

// Whatever the table says, an operation that must not run twice is resent only after a certain
// outcome. This is the promise made to callers of incr and check_and_set.
func TestNoRowResendsADoubtfulIncrement(t *testing.T) {
	for _, row := range Rows() {
		require.Equal(t, Return, Decide(row, InDoubt, false), row.String())
		require.Equal(t, row.Action, Decide(row, InDoubt, true), row.String())
		require.Equal(t, row.Action, Decide(row, NotSent, false), row.String())
	}
}

func TestRetryBusyIsTheOnlyDifferenceOfAPolicy(t *testing.T) {
	patient, busy := &Policy{}, &Policy{RetryBusy: true}
	for _, row := range Rows() {
		for _, outcome := range []Outcome{NotSent, Answered, InDoubt} {
			for _, idempotent := range []bool{true, false} {
				want := Decide(row, outcome, idempotent)
				require.Equal(t, want, patient.Decide(row, outcome, idempotent), row.String())
				require.Equal(t, want, (*Policy)(nil).Decide(row, outcome, idempotent), row.String())

				isBusy := row.Layer == FrameLayer && row.Name == "ERR_BUSY"
				if isBusy && (outcome != InDoubt || idempotent) {
					want = BackOff
				}
				require.Equal(t, want, busy.Decide(row, outcome, idempotent), row.String())
			}
		}
	}
	require.Equal(t, Return, Frame(wire.ErrBusy).Action, "the policy must not have written to the table")
}
