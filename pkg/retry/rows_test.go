package retry

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// class is a line of the recommendation "Recommended rules for a new client" in docs/protocol.md,
// typed out here once more and on purpose by name, so that a slip in the table cannot hide.
type class struct {
	text     string
	errors   []string
	action   Action
	executed bool
}

var frameClasses = []class{
	{"handled", []string{"ERR_OK"}, Return, true},
	{"not executed, routing stale",
		[]string{"ERR_OBJECT_NOT_FOUND", "ERR_INVALID_STATE", "ERR_PARENT_PARTITION_MISUSED"}, Refresh, false},
	{"not executed, transient",
		[]string{"ERR_SPLITTING", "ERR_NOT_ENOUGH_MEMBER", "ERR_CAPACITY_EXCEEDED"}, BackOff, false},
	{"not executed, overload",
		[]string{"ERR_BUSY"}, Return, false},
	{"not executed, permanent",
		[]string{"ERR_ACL_DENY", "ERR_INVALID_DATA", "ERR_OPERATION_DISABLED", "ERR_DISK_INSUFFICIENT",
			"ERR_DISK_IO_ERROR", "ERR_HANDLER_NOT_FOUND"}, Return, false},
	{"not seen by normal clients",
		[]string{"ERR_INVALID_PARAMETERS", "ERR_NO_NEED_OPERATE"}, Return, false},
}

// metaClasses transcribes "Body errors of meta servers" and "Routing query".
var metaClasses = []class{
	{"handled", []string{"ERR_OK"}, Return, true},
	{"not the leader, or not yet a server", []string{"ERR_FORWARD_TO_OTHERS", "ERR_HANDLER_NOT_FOUND"}, AskOthers, false},
	{"leader, still loading state", []string{"ERR_SERVICE_NOT_ACTIVE"}, BackOff, false},
	{"table in transition", []string{"ERR_BUSY_CREATING", "ERR_BUSY_DROPPING"}, BackOff, false},
	{"refused", []string{"ERR_UNDER_RECOVERY", "ERR_ACL_DENY", "ERR_OBJECT_NOT_FOUND", "ERR_APP_NOT_EXIST",
		"ERR_APP_EXIST", "ERR_APP_DROPPED", "ERR_STATE_FREEZED", "ERR_INVALID_PARAMETERS", "ERR_SPLITTING",
		"ERR_BUSY", "ERR_INVALID_STATE", "ERR_CHILD_REGISTERED", "ERR_NOT_IMPLEMENTED"}, Return, false},
	{"unexpected state", []string{"ERR_UNKNOWN"}, Return, true},
}

func TestFrameAndMetaRows(t *testing.T) {
	for _, layer := range []struct {
		layer   Layer
		lookup  func(wire.ErrorName) Row
		rows    []Row
		classes []class
	}{
		{FrameLayer, Frame, frameRows, frameClasses},
		{MetaLayer, Meta, metaRows, metaClasses},
	} {
		listed := 0
		for _, class := range layer.classes {
			for _, name := range class.errors {
				row := layer.lookup(wire.ErrorName(name))
				require.Equal(t, Row{
					Layer: layer.layer, Name: wire.ErrorName(name), Action: class.action, Outcome: Answered,
					Executed: class.executed, Overload: row.Overload, Why: row.Why,
				}, row, "%v %s: %s", layer.layer, name, class.text)
				require.Equal(t, layer.layer == FrameLayer && name == "ERR_BUSY", row.Overload, name)
				require.NotEqual(t, whyOpaque, row.Why, "%s must have a row", name)
				listed++
			}
		}
		require.Len(t, layer.rows, listed, "the %v layer has a row that the recommendation does not", layer.layer)
	}
}

// The engine has spoken: no status is retried. The old client retried a failed incr on a text value
// until the deadline, and reported a timeout.
func TestStorageRows(t *testing.T) {
	names := []string{
		"success", "no such record, or unknown scan context", "corrupted storage", "not supported",
		"bad request, or a value that is no integer or overflows", "storage I/O error", "merge in progress",
		"partial result because of a limit", "storage is shutting down", "storage timed out", "aborted",
		"storage is busy", "expired", "the check did not pass", "compaction too large", "column family dropped",
	}
	require.Len(t, storageRows, len(names))
	for status, why := range names {
		want := Row{
			Layer: StorageLayer, Status: wire.Status(status), Action: Return, Outcome: Answered, Executed: true, Why: why,
		}
		require.Equal(t, want, Storage(wire.Status(status)))
	}
}

