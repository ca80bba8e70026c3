package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// reaction is what the client does about a frame error that comes once.
type reaction struct {
	retried bool // the request is sent again, and succeeds
	queries int  // how often the meta servers are asked
	waits   bool // before the second request
}

var (
	refreshes = reaction{retried: true, queries: 1}
	backsOff  = reaction{retried: true, waits: true}
	givesUp   = reaction{}
)

var reactions = map[wire.ErrorName]reaction{
	wire.ErrObjectNotFound:         refreshes,
	wire.ErrInvalidState:           refreshes,
	wire.ErrParentPartitionMisused: refreshes,
	wire.ErrSplitting:              backsOff,
	wire.ErrNotEnoughMember:        backsOff,
	wire.ErrCapacityExceeded:       backsOff,
	wire.ErrBusy:                   givesUp,
	wire.ErrACLDeny:                givesUp,
	wire.ErrInvalidData:            givesUp,
	wire.ErrOperationDisabled:      givesUp,
	wire.ErrDiskInsufficient:       givesUp,
	wire.ErrDiskIOError:            givesUp,
	wire.ErrHandlerNotFound:        givesUp,
	wire.ErrInvalidParameters:      givesUp,
	wire.ErrNoNeedOperate:          givesUp,
	"ERR_RDB_CORRUPTION":           givesUp,
	"ERR_NEVER_HEARD_OF":           givesUp,
}

// kind says whether an operation may be repeated when it may have been executed.
type kind int

const (
	aRead    kind = iota // always
	aWrite               // if the client's settings allow it
	anAtomic             // never
)

// operations are all operations, for what is the same for all. None changes the record that set writes.
var operations = map[string]struct {
	method *wire.Method
	kind   kind
	run    func(ctx context.Context, table *pegasus.Table) error
}{
	"get": {wire.Get, aRead, get},
	"set": {wire.Put, aWrite, set},
	"append get": {wire.Get, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.AppendGet(ctx, nil, []byte("key"), []byte("sort"))
		return err
	}},
	"ttl": {wire.TTL, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, _, err := table.TTL(ctx, []byte("key"), []byte("sort"))
		return err
	}},
	"exist": {wire.TTL, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.Exist(ctx, []byte("key"), []byte("sort"))
		return err
	}},
	"del": {wire.Remove, aWrite, func(ctx context.Context, table *pegasus.Table) error {
		return table.Del(ctx, []byte("another"), nil)
	}},
	"multi get": {wire.MultiGet, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGet(ctx, []byte("key"), sortKeys("sort"), nil)
		return err
	}},
	"multi get range": {wire.MultiGet, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGetRange(ctx, []byte("key"), nil, nil, nil)
		return err
	}},
	"multi get sort keys": {wire.MultiGet, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, _, err := table.MultiGetSortKeys(ctx, []byte("key"), nil)
		return err
	}},
	"sort key count": {wire.SortKeyCount, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.SortKeyCount(ctx, []byte("key"))
		return err
	}},
	"multi set": {wire.MultiPut, aWrite, func(ctx context.Context, table *pegasus.Table) error {
		return table.MultiSet(ctx, []byte("another"), records("a", "1"))
	}},
	"multi del": {wire.MultiRemove, aWrite, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiDel(ctx, []byte("another"), sortKeys("a"))
		return err
	}},
	"incr": {wire.Incr, anAtomic, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.Incr(ctx, []byte("another"), []byte("n"), 1)
		return err
	}},
	"check and set": {wire.CheckAndSet, anAtomic, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndSet(ctx, []byte("another"), pegasus.Check{}, nil, nil, nil)
		return err
	}},
	"check and mutate": {wire.CheckAndMutate, anAtomic, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndMutate(ctx, []byte("another"), pegasus.Check{}, make([]pegasus.Mutation, 1), nil)
		return err
	}},
	"compare exchange": {wire.CheckAndSet, anAtomic, func(ctx context.Context, table *pegasus.Table) error {
		_, _, err := table.CompareExchange(ctx, []byte("another"), nil, nil, nil)
		return err
	}},
	"batch get": {wire.BatchGet, aRead, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.BatchGet(ctx, batchKeys("key", "another"), nil)
		return err
	}},
	"batch set": {wire.Put, aWrite, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.BatchSet(ctx, []pegasus.BatchRecord{{HashKey: []byte("another")}}, nil)
		return err
	}},
	"batch set of several": {wire.MultiPut, aWrite, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.BatchSet(ctx, recordsOf(keysOfOne(2), func(int) string { return "value" }), nil)
		return err
	}},
	"batch del of several": {wire.MultiRemove, aWrite, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.BatchDel(ctx, keysOfOne(2), nil)
		return err
	}},
}

// TestFrameErrors has every operation meet every frame error once, with a result behind it or not.
func TestFrameErrors(t *testing.T) {
	for _, row := range retry.Rows() {
		if row.Layer == retry.FrameLayer && row.Name != wire.ErrOK {
			require.Contains(t, reactions, row.Name, "what is to happen?")
		}
	}
	for name, want := range reactions {
		t.Run(string(name), func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				for _, withBody := range []bool{false, true} {
					for operation, o := range operations {
						t.Log(operation, withBody)
						b.set("key", "value")
						b.injectAll(onebox.Fault{
							Match: onebox.OnMethod(o.method), Times: 1, Error: name, ErrorWithBody: withBody,
						})
						want.check(b, name, o.method, func() error { return o.run(t.Context(), b.table) })
						b.holds("key", "value") // on the same connection
						pass(time.Minute)       // until the next refresh may come at once
					}
				}
				require.Equal(t, 1, b.Replica(0).Accepted(), "the connection was given up")
			})
		})
	}
}

