package pegasus_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// records turns pairs of sort key and value into records.
func records(pairs ...string) []pegasus.Record {
	list := make([]pegasus.Record, len(pairs)/2)
	for i := range list {
		list[i] = pegasus.Record{SortKey: []byte(pairs[2*i]), Value: []byte(pairs[2*i+1])}
	}
	return list
}

// sortKeys turns strings into sort keys.
func sortKeys(names ...string) [][]byte {
	list := make([][]byte, len(names))
	for i := range list {
		list[i] = []byte(names[i])
	}
	return list
}

// hashKey is the hash key of most tests about records of one.
var hashKey = []byte("hash")

// fill writes count records "000", "001" ... with values of the given size.
func (b *box) fill(count, size int) {
	b.t.Helper()
	list := make([]pegasus.Record, count)
	for i := range list {
		list[i] = pegasus.Record{SortKey: fmt.Appendf(nil, "%03d", i), Value: bytes.Repeat([]byte{'v'}, size)}
	}
	for len(list) > 0 { // a write has at most 1 MiB
		n := min(len(list), max(1, 500_000/(size+30)))
		require.NoError(b.t, b.table.MultiSet(b.t.Context(), hashKey, list[:n]))
		list = list[n:]
	}
}

// names returns the sort keys of records.
func names(list []pegasus.Record) []string {
	found := make([]string, len(list))
	for i := range list {
		found[i] = string(list[i].SortKey)
	}
	return found
}

func TestMultiSetAndGet(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
		ctx := t.Context()
		written := records("b", "2", "", "empty sort key", "a", "", "\xff\xff\xff", "last \x00")
		require.NoError(t, b.table.MultiSet(ctx, hashKey, written))
		require.NoError(t, b.table.MultiSet(ctx, []byte("hash 2"), records("b", "another")))

		found, err := b.table.MultiGet(ctx, hashKey, sortKeys("b", "absent", "\xff\xff\xff", "a", "", "b"), nil)
		require.NoError(t, err)
		require.True(t, found.Complete)
		require.Equal(t, records("b", "2", "\xff\xff\xff", "last \x00", "a", "", "", "empty sort key", "b", "2"),
			found.Records, "in the order asked for, twice if asked twice")

		found, err = b.table.MultiGet(ctx, hashKey, sortKeys("absent"), nil)
		require.NoError(t, err)
		require.Equal(t, &pegasus.MultiGetResult{Complete: true}, found)

		value, err := b.table.Get(ctx, hashKey, []byte("b"))
		require.NoError(t, err)
		require.Equal(t, "2", string(value))
		require.NoError(t, b.table.MultiSet(ctx, hashKey, records("b", "first", "b", "second")))
		value, err = b.table.Get(ctx, hashKey, []byte("b"))
		require.NoError(t, err)
		require.Equal(t, "second", string(value), "of duplicates the last counts")
	})
}

func TestMultiGetLimits(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		b.fill(5, 10) // records of 13 bytes
		all := sortKeys("004", "absent", "003", "002", "001", "000")
		for name, o := range map[string]struct {
			options  pegasus.MultiGetOptions
			want     int
			complete bool
		}{
			"none":              {pegasus.MultiGetOptions{}, 5, true},
			"count":             {pegasus.MultiGetOptions{MaxCount: 2}, 2, false},
			"count of all":      {pegasus.MultiGetOptions{MaxCount: 5}, 5, true},
			"large count":       {pegasus.MultiGetOptions{MaxCount: math.MaxInt}, 5, true},
			"bytes":             {pegasus.MultiGetOptions{MaxBytes: 14}, 2, false},
			"one byte":          {pegasus.MultiGetOptions{MaxBytes: 1}, 1, false},
			"many bytes":        {pegasus.MultiGetOptions{MaxBytes: math.MaxInt}, 5, true},
			"bytes of the keys": {pegasus.MultiGetOptions{MaxBytes: 14, NoValue: true}, 5, true},
		} {
			found, err := b.table.MultiGet(ctx, hashKey, all, &o.options)
			require.NoError(t, err, name)
			require.Len(t, found.Records, o.want, name)
			require.Equal(t, o.complete, found.Complete, name)
			for i, record := range found.Records {
				require.Equal(t, fmt.Sprintf("%03d", 4-i), string(record.SortKey), name)
				require.Equal(t, o.options.NoValue, record.Value == nil, name)
			}
		}
	})
}

func TestMultiDel(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		b.fill(5, 1)
		count, err := b.table.MultiDel(ctx, hashKey, sortKeys("001", "absent", "003", "003"))
		require.NoError(t, err)
		require.Equal(t, int64(4), count, "as many as were asked for")
		left, complete, err := b.table.MultiGetSortKeys(ctx, hashKey, nil)
		require.NoError(t, err)
		require.True(t, complete)
		require.Equal(t, sortKeys("000", "002", "004"), left)
	})
}

func TestSortKeyCount(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		count, err := b.table.SortKeyCount(ctx, hashKey)
		require.NoError(t, err)
		require.Zero(t, count)
		b.fill(7, 1)
		require.NoError(t, b.table.MultiSet(ctx, []byte("hash 2"), records("a", "1")))
		require.NoError(t, b.table.MultiSet(ctx, hashKey, records("x", "1", "y", "2"), pegasus.WithTTL(time.Second)))
		for _, want := range []int64{9, 7} {
			count, err = b.table.SortKeyCount(ctx, hashKey)
			require.NoError(t, err)
			require.Equal(t, want, count)
			pass(time.Second)
		}
	})
}

