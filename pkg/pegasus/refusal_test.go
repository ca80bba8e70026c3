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

// TestRefusals makes calls that would make a server abort, or that it would understand as something
// else, and that therefore must not be sent.
func TestRefusals(t *testing.T) {
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		t.Errorf("%s was sent", request.Name)
		return wire.ErrACLDeny, nil
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		refused := func(operation string, want, err error) {
			t.Helper()
			require.ErrorIs(t, err, want)
			e := *failed(t, err)
			e.Err = nil
			require.Equal(t, pegasus.Error{Operation: operation, Table: tableName, Partition: -1}, e)
		}
		for operation, call := range calls {
			refused(operation, pegasus.ErrHashKeyTooLong, call(t.Context(), s.table, make([]byte, 65535)))
			refused(operation, pegasus.ErrHashKeyTooLong, call(t.Context(), s.table, make([]byte, 1<<17)))
			refused(operation, pegasus.ErrHashKeyEmpty, call(t.Context(), s.table, nil))
			refused(operation, pegasus.ErrHashKeyEmpty, call(t.Context(), s.table, []byte{}))
		}
		for name, r := range refusals {
			t.Log(name)
			refused(r.operation, r.want, r.run(t.Context(), s.table))
		}
	})
}

// The longest hash key that servers survive is sent.
func TestLongestHashKey(t *testing.T) {
	count := 0
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
		count++
		return wire.ErrACLDeny, nil
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		for _, call := range calls {
			require.Equal(t, wire.ErrACLDeny, failed(t, call(t.Context(), s.table, make([]byte, 65534))).Server)
		}
		require.Equal(t, len(calls), count)
	})
}
