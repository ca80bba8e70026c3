package pegasus_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// keys are hash keys and sort keys of every kind.
var keys = map[string]struct{ hashKey, sortKey []byte }{
	"plain":            {[]byte("user 1"), []byte("name")},
	"no hash key":      {nil, []byte("routed by the sort key")},
	"empty hash key":   {[]byte{}, []byte("and by this one")},
	"no sort key":      {[]byte("user 1"), nil},
	"neither":          {nil, nil},
	"binary":           {[]byte{0, 0xff, 0x80, '\n'}, []byte{0xff, 0xff, 0}},
	"longest hash key": {bytes.Repeat([]byte("k"), 65534), []byte("sort")},
	"long sort key":    {[]byte("user 1"), bytes.Repeat([]byte("s"), 100_000)},
}

// TestRecords takes a record of each kind of key through its life, on tables of any partition count:
// an even one, a power of two, and neither.
func TestRecords(t *testing.T) {
	for _, partitions := range []int{1, 3, 6, 8} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions}, func(t *testing.T, b *box) {
				for name, key := range keys {
					t.Log(name)
					b.recordLives(key.hashKey, key.sortKey)
				}
			})
		})
	}
}

func (b *box) recordLives(hashKey, sortKey []byte) {
	t, ctx := b.t, b.t.Context()
	b.recordIsAbsent(hashKey, sortKey)
	require.NoError(t, b.table.Del(ctx, hashKey, sortKey), "deleting nothing is fine")

	for _, value := range []string{"first", "", "second \x00\xff", strings.Repeat("long ", 100_000)} {
		require.NoError(t, b.table.Set(ctx, hashKey, sortKey, []byte(value)))
		stored, ok := b.Peek(tableName, hashKey, sortKey)
		require.True(t, ok, "stored elsewhere")
		require.Equal(t, value, string(stored))
		got, err := b.table.Get(ctx, hashKey, sortKey)
		require.NoError(t, err)
		require.NotNil(t, got)
		require.Equal(t, value, string(got))
		got, err = b.table.AppendGet(ctx, []byte("in front "), hashKey, sortKey)
		require.NoError(t, err)
		require.Equal(t, "in front "+value, string(got))
		exists, err := b.table.Exist(ctx, hashKey, sortKey)
		require.NoError(t, err)
		require.True(t, exists)
		left, expires, err := b.table.TTL(ctx, hashKey, sortKey)
		require.NoError(t, err)
		require.False(t, expires)
		require.Zero(t, left)
	}

	require.NoError(t, b.table.Del(ctx, hashKey, sortKey))
	b.recordIsAbsent(hashKey, sortKey)
}

// recordIsAbsent checks how the operations tell so: with ErrNotFound itself, for which == will do.
func (b *box) recordIsAbsent(hashKey, sortKey []byte) {
	t, ctx := b.t, b.t.Context()
	value, err := b.table.Get(ctx, hashKey, sortKey)
	require.Same(t, pegasus.ErrNotFound, err)
	require.Nil(t, value)
	_, expires, err := b.table.TTL(ctx, hashKey, sortKey)
	require.Same(t, pegasus.ErrNotFound, err)
	require.False(t, expires)
	exists, err := b.table.Exist(ctx, hashKey, sortKey)
	require.NoError(t, err)
	require.False(t, exists)
}

// A server aborts on a hash key of 65535 bytes, so such a one must never be sent.
func TestDefect12HashKeyTooLong(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		for _, length := range []int{65535, 65536, 1 << 20} {
			key := make([]byte, length)
			_, getErr := b.table.Get(ctx, key, nil)
			dst, appendErr := b.table.AppendGet(ctx, []byte("as it was"), key, nil)
			_, _, ttlErr := b.table.TTL(ctx, key, nil)
			_, existErr := b.table.Exist(ctx, key, nil)
			for _, err := range []error{
				getErr, appendErr, ttlErr, existErr,
				b.table.Set(ctx, key, nil, []byte("value")), b.table.Del(ctx, key, nil),
			} {
				require.ErrorIs(t, err, pegasus.ErrHashKeyTooLong)
				require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
				require.Zero(t, failed(t, err).Tries)
			}
			require.Equal(t, "as it was", string(dst))
		}
		for _, method := range []*wire.Method{wire.Get, wire.TTL, wire.Put, wire.Remove} {
			require.Zero(t, b.requests(method), method.Name())
		}
	})
}

// bodySize returns the size of the body of a request.
func bodySize(method *wire.Method, arguments wire.Arguments) int {
	return wire.RequestOverhead(method) + len(arguments.AppendField(nil, 1))
}

