package pegasus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// counting are the operations that must not be repeated in doubt, each in a form that turns a record
// from 0 to 1 and shows if it was executed twice.
var counting = map[string]struct {
	method *wire.Method
	run    func(ctx context.Context, table *pegasus.Table) error
}{
	"incr": {wire.Incr, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.Incr(ctx, hashKey, []byte("n"), 1)
		return err
	}},
	"check and set": {wire.CheckAndSet, func(ctx context.Context, table *pegasus.Table) error {
		result, err := table.CheckAndSet(ctx, hashKey, pegasus.Check{SortKey: []byte("n"), Type: pegasus.CheckIntLess, Operand: []byte("1")},
			[]byte("n"), []byte("1"), nil)
		return passed(result.Passed, err)
	}},
	"check and mutate": {wire.CheckAndMutate, func(ctx context.Context, table *pegasus.Table) error {
		result, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{SortKey: []byte("n"), Type: pegasus.CheckBytesEqual, Operand: []byte("0")},
			[]pegasus.Mutation{{SortKey: []byte("n"), Value: []byte("1")}}, nil)
		return passed(result.Passed, err)
	}},
	"compare exchange": {wire.CheckAndSet, func(ctx context.Context, table *pegasus.Table) error {
		swapped, _, err := table.CompareExchange(ctx, hashKey, []byte("n"), []byte("0"), []byte("1"))
		return passed(swapped, err)
	}},
}

// errNotPassed is what a repetition of an operation that had been executed would come to.
var errNotPassed = errors.New("the check was not passed")

func passed(ok bool, err error) error {
	if err == nil && !ok {
		return errNotPassed
	}
	return err
}

// TestAtomicOperationsAreSentOnce loses the answer of each in every way. It must not be sent again,
// whatever is allowed for other writes, and the error must say that it may have been executed.
func TestAtomicOperationsAreSentOnce(t *testing.T) {
	for name, loss := range map[string]struct {
		fault   onebox.Fault
		applied string
	}{
		"cut before it was executed": {onebox.Fault{CloseBefore: true}, "0"},
		"cut after it was executed":  {onebox.Fault{CloseAfter: true}, "1"},
		"cut within the answer":      {onebox.Fault{Truncate: 50}, "1"},
		"request dropped":            {onebox.Fault{DropRequest: true}, "0"},
		"answer dropped":             {onebox.Fault{DropReply: true}, "1"},
		"answer too late":            {onebox.Fault{Delay: time.Minute}, "1"},
		"answer to something else":   {onebox.Fault{WrongSequence: true}, "1"},
		"answer of another kind":     {onebox.Fault{WrongName: "RPC_RRDB_RRDB_PUT"}, "1"},
		"garbage":                    {onebox.Fault{Garbage: []byte("garbage")}, "1"},
	} {
		for operation, o := range counting {
			t.Run(operation+" "+name, func(t *testing.T) {
				inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
					require.NoError(t, b.table.Set(t.Context(), hashKey, []byte("n"), []byte("0")))
					loss.fault.Match = onebox.OnMethod(o.method)
					b.injectAll(loss.fault)
					err := o.run(b.within(20*time.Second), b.table)
					require.Equal(t, pegasus.InDoubt, failed(t, err).Outcome)
					require.Equal(t, operation, failed(t, err).Operation)
					require.Equal(t, 1, failed(t, err).Tries)
					pass(time.Hour)
					require.Equal(t, 1, b.requests(o.method))
					require.Equal(t, loss.applied, b.stored("n"))
				})
			})
		}
	}
}

// What a server refused, or never had, was not executed: that is repeated, and executed once.
func TestAtomicOperationsAreRepeatedWhenRefused(t *testing.T) {
	for name, hinder := range map[string]func(b *box){
		"moved":    func(b *box) { require.NoError(b.t, b.MovePrimary(tableName, 0, 1)) },
		"refused":  func(b *box) { b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Times: 3}) },
		"not sent": func(b *box) { b.Replica(0).Kill() },
	} {
		for operation, o := range counting {
			t.Run(operation+" "+name, func(t *testing.T) {
				inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
					require.NoError(t, b.table.Set(t.Context(), hashKey, []byte("n"), []byte("0")))
					pass(0)
					hinder(b)
					pass(time.Millisecond) // the loss of a connection is noticed
					require.NoError(t, o.run(t.Context(), b.table))
					require.Equal(t, "1", b.stored("n"))
				})
			})
		}
	}
}
