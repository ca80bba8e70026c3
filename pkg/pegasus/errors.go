package pegasus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Errors to be compared with errors.Is. Except for ErrNotFound, which is returned as it is, they
// stand behind an [*Error].
var (
	// ErrNotFound means that a record does not exist or has expired. It is a normal answer, and
	// returned without anything around it.
	ErrNotFound = errors.New("pegasus: not found")
	// ErrNoSuchTable means that the cluster has no table of that name.
	ErrNoSuchTable = meta.ErrNoSuchTable
	// ErrClosed means that the client or the table was closed, and only that.
	ErrClosed = rpc.ErrClosed
	// ErrBusy means that the server throttles the table, or is overloaded, and refused to execute the
	// operation.
	ErrBusy = errors.New("server is busy")
	// ErrNoPrimary means that the partition had no primary as long as the operation could wait.
	ErrNoPrimary = errors.New("partition has no primary")
	// ErrHashKeyTooLong means that a hash key has more than 65534 bytes.
	ErrHashKeyTooLong = wire.ErrHashKeyTooLong
	// ErrHashKeyEmpty means that an operation on the records of one hash key was given an empty one.
	// Records without a hash key are spread over the partitions by their sort keys, so that no server
	// has all of them; only operations on one record, batches and scans of the table reach them.
	ErrHashKeyEmpty = errors.New("hash key is empty")
	// ErrInvalidArgument means that an argument cannot be meant: a list is empty, a limit negative, a
	// filter or check unknown.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrTooLarge means that a write is larger than Settings.MaxWriteBytes, or that the keys of a read
	// have more than 1 GiB together.
	ErrTooLarge = errors.New("request is too large")
	// ErrAnswerTooLarge means that a server answered with more than rpc.Options.MaxResponseBytes. The
	// operation should ask for less at a time.
	ErrAnswerTooLarge = rpc.ErrResponseTooLarge
	// ErrInvalidTTL means that a TTL is negative, or ends after 19 January 2084, where expiry times end.
	ErrInvalidTTL = errors.New("TTL out of range")
	// ErrNotInteger means that Incr, or a check that compares integers, met a value or an operand that
	// is no integer of 64 bits. Nothing was written.
	ErrNotInteger = errors.New("value is not an integer")
	// ErrNotCounted means that counting took the server too long, so that it gave up.
	ErrNotCounted = errors.New("too many records to count in time")
	// ErrBadAnswer means that an answer could be read but contradicts the request.
	ErrBadAnswer = errors.New("answer does not fit the request")
)

// Outcome says what may have happened to an operation at the server.
type Outcome = retry.Outcome

// The outcomes.
const (
	// NotSent means that no server can have executed the operation.
	NotSent = retry.NotSent
	// Answered means that a server decided: its answer is in the error.
	Answered = retry.Answered
	// InDoubt means that the operation may or may not have been executed.
	InDoubt = retry.InDoubt
)

// openTable is the name of the one operation that is not on records.
const openTable = "open table"

// Error is the failure of one operation. Use errors.Is and errors.As on it to get at the cause.
type Error struct {
	// Operation is the operation's name: "get", "set", "del", "ttl", "exist", "multi get",
	// "multi get range", "multi get all", "multi get sort keys", "multi set", "multi del",
	// "sort key count", "incr", "check and set", "check and mutate", "compare exchange", "batch get",
	// "batch set", "batch del", "scan", "count", "del range", "open table". A DelRange, and sometimes a
	// MultiGetAll, fails with the name of what it makes use of: "scan", "multi del".
	Operation string
	// Table is the table's name.
	Table string
	// Partition is the index of the partition that the last try addressed; -1 if there was no try.
	Partition int
	// Node is the "host:port" of the server that the last try addressed, of the secondary if that answered in
	// the primary's place, or of the meta server that answered "open table"; "" if there was none.
	Node string
	// Server is the error name that the server answered with last, or meta server for "open table";
	// "" if it did not.
	Server wire.ErrorName
	// Status is what the storage engine answered; StatusOK unless that is what failed.
	Status wire.Status
	// Outcome says what may have happened, all tries together: InDoubt if that is so for any.
	Outcome Outcome
	// Tries is how often the operation was tried.
	Tries int
	// Stage is where the last try was when it ended, in words: "connecting", "waiting for admission",
	// "queued", "awaiting the answer"; "" if that says nothing.
	Stage string
	// RetryAfter is how long the server, or the client on its behalf, is likely to go on refusing: for
	// ErrBusy, and 0 otherwise.
	RetryAfter time.Duration
	// Err is the cause.
	Err error
}

// Error implements error. The text names Node.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "pegasus: %s", e.Operation)
	if e.Operation == openTable {
		fmt.Fprintf(&text, " %q", e.Table)
	} else {
		fmt.Fprintf(&text, " in table %q", e.Table)
	}
	if e.Partition >= 0 {
		fmt.Fprintf(&text, " partition %d", e.Partition)
	}
	if e.Tries > 1 {
		fmt.Fprintf(&text, " after %d tries", e.Tries)
	}
	if e.Outcome == InDoubt {
		text.WriteString(" (in doubt)")
	}
	if e.Node != "" && !e.causeNamesNode() {
		fmt.Fprintf(&text, ": node %s", e.Node)
	}
	fmt.Fprintf(&text, ": %v", e.Err)
	return text.String()
}

// causeNamesNode says whether the text of the cause names the server already.
func (e *Error) causeNamesNode() bool {
	var call *rpc.CallError
	return e.Operation == openTable || errors.As(e.Err, &call) && call.Address == e.Node
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is recognises ErrBusy, which servers express as an error name.
func (e *Error) Is(target error) bool {
	return target == ErrBusy && e.Server == wire.ErrBusy
}

// Timeout says whether time ran out, as for errors of package net.
func (e *Error) Timeout() bool { return errors.Is(e.Err, context.DeadlineExceeded) }

// StatusError is an answer of the storage engine that the operation does not expect.
type StatusError struct {
	// Status is the engine's answer.
	Status wire.Status
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("storage status %d: %s", e.Status, retry.Storage(e.Status).Why)
}

// OverflowError is the failure of an Incr whose sum is no integer of 64 bits. The record is unchanged.
type OverflowError struct {
	// Value is the number that the record holds.
	Value int64
	// Increment is what was to be added.
	Increment int64
}

// Error implements error.
func (e *OverflowError) Error() string {
	return fmt.Sprintf("%d plus %d overflows", e.Value, e.Increment)
}

// invalid is the error of an operation that was refused before anything was sent.
func (t *Table) invalid(operation string, cause error) error {
	return &Error{Operation: operation, Table: t.name, Partition: -1, Outcome: NotSent, Err: cause}
}
