package pegasus_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// calls are the operations on records of one hash key, with the arguments that may be wrong.
var calls = map[string]func(ctx context.Context, table *pegasus.Table, hashKey []byte) error{
	"multi get": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, err := table.MultiGet(ctx, hashKey, sortKeys("a"), nil)
		return err
	},
	"multi get range": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, err := table.MultiGetRange(ctx, hashKey, nil, nil, nil)
		return err
	},
	"multi get sort keys": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, _, err := table.MultiGetSortKeys(ctx, hashKey, nil)
		return err
	},
	"multi set": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		return table.MultiSet(ctx, hashKey, records("a", "1"))
	},
	"multi del": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, err := table.MultiDel(ctx, hashKey, sortKeys("a"))
		return err
	},
	"sort key count": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, err := table.SortKeyCount(ctx, hashKey)
		return err
	},
	"check and set": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, err := table.CheckAndSet(ctx, hashKey, pegasus.Check{}, nil, nil, nil)
		return err
	},
	"check and mutate": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, make([]pegasus.Mutation, 1), nil)
		return err
	},
	"compare exchange": func(ctx context.Context, table *pegasus.Table, hashKey []byte) error {
		_, _, err := table.CompareExchange(ctx, hashKey, nil, nil, nil)
		return err
	},
}

// refusals are calls that must not reach any server.
var refusals = map[string]struct {
	operation string
	want      error
	run       func(ctx context.Context, table *pegasus.Table) error
}{
	"incr with a long hash key": {"incr", pegasus.ErrHashKeyTooLong, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.Incr(ctx, make([]byte, 65535), nil, 1)
		return err
	}},
	"incr with a negative TTL": {"incr", pegasus.ErrInvalidTTL, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.Incr(ctx, hashKey, nil, 1, pegasus.WithTTL(-1))
		return err
	}},
	"incr with a TTL beyond time": {"incr", pegasus.ErrInvalidTTL, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.Incr(ctx, hashKey, nil, 1, pegasus.WithoutTTL(), pegasus.WithTTL(math.MaxInt64))
		return err
	}},
	"incr too large": {"incr", pegasus.ErrTooLarge, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.Incr(ctx, hashKey, make([]byte, 1<<20), 1)
		return err
	}},
	"multi get of nothing": {"multi get", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGet(ctx, hashKey, [][]byte{}, nil)
		return err
	}},
	"multi get of no list": {"multi get", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGet(ctx, hashKey, nil, &pegasus.MultiGetOptions{MaxCount: 1})
		return err
	}},
	"multi get of a negative count": {"multi get", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGet(ctx, hashKey, sortKeys("a"), &pegasus.MultiGetOptions{MaxCount: -1})
		return err
	}},
	"multi get of negative bytes": {"multi get", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGet(ctx, hashKey, sortKeys("a"), &pegasus.MultiGetOptions{MaxBytes: math.MinInt})
		return err
	}},
	"multi get of 1 GiB of keys": {"multi get", pegasus.ErrTooLarge, func(ctx context.Context, table *pegasus.Table) error {
		mebibyte, keys := make([]byte, 1<<20), make([][]byte, 1<<10)
		for i := range keys {
			keys[i] = mebibyte
		}
		_, err := table.MultiGet(ctx, hashKey, keys, nil)
		return err
	}},
	"range with a negative count": {"multi get range", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGetRange(ctx, hashKey, nil, nil, &pegasus.RangeOptions{MaxCount: math.MinInt})
		return err
	}},
	"range with negative bytes": {"multi get range", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGetRange(ctx, hashKey, nil, nil, &pegasus.RangeOptions{MaxBytes: -1})
		return err
	}},
	"range with a filter that is none": {"multi get range", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiGetRange(ctx, hashKey, nil, nil, &pegasus.RangeOptions{Filter: pegasus.Filter{Type: 4}})
		return err
	}},
	"sort keys with a filter that is none": {"multi get sort keys", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, _, err := table.MultiGetSortKeys(ctx, hashKey, &pegasus.RangeOptions{Filter: pegasus.Filter{Type: -1}})
		return err
	}},
	"multi set of nothing": {"multi set", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		return table.MultiSet(ctx, hashKey, nil)
	}},
	"multi set with a negative TTL": {"multi set", pegasus.ErrInvalidTTL, func(ctx context.Context, table *pegasus.Table) error {
		return table.MultiSet(ctx, hashKey, records("a", "1"), pegasus.WithTTL(-time.Second))
	}},
	"multi del of nothing": {"multi del", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.MultiDel(ctx, hashKey, nil)
		return err
	}},
	"check of a type that is none": {"check and set", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndSet(ctx, hashKey, pegasus.Check{Type: 18}, nil, nil, nil)
		return err
	}},
	"check of a negative type": {"check and mutate", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{Type: -1}, make([]pegasus.Mutation, 1), nil)
		return err
	}},
	"check and set with a negative TTL": {"check and set", pegasus.ErrInvalidTTL, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndSet(ctx, hashKey, pegasus.Check{}, nil, nil, &pegasus.CheckOptions{TTL: -1})
		return err
	}},
	"no mutations": {"check and mutate", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, nil, nil)
		return err
	}},
	"one TTL for all mutations": {"check and mutate", pegasus.ErrInvalidArgument, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, make([]pegasus.Mutation, 1), &pegasus.CheckOptions{TTL: 1})
		return err
	}},
	"mutation with a TTL beyond time": {"check and mutate", pegasus.ErrInvalidTTL, func(ctx context.Context, table *pegasus.Table) error {
		_, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, []pegasus.Mutation{{}, {TTL: math.MaxInt64}}, nil)
		return err
	}},
	"compare exchange with a negative TTL": {"compare exchange", pegasus.ErrInvalidTTL, func(ctx context.Context, table *pegasus.Table) error {
		_, _, err := table.CompareExchange(ctx, hashKey, nil, nil, nil, pegasus.WithTTL(-1))
		return err
	}},
}

