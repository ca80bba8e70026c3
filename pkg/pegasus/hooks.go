package pegasus

import (
	"context"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Hooks are functions that a client calls when something happens, see [WithHooks]. Those that are nil
// are not called, and cost nothing.
//
// They are called outside all locks: a hook may call any method of the client, Close included. A hook
// that panics does so in the goroutine that it runs in, which ends the process unless it is the
// application's own and recovers.
//
// AttemptBegin, AttemptEnd, OperationEnd, Retry and Hedge are called by the goroutine that performs the operation, and
// delay it. All others are called one after the other, in the order of what they report, by one goroutine
// that nothing in the client waits for. A hook that is slow delays only those that follow it. While more
// than 1024 wait, further ones are left out and counted in Stats.HooksSkipped. Close does not wait for
// them, since it may be called by one: some may still be called after it has returned.
type Hooks struct {
	// DialBegin is called when a connection is about to be opened.
	DialBegin func(DialBegin)
	// DialEnd is called when a connection was opened, or could not be.
	DialEnd func(DialEnd)
	// ConnectionLost is called when a connection has ended.
	ConnectionLost func(ConnectionLost)
	// CircuitChanged is called when writes are from now on kept from a node because they all failed, when
	// one is let through as a probe, when that one has failed, and when writes are sent again.
	CircuitChanged func(rpc.CircuitChange)

	// AttemptBegin is called before each try of an operation. The context that it returns is given to
	// AttemptEnd, so that it can carry a trace's span; nil stands for the one it was given.
	AttemptBegin func(context.Context, Attempt) context.Context
	// AttemptEnd is called when a try has ended.
	AttemptEnd func(context.Context, AttemptEnd)
	// OperationEnd is called when an operation has ended, after all its tries.
	OperationEnd func(context.Context, OperationEnd)
	// Retry is called when a try has failed and is to be repeated, before the pause.
	Retry func(context.Context, Retry)
	// Hedge is called when a try has ended for which a secondary was asked besides, or in place of, the
	// primary. It comes before AttemptEnd.
	Hedge func(context.Context, Hedge)

	// RateChanged is called when the client begins to hold the reads or the writes of a table back, when it
	// holds them back more, and when it no longer does. See WithAdaptiveRate.
	RateChanged func(RateChange)

	// Refresh is called when the meta servers have answered, or failed to answer, a question for the
	// routing of an open table.
	Refresh func(Refresh)
	// MetaInstalled is called when something new is known about the meta servers.
	MetaInstalled func(MetaInstalled)
	// RoutingInstalled is called when a table has new routing, the first included.
	RoutingInstalled func(RoutingInstalled)
}

// DialBegin is the beginning of a dial.
type DialBegin struct {
	// At is when it began.
	At time.Time
	// Node is the "host:port" dialled.
	Node string
}

// DialEnd is the end of a dial.
type DialEnd struct {
	// At is when it ended.
	At time.Time
	// Node is the "host:port" dialled.
	Node string
	// Took is how long the dial took.
	Took time.Duration
	// Err is why there is no connection; nil if there is.
	Err error
}

// ConnectionLost is the end of a connection.
type ConnectionLost struct {
	// At is when it ended.
	At time.Time
	// Node is the "host:port" it led to.
	Node string
	// Cause is why; rpc.ErrRetired or ErrClosed if the client had no more use for it.
	Cause error
}

// Attempt is one try of an operation.
type Attempt struct {
	// Operation is the operation's name, as in Error.Operation.
	Operation string
	// Table is the table's name.
	Table string
	// Partition is the index of the partition.
	Partition int
	// Node is the "host:port" of its primary, "" if it has none.
	Node string
	// Try is 1 for the first.
	Try int
}

// AttemptEnd is the end of one try.
type AttemptEnd struct {
	Attempt
	// Took is how long the try took.
	Took time.Duration
	// Queued is the part of Took until the request was handed to a connection: for a connection to be
	// made, and to have room. It is all of it if the request never was.
	Queued time.Duration
	// Err is why the try failed. It is nil if a server has executed the request, whatever the storage
	// engine made of it.
	Err error
}

// OperationEnd is the end of an operation. Of batches and scans, each request to a server is one, and what
// was refused before the first try is none, as in OperationStats.Begun.
type OperationEnd struct {
	// Attempt is the last try. Its Try is the number of tries.
	Attempt
	// Took is how long the operation took, with all tries and the pauses between them.
	Took time.Duration
	// Err is why the operation failed, an *Error. It is nil if a server has executed it, whatever the
	// storage engine made of it: that there is no such record is no failure.
	Err error
}

// Retry is the repetition of an operation.
type Retry struct {
	// Attempt is the try that failed.
	Attempt
	// Pause is how long the client waits before the next, at most: news about the routing may end it.
	Pause time.Duration
	// Err is why the try failed.
	Err error
}

// Hedge is a read that a secondary was asked for.
type Hedge struct {
	// Attempt is the try. Its Node is the primary.
	Attempt
	// Secondary is the "host:port" of the server asked.
	Secondary string
	// Won tells that the operation's result is the secondary's.
	Won bool
}

// Refresh is the end of a question for a table's routing.
type Refresh struct {
	// At is when it ended.
	At time.Time
	// Table is the table's name.
	Table string
	// Reason is why it was asked, in words.
	Reason string
	// Took is how long the answer took.
	Took time.Duration
	// News tells that the routing has changed.
	News bool
	// Err is why there is no answer; nil if there is.
	Err error
}

// RateChange is a change of what an adaptive rate does to the reads or the writes of a table.
type RateChange struct {
	// At is when it changed.
	At time.Time
	// Table is the table's name.
	Table string
	// Reads tells that it is about the table's reads; else it is about its writes.
	Reads bool
	// Limit is the number of requests per second that may be sent from then on. It grows as long as
	// servers accept them, which is not told. 0: as many as there are.
	Limit float64
	// Since is when the first limit was set after there was none: At if that is now.
	Since time.Time
}

// MetaInstalled is a change in what is known about the meta servers.
type MetaInstalled struct {
	// At is when it was published.
	At time.Time
	// Event is what led to it, in words.
	Event string
	// State is what is known from then on.
	State MetaSnapshot
}

// RoutingInstalled is a change in what is known about a table.
type RoutingInstalled struct {
	// At is when it was published.
	At time.Time
	// Table is the table's name.
	Table string
	// AppID is the table's number.
	AppID int32
	// Version counts the routings of the table since it was opened, from 1.
	Version uint64
	// Partitions is the number of partitions.
	Partitions int
	// WithoutPrimary is the number of those that have no primary, children of a split that are not ready yet
	// left out.
	WithoutPrimary int
	// Reason is why it was asked for, in words.
	Reason string
}

// WithHooks has functions called when something happens in the client. It may be given several times:
// then all are called, in this order. It replaces the hooks of WithConnections and WithDirectory.
// Default: none.
func WithHooks(hooks Hooks) Option {
	return func(s *Settings) { s.Hooks = append(s.Hooks, hooks) }
}