// A server that cannot count in time says so with a number.
func TestSortKeyCountGivenUp(t *testing.T) {
	for _, count := range []int64{-1, -2, math.MinInt64} {
		answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
			return wire.ErrOK, &wire.CountResponse{Count: count}
		}
		withStub(t, answer, func(t *testing.T, s *stub) {
			got, err := s.table.SortKeyCount(t.Context(), hashKey)
			require.ErrorIs(t, err, pegasus.ErrNotCounted)
			require.Equal(t, pegasus.Answered, failed(t, err).Outcome)
			require.EqualError(t, err, `pegasus: sort key count in table "temp" partition 0: node 10.0.0.9:34601: too many records to count in time`)
			require.Zero(t, got)
		})
	}
}

// The TTL of a MultiSet is that of all its records.
func TestMultiSetTTL(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		require.NoError(t, b.table.MultiSet(ctx, hashKey, records("a", "1", "b", "2"), pegasus.WithTTL(1500*time.Millisecond)))
		require.NoError(t, b.table.MultiSet(ctx, hashKey, records("c", "3")))
		for _, name := range []string{"a", "b"} {
			left, expires, err := b.table.TTL(ctx, hashKey, []byte(name))
			require.NoError(t, err)
			require.True(t, expires)
			require.Equal(t, 2*time.Second, left)
		}
		require.NoError(t, b.table.MultiSet(ctx, hashKey, records("b", "for ever")))
		pass(2 * time.Second)
		found, err := b.table.MultiGet(ctx, hashKey, sortKeys("a", "b", "c"), nil)
		require.NoError(t, err)
		require.Equal(t, records("b", "for ever", "c", "3"), found.Records)
	})
}

// sent runs an operation against a stub and returns the request as the server decodes it.
func sent[A any, PA interface {
	*A
	wire.Result
}](t *testing.T, answer wire.Arguments, run func(ctx context.Context, table *pegasus.Table)) (request A, header wire.Header) {
	t.Helper()
	count := 0
	receive := func(r *wire.Request) (wire.ErrorName, wire.Arguments) {
		count++
		frame := bytes.Clone(r.Arguments) // what is decoded points into it
		var reader wire.Reader
		require.NoError(t, wire.DecodeArguments(&reader, frame, PA(&request)))
		header = r.Header
		return wire.ErrOK, answer
	}
	withStub(t, receive, func(t *testing.T, s *stub) { run(t.Context(), s.table) })
	require.Equal(t, 1, count)
	return request, header
}

// TestMultiRequests looks at the wire.
func TestMultiRequests(t *testing.T) {
	hash := wire.KeyHash(hashKey, nil)
	get, header := sent[wire.MultiGetRequest](t, &wire.MultiGetResponse{}, func(ctx context.Context, table *pegasus.Table) {
		_, err := table.MultiGet(ctx, hashKey, sortKeys("b", "a"), &pegasus.MultiGetOptions{MaxCount: 3, MaxBytes: math.MaxInt, NoValue: true})
		require.NoError(t, err)
	})
	require.Equal(t, wire.MultiGetRequest{
		HashKey: hashKey, SortKeys: sortKeys("b", "a"), MaxCount: 3, MaxSize: math.MaxInt32, NoValue: true,
		StartSortKey: []byte{}, StopSortKey: []byte{}, FilterPattern: []byte{},
	}, get)
	require.Equal(t, wire.Header{GPID: stubGPID, TimeoutMillis: 5000, PartitionHash: hash}, header)

	set, header := sent[wire.MultiPutRequest](t, &wire.UpdateResponse{}, func(ctx context.Context, table *pegasus.Table) {
		require.NoError(t, table.MultiSet(ctx, hashKey, records("b", "2", "a", "1"), pegasus.WithTTL(1)))
	})
	require.Equal(t, hash, header.PartitionHash)
	require.Positive(t, set.ExpireSeconds)
	set.ExpireSeconds = 0
	require.Equal(t, wire.MultiPutRequest{HashKey: hashKey, Records: []wire.KeyValue{
		{Key: []byte("b"), Value: []byte("2")}, {Key: []byte("a"), Value: []byte("1")},
	}}, set)

	del, header := sent[wire.MultiRemoveRequest](t, &wire.MultiRemoveResponse{}, func(ctx context.Context, table *pegasus.Table) {
		_, err := table.MultiDel(ctx, hashKey, sortKeys("b", ""))
		require.NoError(t, err)
	})
	require.Equal(t, hash, header.PartitionHash)
	require.Equal(t, wire.MultiRemoveRequest{HashKey: hashKey, SortKeys: sortKeys("b", "")}, del)

	count, header := sent[wire.Blob](t, &wire.CountResponse{}, func(ctx context.Context, table *pegasus.Table) {
		_, err := table.SortKeyCount(ctx, hashKey)
		require.NoError(t, err)
	})
	require.Equal(t, hash, header.PartitionHash)
	require.Equal(t, wire.Blob(hashKey), count, "the bare hash key")
}
