package pegasus

import (
	"context"
	"errors"
	"runtime"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// operationNames are the operations that are counted. The last stands for any that is not here.
var operationNames = [...]string{
	"get", "set", "del", "ttl", "exist", "multi get", "multi get range", "multi get all", "multi get sort keys",
	"multi set", "multi del", "sort key count", "incr", "check and set", "check and mutate", "compare exchange",
	"batch get", "batch set", "batch del", "scan", "count", "del range", "other",
}

const operationKinds = len(operationNames)

var kindsByName = func() map[string]int {
	kinds := make(map[string]int, operationKinds)
	for kind, name := range operationNames {
		kinds[name] = kind
	}
	return kinds
}()

// tally is where an operation is counted. It stays with the memory of the operation, which is used again.
type tally struct {
	name  string // of the operation that kind is of
	kind  int
	shard uint32 // 1 up; 0: not chosen yet
	timed bool   // how long it takes is of interest
}

const (
	// operationSample is one in how many operations of a shard is timed, a power of two.
	operationSample = 64
	// operationsTimed is the number of the first operations of a shard that are timed all, so that
	// something is known about rare ones as well.
	operationsTimed = 64
)

// kindOf returns the index of an operation's name.
func (o *operation) kindOf() int {
	if o.tally.name != o.name {
		kind, known := kindsByName[o.name]
		if !known {
			kind = operationKinds - 1
		}
		o.tally.name, o.tally.kind = o.name, kind
	}
	return o.tally.kind
}

// counters count a client's operations. Those that every operation changes are in shards: the memory of
// operations comes from pools that prefer what the same processor has used last, so if each piece of
// memory has a shard for good, processors rarely share one.
type counters struct {
	rare   [operationKinds]rareCounters // first for its alignment
	took   [operationKinds]rpc.Latencies
	shards []counterShard
	next   atomic.Uint32 // shard for an operation that has none
	// timeAll has all operations timed, as somebody wants to know of each.
	timeAll bool
}

// counterShard is a share of the operations begun. Its size is a multiple of two cache lines, since
// processors fetch them in pairs.
type counterShard struct {
	begun [operationKinds]atomic.Uint64
	_     [256 - operationKinds*8%128]byte
}

// rareCounters are the counters of one operation that a successful one leaves alone.
type rareCounters struct {
	retries, inDoubt, hedges, hedgesWon atomic.Uint64
	errors                              [errorKinds]atomic.Uint64
}

func newCounters() *counters {
	return &counters{shards: make([]counterShard, 2*runtime.GOMAXPROCS(0))}
}

// tried counts a try that is about to be made.
func (c *counters) tried(op *operation) {
	kind := op.kindOf()
	if op.tries > 1 {
		c.rare[kind].retries.Inc()
		return
	}
	if shard := int(op.tally.shard); shard == 0 || shard > len(c.shards) { // another client had more
		op.tally.shard = 1 + c.next.Inc()%uint32(len(c.shards))
	}
	n := c.shards[op.tally.shard-1].begun[kind].Inc()
	op.tally.timed = n%operationSample == 0 || n <= operationsTimed || c.timeAll
}

// timed counts the time that a timed operation took.
func (c *counters) timed(op *operation, took time.Duration) { c.took[op.kindOf()].Record(took) }

// failed counts the end of an operation that failed.
func (c *counters) failed(op *operation, e *Error) {
	rare := &c.rare[op.kindOf()]
	rare.errors[errorKindOf(e)].Inc()
	if e.Outcome == InDoubt {
		rare.inDoubt.Inc()
	}
}

func (c *counters) hedged(op *operation, won bool) {
	rare := &c.rare[op.kindOf()]
	rare.hedges.Inc()
	if won {
		rare.hedgesWon.Inc()
	}
}

// ErrorKind is a class of errors, for statistics.
type ErrorKind string

// The kinds of errors. An error that fits several is counted as the first.
const (
	// KindClosed: the client or table was closed.
	KindClosed ErrorKind = "closed"
	// KindCancelled: the caller gave up.
	KindCancelled ErrorKind = "cancelled"
	// KindBusy: ErrBusy.
	KindBusy ErrorKind = "busy"
	// KindOverloaded: ErrOverloaded.
	KindOverloaded ErrorKind = "overloaded"
	// KindCircuit: rpc.ErrCircuitOpen.
	KindCircuit ErrorKind = "circuit open"
	// KindNoPrimary: ErrNoPrimary.
	KindNoPrimary ErrorKind = "no primary"
	// KindTimeout: the time was over.
	KindTimeout ErrorKind = "timeout"
	// KindBudget: a repetition would have helped, but the retry budget was used up.
	KindBudget ErrorKind = "retry budget"
	// KindRefused: a server refused with another error name.
	KindRefused ErrorKind = "refused"
	// KindConnection: a connection was lost, or could not be made.
	KindConnection ErrorKind = "connection"
	// KindAnswered: a server has executed the operation with a result that is a failure.
	KindAnswered ErrorKind = "answered"
	// KindOther: anything else.
	KindOther ErrorKind = "other"
)

// errorRows say how to tell the kinds, in the order in which they are tried.
var errorRows = [...]struct {
	kind ErrorKind
	is   func(*Error) bool
}{
	{KindClosed, isError(ErrClosed)},
	{KindCancelled, isError(context.Canceled)},
	{KindBusy, isError(ErrBusy)},
	{KindOverloaded, isError(ErrOverloaded)},
	{KindCircuit, isError(rpc.ErrCircuitOpen)},
	{KindNoPrimary, isError(ErrNoPrimary)},
	{KindTimeout, isError(context.DeadlineExceeded)},
	{KindBudget, isError(retry.ErrBudget)},
	{KindRefused, func(e *Error) bool { return e.Server != "" && e.Server != wire.ErrOK }},
	{KindConnection, func(e *Error) bool { return e.Stage != "" }},
	{KindAnswered, func(e *Error) bool { return e.Outcome == Answered }},
	{KindOther, func(*Error) bool { return true }},
}

const errorKinds = len(errorRows)

func isError(target error) func(*Error) bool {
	return func(e *Error) bool { return errors.Is(e, target) }
}

func errorKindOf(e *Error) int {
	for kind := range errorRows {
		if errorRows[kind].is(e) {
			return kind
		}
	}
	return errorKinds - 1
}
