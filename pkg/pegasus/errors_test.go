package pegasus_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// node is the address of the primary of a single table in a bubble.
const node = "10.0.1.1:34801"

// failure is one way in which an operation on a table fails, and what its error must be.
type failure struct {
	name    string
	options []pegasus.Option
	// arrange brings it about; fail is the operation, which returns within the time given.
	arrange func(b *box)
	within  time.Duration
	fail    func(ctx context.Context, table *pegasus.Table) error

	text string
	want pegasus.Error // but for Err
	is   []error       // errors.Is
	as   []func(error) bool
	not  []error // errors.Is must not hold
}

func get(ctx context.Context, table *pegasus.Table) error {
	_, err := table.Get(ctx, []byte("key"), []byte("sort"))
	return err
}

func set(ctx context.Context, table *pegasus.Table) error {
	return table.Set(ctx, []byte("key"), []byte("sort"), []byte("value"))
}

// disturbed returns an arrangement that injects the faults, one request each.
func disturbed(faults ...onebox.Fault) func(*box) {
	return func(b *box) {
		for _, fault := range faults {
			fault.Times = 1
			b.injectAll(fault)
		}
	}
}

// once is the option not to retry anything.
var once = []pegasus.Option{pegasus.WithRetry(retry.Policy{MaxAttempts: 1})}