// TestWriteLimit shows that the client counts as the server does: what is just not too large is
// accepted by both, and one byte more by none.
func TestWriteLimit(t *testing.T) {
	const limit = pegasus.DefaultMaxWriteBytes
	writes := map[string]struct {
		method *wire.Method
		write  func(table *pegasus.Table, t *testing.T, more int) error
	}{
		"set": {wire.Put, func(table *pegasus.Table, t *testing.T, more int) error {
			// A body of exactly the limit; 13 bytes are the raw key.
			value := make([]byte, limit-wire.PutBodySize(13, 0)+more)
			return table.Set(t.Context(), []byte("hash"), []byte("sort ke"), value)
		}},
		"del": {wire.Remove, func(table *pegasus.Table, t *testing.T, more int) error {
			body := bodySize(wire.Remove, wire.Blob("\x00\x04hash"))
			return table.Del(t.Context(), []byte("hash"), make([]byte, limit-body+more))
		}},
		"multi set": {wire.MultiPut, func(table *pegasus.Table, t *testing.T, more int) error {
			list := records("a", "1", "b", "")
			request := wire.MultiPutRequest{HashKey: hashKey, Records: []wire.KeyValue{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b")}}}
			list[1].Value = make([]byte, limit-bodySize(wire.MultiPut, &request)+more)
			return table.MultiSet(t.Context(), hashKey, list, pegasus.WithTTL(time.Hour))
		}},
		"multi del": {wire.MultiRemove, func(table *pegasus.Table, t *testing.T, more int) error {
			list := sortKeys("a", "bc", "")
			list[2] = make([]byte, limit-bodySize(wire.MultiRemove, &wire.MultiRemoveRequest{HashKey: hashKey, SortKeys: list})+more)
			_, err := table.MultiDel(t.Context(), hashKey, list)
			return err
		}},
		"incr": {wire.Incr, func(table *pegasus.Table, t *testing.T, more int) error {
			body := bodySize(wire.Incr, &wire.IncrRequest{Key: []byte("\x00\x04hash")})
			_, err := table.Incr(t.Context(), hashKey, make([]byte, limit-body+more), 1)
			return err
		}},
		"check and set": {wire.CheckAndSet, func(table *pegasus.Table, t *testing.T, more int) error {
			request := wire.CheckAndSetRequest{HashKey: hashKey, CheckSortKey: []byte("a"), CheckOperand: []byte("operand"), SetSortKey: []byte("b")}
			value := make([]byte, limit-bodySize(wire.CheckAndSet, &request)+more)
			check := pegasus.Check{SortKey: []byte("a"), Operand: []byte("operand")}
			_, err := table.CheckAndSet(t.Context(), hashKey, check, []byte("b"), value, nil)
			return err
		}},
		"check and set the same": {wire.CheckAndSet, func(table *pegasus.Table, t *testing.T, more int) error {
			request := wire.CheckAndSetRequest{HashKey: hashKey, CheckSortKey: []byte("a")}
			value := make([]byte, limit-bodySize(wire.CheckAndSet, &request)+more)
			_, err := table.CheckAndSet(t.Context(), hashKey, pegasus.Check{SortKey: []byte("a")}, []byte("a"), value, nil)
			return err
		}},
		"check and mutate": {wire.CheckAndMutate, func(table *pegasus.Table, t *testing.T, more int) error {
			request := wire.CheckAndMutateRequest{HashKey: hashKey, Mutations: []wire.Mutate{{SortKey: []byte("a")}, {SortKey: []byte("b")}}}
			value := make([]byte, limit-bodySize(wire.CheckAndMutate, &request)+more)
			_, err := table.CheckAndMutate(t.Context(), hashKey, pegasus.Check{}, []pegasus.Mutation{
				{SortKey: []byte("a"), Value: value}, {SortKey: []byte("b"), Value: make([]byte, limit), Delete: true},
			}, nil)
			return err
		}},
		"compare exchange": {wire.CheckAndSet, func(table *pegasus.Table, t *testing.T, more int) error {
			request := wire.CheckAndSetRequest{HashKey: hashKey}
			expected := make([]byte, limit-bodySize(wire.CheckAndSet, &request)+more)
			_, _, err := table.CompareExchange(t.Context(), hashKey, nil, expected, nil)
			return err
		}},
	}
	for name, w := range writes {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				require.NoError(t, w.write(b.table, t, 0))
				sent := b.requests(w.method)
				err := w.write(b.table, t, 1)
				require.ErrorIs(t, err, pegasus.ErrTooLarge)
				require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
				require.Equal(t, sent, b.requests(w.method))

				b.client = b.open(pegasus.WithMaxWriteBytes(limit + 1))
				err = w.write(b.openTable(), t, 1)
				require.Equal(t, wire.ErrInvalidData, failed(t, err).Server, "%v", err)
				require.ErrorIs(t, w.write(b.openTable(), t, 2), pegasus.ErrTooLarge)
			})
		})
	}
}

func TestRecordExpires(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx, key := t.Context(), []byte("key")
		require.NoError(t, b.table.Set(ctx, key, nil, []byte("value"), pegasus.WithTTL(3*time.Second)))
		for left := 3 * time.Second; left > 0; left -= time.Second {
			got, expires, err := b.table.TTL(ctx, key, nil)
			require.NoError(t, err)
			require.True(t, expires)
			require.Equal(t, left, got)
			_, err = b.table.Get(ctx, key, nil)
			require.NoError(t, err)
			pass(time.Second)
		}
		b.recordIsAbsent(key, nil)

		require.NoError(t, b.table.Set(ctx, key, nil, []byte("value"), pegasus.WithTTL(time.Second)))
		require.NoError(t, b.table.Set(ctx, key, nil, []byte("for ever")), "a write without a TTL ends the one before")
		pass(time.Hour)
		_, expires, err := b.table.TTL(ctx, key, nil)
		require.NoError(t, err)
		require.False(t, expires)
	})
}