func (want reaction) check(b *box, name wire.ErrorName, method *wire.Method, operation func() error) {
	t := b.t
	requests, queries := b.requests(method), b.queries()
	var err error
	took := elapsed(func() { err = operation() })
	require.Equal(t, queries+want.queries, b.queries())
	require.Equal(t, want.waits, took > 0, "it took %v", took)
	if want.retried {
		require.NoError(t, err)
		require.Equal(t, requests+2, b.requests(method))
		return
	}
	require.Equal(t, name, failed(t, err).Server)
	require.Equal(t, name == wire.ErrBusy, errors.Is(err, pegasus.ErrBusy))
	require.Equal(t, 1, failed(t, err).Tries)
	require.Equal(t, pegasus.Answered, failed(t, err).Outcome)
	require.Equal(t, requests+1, b.requests(method))
}

// TestBusyByPolicy has a throttling server wait for, as the option allows.
func TestBusyByPolicy(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		queries := b.queries()
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Times: 3})
		took := elapsed(func() { b.set("key", "value") })
		require.Equal(t, 4, b.requests(wire.Put))
		require.Greater(t, took, 3*retry.DefaultInitialBackoff/2)
		require.Equal(t, queries, b.queries())

		b.injectAll(onebox.Fault{Error: wire.ErrBusy})
		_, err := b.get("key")
		require.ErrorIs(t, err, pegasus.ErrBusy)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}, pegasus.WithRetry(retry.Policy{RetryBusy: true}))
}

// TestOKWithoutResult is the disk check quirk: the write failed, and nothing else did.
func TestOKWithoutResult(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "old")
		b.Secondaries(tableName, 0)[0].SetDisk(onebox.DiskBroken)
		err := set(t.Context(), b.table)
		require.Equal(t, pegasus.Answered, failed(t, err).Outcome)
		b.holds("key", "old")
		b.Secondaries(tableName, 0)[0].SetDisk(onebox.DiskNormal)
		b.set("key", "new")
		b.holds("key", "new")
		require.Equal(t, 1, b.Replica(0).Accepted())
	})
}

// TestDoubtfulTries loses the connection of every operation once, before and after it was executed.
func TestDoubtfulTries(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		for operation, o := range operations {
			for name, fault := range map[string]onebox.Fault{
				"before": {CloseBefore: true}, "after": {CloseAfter: true}, "in the middle": {Truncate: 7},
			} {
				t.Run(fmt.Sprint(operation, " ", name, " ", allowed), func(t *testing.T) {
					inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
						b.set("key", "value")
						fault.Times = 1
						b.injectAll(fault)
						requests := b.requests(o.method)
						err := o.run(t.Context(), b.table)
						if o.kind == anAtomic || o.kind == aWrite && !allowed {
							require.Equal(t, pegasus.InDoubt, failed(t, err).Outcome)
							require.Equal(t, requests+1, b.requests(o.method))
							return
						}
						require.NoError(t, err)
						require.Equal(t, requests+2, b.requests(o.method))
					}, pegasus.WithRetryDoubtfulWrites(allowed))
				})
			}
		}
	}
}

// A write that certainly was not sent is repeated, whatever is said about doubtful ones.
func TestUnsentWritesAreRepeated(t *testing.T) {
	inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
		b.set("key", "old")
		b.Replica(0).Kill()
		b.inBackground(func() {
			pass(500 * time.Millisecond)
			b.Replica(0).Restart()
		})
		b.set("key", "new")
		b.holds("key", "new")
	}, pegasus.WithRetryDoubtfulWrites(false))
}

// TestPauseEndsWithTheTable checks a pause between two tries, which ends when the table or the client
// is closed: that must not make the pauses that follow end at once.
func TestPauseEndsWithTheTable(t *testing.T) {
	for name, end := range map[string]func(b *box) error{
		"table":  func(b *box) error { b.table.Close(); return nil },
		"client": func(b *box) error { return b.client.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				b.injectAll(onebox.Fault{Error: wire.ErrSplitting})
				b.inBackground(func() {
					var err error
					took := elapsed(func() { err = get(t.Context(), b.table) })
					require.ErrorIs(t, err, pegasus.ErrClosed)
					require.NotErrorIs(t, err, context.Canceled)
					require.Equal(t, 100*time.Millisecond, took)
				})
				pass(100 * time.Millisecond)
				requests := b.requests(wire.Get)
				require.NoError(t, end(b))
				pass(0)
				require.Equal(t, requests, b.requests(wire.Get))
			})
		})
	}
}

// TestBudget checks what is paid for: the repetition of what reached a server. Waiting for a node or
// a primary that is away is free, or those who wait would use up the tokens of all.
func TestBudget(t *testing.T) {
	policy := func(tokens int) pegasus.Option {
		return pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(tokens, 0.5)})
	}
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Replica(0).Kill()
		b.holds("key", "value") // refused connections until another server takes over
	}, policy(1))
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.withoutPrimary(0)
		b.inBackground(func() {
			pass(time.Second)
			require.NoError(t, b.AssignPrimary(tableName, 0, 1))
		})
		b.set("key", "value")
	}, policy(1))
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		remove := b.Replica(0).Inject(onebox.Fault{Error: wire.ErrSplitting})
		_, err := b.get("key")
		require.ErrorIs(t, err, retry.ErrBudget)
		require.Equal(t, 4, failed(t, err).Tries)
		_, err = b.get("key")
		require.Equal(t, 1, failed(t, err).Tries, "the budget is the client's")
		remove()
		b.set("key", "value")
		b.set("key", "value") // two successes earn a retry
		b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Times: 1})
		b.holds("key", "value")
	}, policy(3))
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for range 3 { // what was repeated and went well earns as much as what went well at once
			b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Times: 1})
			b.set("key", "value")
			b.holds("key", "value")
		}
	}, policy(1))
}