var failures = []failure{
	{
		name: "cancelled before", within: -1, fail: get,
		text: `pegasus: get in table "temp" partition 0: node 10.0.1.1:34801: connecting: context deadline exceeded`,
		want: pegasus.Error{Operation: "get", Node: node, Tries: 1, Stage: "connecting"},
		is:   []error{context.DeadlineExceeded}, not: []error{context.Canceled, pegasus.ErrClosed},
	},
	{
		name: "no answer", arrange: disturbed(onebox.Fault{DropReply: true}), within: time.Second, fail: get,
		text: `pegasus: get in table "temp" partition 0 (in doubt): node 10.0.1.1:34801: awaiting the answer: context deadline exceeded`,
		want: pegasus.Error{Operation: "get", Node: node, Tries: 1, Stage: "awaiting the answer", Outcome: pegasus.InDoubt},
		is:   []error{context.DeadlineExceeded},
		as:   []func(error) bool{as[*rpc.CallError]},
	},
	{
		name: "busy", arrange: disturbed(onebox.Fault{Error: wire.ErrBusy}), fail: set,
		text: `pegasus: set in table "temp" partition 0: node 10.0.1.1:34801: server answered ERR_BUSY`,
		want: pegasus.Error{Operation: "set", Node: node, Tries: 1, Server: wire.ErrBusy, Outcome: pegasus.Answered, RetryAfter: time.Second},
		is:   []error{pegasus.ErrBusy}, not: []error{rpc.ErrBusy, context.DeadlineExceeded},
		as: []func(error) bool{as[*rpc.ServerError]},
	},
	{
		name: "an error that nobody knows", arrange: disturbed(onebox.Fault{Error: "ERR_OF_NEXT_YEAR"}), fail: get,
		text: `pegasus: get in table "temp" partition 0: node 10.0.1.1:34801: server answered ERR_OF_NEXT_YEAR`,
		want: pegasus.Error{Operation: "get", Node: node, Tries: 1, Server: "ERR_OF_NEXT_YEAR", Outcome: pegasus.Answered},
		as:   []func(error) bool{as[*rpc.ServerError]}, not: []error{pegasus.ErrBusy},
	},
	{
		name:    "refused, then no time for another pause",
		options: []pegasus.Option{pegasus.WithRetry(retry.Policy{InitialBackoff: time.Second})},
		arrange: disturbed(onebox.Fault{Error: wire.ErrSplitting}), within: 100 * time.Millisecond, fail: get,
		text: `pegasus: get in table "temp" partition 0: node 10.0.1.1:34801: server answered ERR_SPLITTING (retry: no time left to retry: context deadline exceeded)`,
		want: pegasus.Error{Operation: "get", Node: node, Tries: 1, Server: wire.ErrSplitting, Outcome: pegasus.Answered},
		is:   []error{context.DeadlineExceeded, retry.ErrDeadline},
		as:   []func(error) bool{as[*rpc.ServerError]},
	},
	{
		name: "no primary", arrange: func(b *box) { b.withoutPrimary(0) }, within: time.Second, fail: get,
		is:   []error{pegasus.ErrNoPrimary, context.DeadlineExceeded},
		want: pegasus.Error{Operation: "get"},
	},
	{
		name: "attempts used up", options: once, arrange: disturbed(onebox.Fault{Error: wire.ErrInvalidState}), fail: get,
		text: `pegasus: get in table "temp" partition 0: node 10.0.1.1:34801: server answered ERR_INVALID_STATE (retry: no attempts left)`,
		want: pegasus.Error{Operation: "get", Node: node, Tries: 1, Server: wire.ErrInvalidState, Outcome: pegasus.Answered},
		is:   []error{retry.ErrAttempts},
	},
	{
		name: "budget spent", options: []pegasus.Option{func(s *pegasus.Settings) { s.Retry.Budget = retry.NewBudget(2, 0.001) }},
		arrange: func(b *box) { b.injectAll(onebox.Fault{Error: wire.ErrNotEnoughMember}) }, fail: set,
		text: `pegasus: set in table "temp" partition 0 after 3 tries: node 10.0.1.1:34801: server answered ERR_NOT_ENOUGH_MEMBER (retry: the client's retry budget is spent)`,
		want: pegasus.Error{Operation: "set", Node: node, Tries: 3, Server: wire.ErrNotEnoughMember, Outcome: pegasus.Answered},
		is:   []error{retry.ErrBudget}, not: []error{context.DeadlineExceeded},
	},
	{
		name: "connection refused", options: append(once, pegasus.WithoutWarmUp()),
		arrange: func(b *box) { b.Replica(0).Kill() }, fail: set,
		text: `pegasus: set in table "temp" partition 0: node 10.0.1.1:34801: connecting: cannot connect: dial tcp 10.0.1.1:34801: connect: connection refused (retry: no attempts left)`,
		want: pegasus.Error{Operation: "set", Node: node, Tries: 1, Stage: "connecting"},
		is:   []error{rpc.ErrConnect, syscall.ECONNREFUSED, retry.ErrAttempts},
		as:   []func(error) bool{as[*rpc.CallError], as[*rpc.ConnectError], as[*net.OpError]},
	},
	{
		name: "write lost on the way", options: []pegasus.Option{pegasus.WithRetryDoubtfulWrites(false)},
		arrange: disturbed(onebox.Fault{CloseAfter: true}), fail: set,
		text: `pegasus: set in table "temp" partition 0 (in doubt): node 10.0.1.1:34801: awaiting the answer: read: unexpected EOF`,
		want: pegasus.Error{Operation: "set", Node: node, Tries: 1, Stage: "awaiting the answer", Outcome: pegasus.InDoubt},
		as:   []func(error) bool{as[*rpc.CallError]},
	},
	{
		name: "in doubt at first, refused later", fail: set,
		arrange: func(b *box) {
			b.set("key", "so that the connection is known to be good")
			disturbed(onebox.Fault{CloseAfter: true}, onebox.Fault{Error: wire.ErrACLDeny})(b)
		},
		text: `pegasus: set in table "temp" partition 0 after 2 tries (in doubt): node 10.0.1.1:34801: server answered ERR_ACL_DENY`,
		want: pegasus.Error{Operation: "set", Node: node, Tries: 2, Server: wire.ErrACLDeny, Outcome: pegasus.InDoubt},
	},
	{
		name: "an answer without a result", arrange: disturbed(onebox.Fault{OKWithoutBody: true}), fail: set,
		text: `pegasus: set in table "temp" partition 0: node 10.0.1.1:34801: server answered without a result`,
		want: pegasus.Error{Operation: "set", Node: node, Tries: 1, Outcome: pegasus.Answered},
		is:   []error{rpc.ErrNoResult},
	},
	{
		name: "garbage", options: once, arrange: disturbed(onebox.Fault{Garbage: []byte("this is not the protocol")}), fail: get,
		want: pegasus.Error{Operation: "get", Node: node, Tries: 1, Stage: "awaiting the answer", Outcome: pegasus.InDoubt},
		is:   []error{rpc.ErrProtocol, retry.ErrAttempts},
	},
	{
		name: "table closed", arrange: func(b *box) { b.table.Close() }, fail: get,
		text: `pegasus: get in table "temp": client closed`,
		want: pegasus.Error{Operation: "get", Partition: -1},
		is:   []error{pegasus.ErrClosed}, not: []error{context.Canceled},
	},
	{
		name: "client closed", arrange: func(b *box) { require.NoError(b.t, b.client.Close()) }, fail: set,
		text: `pegasus: set in table "temp" partition 0: node 10.0.1.1:34801: connecting: client closed`,
		want: pegasus.Error{Operation: "set", Node: node, Tries: 1, Stage: "connecting"},
		is:   []error{pegasus.ErrClosed}, not: []error{context.Canceled},
	},
	{
		name: "hash key too long",
		fail: func(ctx context.Context, table *pegasus.Table) error { return table.Del(ctx, make([]byte, 65535), nil) },
		text: `pegasus: del in table "temp": wire: hash key longer than 65534 bytes: 65535`,
		want: pegasus.Error{Operation: "del", Partition: -1},
		is:   []error{pegasus.ErrHashKeyTooLong},
	},
	{
		name: "too large",
		fail: func(ctx context.Context, table *pegasus.Table) error {
			return table.Set(ctx, nil, nil, make([]byte, 1<<20))
		},
		text: `pegasus: set in table "temp": request is too large: 1048633 bytes`,
		want: pegasus.Error{Operation: "set", Partition: -1},
		is:   []error{pegasus.ErrTooLarge},
	},
	{
		name: "TTL out of range",
		fail: func(ctx context.Context, table *pegasus.Table) error {
			return table.Set(ctx, nil, nil, nil, pegasus.WithTTL(-time.Second))
		},
		text: `pegasus: set in table "temp": TTL out of range: -1s`,
		want: pegasus.Error{Operation: "set", Partition: -1},
		is:   []error{pegasus.ErrInvalidTTL},
	},
	{
		name: "table dropped", arrange: func(b *box) { require.NoError(b.t, b.DropTable(tableName)) }, fail: get,
		text: `pegasus: get in table "temp" partition 0: node 10.0.1.1:34801: server answered ERR_OBJECT_NOT_FOUND (query routing of table "temp": meta 10.0.0.1:34601 answered ERR_OBJECT_NOT_FOUND)`,
		want: pegasus.Error{Operation: "get", Node: node, Tries: 1, Server: wire.ErrObjectNotFound, Outcome: pegasus.Answered},
		is:   []error{pegasus.ErrNoSuchTable}, as: []func(error) bool{as[*rpc.ServerError], as[*meta.ServerError]},
	},
}

// as says whether an error of that type is in the chain.
func as[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}

// Every failure can be recognised by its cause, and read.
func TestDefect39Errors(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
				if f.arrange != nil {
					f.arrange(b)
				}
				if f.within == 0 {
					f.within = time.Minute
				}
				f.check(t, f.fail(b.within(f.within), b.table))
			}, f.options...)
		})
	}
}

func (f *failure) check(t *testing.T, err error) {
	got := *failed(t, err)
	if f.text != "" {
		require.EqualError(t, err, f.text)
	}
	for _, want := range f.is {
		require.ErrorIs(t, err, want)
	}
	for _, want := range f.not {
		require.NotErrorIs(t, err, want)
	}
	for i, as := range f.as {
		require.True(t, as(err), "type %d is not in the chain", i)
	}
	require.Equal(t, errors.Is(err, context.DeadlineExceeded), got.Timeout())
	got.Err = nil
	if f.want.Tries == 0 && f.want.Partition == 0 { // however many there were time for
		require.Positive(t, got.Tries)
		got.Tries = 0
	}
	f.want.Table = tableName
	require.Equal(t, f.want, got)
}
