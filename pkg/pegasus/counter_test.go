package pegasus_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

func TestIncr(t *testing.T) {
	const smallest, largest = math.MinInt64, math.MaxInt64
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
		ctx := t.Context()
		for value, c := range map[string]struct{ increment, want int64 }{
			"":                     {5, 5},
			"0":                    {0, 0},
			"41":                   {1, 42},
			"-1":                   {1, 0},
			" \t\n+7":              {1, 8},
			"0x10":                 {1, 17},
			"010":                  {1, 9},
			"9223372036854775806":  {1, largest},
			"-9223372036854775807": {-1, smallest},
			"9223372036854775807":  {smallest, -1},
		} {
			for _, key := range []string{"", "hash"} {
				require.NoError(t, b.table.Set(ctx, []byte(key), []byte("n"), []byte(value)))
				got, err := b.table.Incr(ctx, []byte(key), []byte("n"), c.increment)
				require.NoError(t, err, "%q", value)
				require.Equal(t, c.want, got, "%q", value)
				stored, err := b.table.Incr(ctx, []byte(key), []byte("n"), 0)
				require.NoError(t, err)
				require.Equal(t, c.want, stored)
			}
		}
		got, err := b.table.Incr(ctx, hashKey, []byte("absent"), -3)
		require.NoError(t, err)
		require.Equal(t, int64(-3), got)
		value, err := b.table.Get(ctx, hashKey, []byte("absent"))
		require.NoError(t, err)
		require.Equal(t, "-3", string(value))
	})
}

// TestDefect06IncrFails checks that the storage engine's refusals are final, typed, and change nothing.
func TestDefect06IncrFails(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx, sortKey := t.Context(), []byte("sort")
		queries := b.queries()
		for _, value := range []string{"x", "1x", " ", "1 ", "0x", "09", "1.5", "1\x00", "9223372036854775808", "99999999999999999999999"} {
			require.NoError(t, b.table.Set(ctx, hashKey, sortKey, []byte(value)))
			requests := b.requests(wire.Incr)
			got, err := b.table.Incr(ctx, hashKey, sortKey, 1)
			require.ErrorIs(t, err, pegasus.ErrNotInteger, "%q", value)
			require.EqualError(t, err, `pegasus: incr in table "temp" partition 0: node 10.0.1.1:34801: value is not an integer`)
			require.Equal(t, wire.StatusInvalidArgument, failed(t, err).Status)
			require.Equal(t, pegasus.Answered, failed(t, err).Outcome)
			require.Zero(t, got)
			require.Equal(t, requests+1, b.requests(wire.Incr))
			stored, ok := b.Peek(tableName, hashKey, sortKey)
			require.True(t, ok)
			require.Equal(t, value, string(stored))
		}
		for value, increment := range map[string]int64{"9223372036854775807": 1, "-2": math.MinInt64, "1": math.MaxInt64} {
			require.NoError(t, b.table.Set(ctx, hashKey, sortKey, []byte(value)))
			got, err := b.table.Incr(ctx, hashKey, sortKey, increment)
			var overflow *pegasus.OverflowError
			require.ErrorAs(t, err, &overflow)
			require.NotErrorIs(t, err, pegasus.ErrNotInteger)
			require.Equal(t, increment, overflow.Increment)
			require.Equal(t, wire.StatusInvalidArgument, failed(t, err).Status)
			require.Zero(t, got)
			require.NoError(t, b.table.Set(ctx, hashKey, []byte("old"), nil))
			old, err := b.table.Incr(ctx, hashKey, []byte("old"), overflow.Value)
			require.NoError(t, err)
			require.Equal(t, overflow.Value, old)
			stored, _ := b.Peek(tableName, hashKey, sortKey)
			require.Equal(t, value, string(stored))
		}
		require.EqualError(t, &pegasus.OverflowError{Value: -1, Increment: math.MinInt64}, "-1 plus -9223372036854775808 overflows")
		require.Equal(t, queries, b.queries(), "no reason to doubt the routing")
	})
}

func TestIncrTTL(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx, sortKey := t.Context(), []byte("n")
		incr := func(options ...pegasus.IncrOption) {
			t.Helper()
			_, err := b.table.Incr(ctx, hashKey, sortKey, 1, options...)
			require.NoError(t, err)
		}
		expires := func(want time.Duration) {
			t.Helper()
			left, expires, err := b.table.TTL(ctx, hashKey, sortKey)
			require.NoError(t, err)
			require.Equal(t, want > 0, expires)
			require.Equal(t, want, left)
		}
		incr()
		expires(0)
		incr(pegasus.WithTTL(1500 * time.Millisecond))
		expires(2 * time.Second)
		incr()
		expires(2 * time.Second)
		incr(pegasus.WithTTL(0), nil)
		expires(2 * time.Second)
		incr(pegasus.WithoutTTL(), pegasus.WithTTL(time.Hour))
		expires(time.Hour)
		incr(pegasus.WithTTL(-1), pegasus.WithoutTTL())
		expires(0)
		require.NoError(t, b.table.Del(ctx, hashKey, sortKey))
		incr(pegasus.WithTTL(time.Minute))
		expires(time.Minute)
		require.NoError(t, b.table.Del(ctx, hashKey, sortKey))
		incr(pegasus.WithoutTTL())
		expires(0)
		pass(time.Hour)
		value, err := b.table.Incr(ctx, hashKey, sortKey, 0)
		require.NoError(t, err)
		require.Equal(t, int64(1), value)
	})
}

// TestIncrRequest looks at the wire.
func TestIncrRequest(t *testing.T) {
	for _, c := range []struct {
		options []pegasus.IncrOption
		want    func(now int64) int64
	}{
		{nil, func(int64) int64 { return 0 }},
		{[]pegasus.IncrOption{pegasus.WithoutTTL()}, func(int64) int64 { return -1 }},
		{[]pegasus.IncrOption{pegasus.WithTTL(1)}, func(now int64) int64 { return now + 1 }},
	} {
		var now int64
		request, header := sent[wire.IncrRequest](t, &wire.IncrResponse{NewValue: 7}, func(ctx context.Context, table *pegasus.Table) {
			now = time.Now().Unix() - wire.ExpireEpoch
			value, err := table.Incr(ctx, nil, []byte("sort"), -9, c.options...)
			require.NoError(t, err)
			require.Equal(t, int64(7), value)
		})
		require.Equal(t, wire.IncrRequest{Key: []byte("\x00\x00sort"), Increment: -9, ExpireSeconds: int32(c.want(now))}, request)
		require.Equal(t, wire.KeyHash(nil, []byte("sort")), header.PartitionHash)
	}
}