// refusing runs a test with a stub to which nothing may be sent, and with a check of refusals.
func refusing(t *testing.T, test func(table *pegasus.Table, refused func(operation string, want, err error))) {
	t.Helper()
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		t.Errorf("%s was sent", request.Name)
		return wire.ErrACLDeny, nil
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		test(s.table, func(operation string, want, err error) {
			t.Helper()
			require.ErrorIs(t, err, want)
			e := *failed(t, err)
			e.Err = nil
			require.Equal(t, pegasus.Error{Operation: operation, Table: tableName, Partition: -1}, e)
		})
	})
}

// TestRefusals makes calls that a server would answer with an error, or understand as something else.
func TestRefusals(t *testing.T) {
	refusing(t, func(table *pegasus.Table, refused func(operation string, want, err error)) {
		for name, r := range refusals {
			t.Log(name)
			refused(r.operation, r.want, r.run(t.Context(), table))
		}
		for operation, call := range calls {
			refused(operation, pegasus.ErrHashKeyEmpty, call(t.Context(), table, nil))
			refused(operation, pegasus.ErrHashKeyEmpty, call(t.Context(), table, []byte{}))
		}
	})
}

// TestDefect12HashKeyTooLongForSeveral makes calls that would make a server abort, and, if they were
// writes, those that replicate its log.
func TestDefect12HashKeyTooLongForSeveral(t *testing.T) {
	refusing(t, func(table *pegasus.Table, refused func(operation string, want, err error)) {
		for operation, call := range calls {
			for _, length := range []int{65535, 65536, 1 << 20} {
				refused(operation, pegasus.ErrHashKeyTooLong, call(t.Context(), table, make([]byte, length)))
			}
		}
	})
	count := 0
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
		count++
		return wire.ErrACLDeny, nil
	}
	withStub(t, answer, func(t *testing.T, s *stub) { // the longest that servers survive is sent
		for _, call := range calls {
			require.Equal(t, wire.ErrACLDeny, failed(t, call(t.Context(), s.table, make([]byte, 65534))).Server)
		}
	})
	require.Equal(t, len(calls), count)
}

// TestDefect36NilOptions leaves out all that can be left out.
func TestDefect36NilOptions(t *testing.T) {
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) { return wire.ErrACLDeny, nil }
	withStub(t, answer, func(t *testing.T, s *stub) {
		ctx, table := t.Context(), s.table
		for name, call := range map[string]func(){
			"get":              func() { _, _ = table.Get(ctx, nil, nil, nil) },
			"append get":       func() { _, _ = table.AppendGet(ctx, nil, nil, nil, nil) },
			"ttl":              func() { _, _, _ = table.TTL(ctx, nil, nil, nil) },
			"exist":            func() { _, _ = table.Exist(ctx, nil, nil, nil) },
			"set":              func() { _ = table.Set(ctx, nil, nil, nil, nil) },
			"del":              func() { _ = table.Del(ctx, nil, nil, nil) },
			"multi get":        func() { _, _ = table.MultiGet(ctx, hashKey, [][]byte{nil}, nil) },
			"range":            func() { _, _ = table.MultiGetRange(ctx, hashKey, nil, nil, nil) },
			"sort keys":        func() { _, _, _ = table.MultiGetSortKeys(ctx, hashKey, nil) },
			"multi set":        func() { _ = table.MultiSet(ctx, hashKey, make([]pegasus.Record, 1), nil) },
			"multi del":        func() { _, _ = table.MultiDel(ctx, hashKey, [][]byte{nil}, nil) },
			"sort key count":   func() { _, _ = table.SortKeyCount(ctx, hashKey, nil) },
			"incr":             func() { _, _ = table.Incr(ctx, nil, nil, 0, nil) },
			"check and set":    func() { _, _ = table.CheckAndSet(ctx, hashKey, pegasus.Check{}, nil, nil, nil) },
			"check and mutate": func() { _, _ = table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, make([]pegasus.Mutation, 1), nil) },
			"compare exchange": func() { _, _, _ = table.CompareExchange(ctx, hashKey, nil, nil, nil, nil) },
		} {
			require.NotPanics(t, call, name)
		}
	})
}

// A range has few keys, but they can be large.
func TestRangeTooLarge(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector needs a multiple of that memory")
	}
	refusing(t, func(table *pegasus.Table, refused func(operation string, want, err error)) {
		key := make([]byte, 1<<30/3+1)
		_, err := table.MultiGetRange(t.Context(), hashKey, key, key, &pegasus.RangeOptions{Filter: pegasus.Filter{Pattern: key}})
		refused("multi get range", pegasus.ErrTooLarge, err)
	})
}