func TestTransportRows(t *testing.T) {
	rows := []struct {
		cause    Cause
		outcome  Outcome
		executed bool
		action   Action
	}{
		{ConnectFailed, NotSent, false, Refresh},  // "never sent: refresh, retry any operation"
		{LostBeforeSent, NotSent, false, Refresh}, // likewise
		{NoPrimary, NotSent, false, Refresh},      // "treat like a stale route"
		{Moved, NotSent, false, Refresh},          // never sent, and the routing is newer already
		{LostAfterSent, InDoubt, true, Refresh},   // "unknown outcome: retry reads, and writes if allowed"
		{AttemptTimedOut, InDoubt, true, Refresh}, // likewise; a silent node may have lost its partitions
		{Undecodable, InDoubt, true, Return},      // executed or not, the next reply would look the same
		{OKWithoutBody, Answered, false, Return},  // "ERR_OK without body: not executed, fail"
		{Cause(0), InDoubt, true, Return},         // no cause at all
		{Moved + 1, InDoubt, true, Return},        // a cause nobody defined
		{Cause(math.MaxUint8), InDoubt, true, Return},
	}
	const unlisted = 3
	require.Len(t, transportRows, len(rows)-unlisted)
	for _, want := range rows {
		row := Transport(want.cause)
		require.Equal(t, Row{
			Layer: TransportLayer, Cause: want.cause, Action: want.action, Outcome: want.outcome,
			Executed: want.executed, Why: row.Why,
		}, row)
	}
}

// Servers learn new error names with every release. They must reach the caller unchanged, and must
// neither be retried nor be taken for a promise that nothing was executed.
func TestUnknownAnswersAreOpaque(t *testing.T) {
	for _, name := range []wire.ErrorName{"", "ERR_TIMEOUT", "ERR_FROM_THE_FUTURE", "err_busy", "ERR_BUSY "} {
		want := Row{Layer: FrameLayer, Name: name, Action: Return, Outcome: Answered, Executed: true, Why: whyOpaque}
		require.Equal(t, want, Frame(name))
		want.Layer = MetaLayer
		require.Equal(t, want, Meta(name))
	}
	for _, status := range []wire.Status{-104, -101, -1, 16, math.MaxInt32, math.MinInt32} {
		want := Row{Layer: StorageLayer, Status: status, Action: Return, Outcome: Answered, Executed: true, Why: whyOpaque}
		require.Equal(t, want, Storage(status))
	}
}

// What holds for every row, also for one added tomorrow.
func TestRowsAreSound(t *testing.T) {
	type identity struct {
		layer  Layer
		name   wire.ErrorName
		status wire.Status
		cause  Cause
	}
	seen := map[identity]bool{}
	for _, row := range Rows() {
		id := identity{row.Layer, row.Name, row.Status, row.Cause}
		require.False(t, seen[id], "%v is listed twice", row)
		seen[id] = true

		require.NotEmpty(t, row.Why, row.String())
		if row.Action != Return && row.Outcome == Answered {
			require.False(t, row.Executed, "%v: an answered request is resent only if the server did nothing", row)
		}
		if row.Outcome == NotSent {
			require.False(t, row.Executed, "%v: what was not sent was not executed", row)
		}
		if row.Outcome == InDoubt {
			require.True(t, row.Executed, "%v: what is in doubt may have been executed", row)
		}
		if row.Action == AskOthers {
			require.Equal(t, MetaLayer, row.Layer, "%v: only meta servers stand in for each other", row)
		}
		require.NotEqual(t, RetryHere, row.Action, "%v: no failure is over at once", row)
	}
}

func TestRowsReturnsACopy(t *testing.T) {
	Rows()[0].Action = AskOthers
	require.Equal(t, Return, Rows()[0].Action)
}

func TestLookupsDoNotAllocate(t *testing.T) {
	var sink Row
	require.Zero(t, testing.AllocsPerRun(100, func() {
		sink = Frame(wire.ErrInvalidState)
		sink = Frame("ERR_FROM_THE_FUTURE")
		sink = Meta(wire.ErrForwardToOthers)
		sink = Storage(wire.StatusNotFound)
		sink = Transport(LostAfterSent)
		sink.Action = Decide(sink, sink.Outcome, false)
	}))
	require.Equal(t, Return, sink.Action)
}
