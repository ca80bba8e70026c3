package pegasus_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// poison is what memory is filled with that nobody else may look at or write to any more.
const poison = 0xdb

func spoil(memory []byte) {
	memory = memory[:cap(memory)]
	for i := range memory {
		memory[i] = poison
	}
}

// roomy returns a copy of the text with memory behind it that must stay as it is.
func roomy(text string) []byte {
	memory := bytes.Repeat([]byte{poison}, len(text)+64)
	return memory[:copy(memory, text)]
}

func requireUntouched(t testing.TB, memory []byte, text string) {
	t.Helper()
	require.Equal(t, roomy(text), memory[:cap(memory)][:len(text):len(text)])
	require.Equal(t, bytes.Repeat([]byte{poison}, 64), memory[len(text):len(text)+64])
}

// TestArgumentsAreTheCallers checks that nothing is written to what was passed in, nor kept of it.
func TestArgumentsAreTheCallers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		hashKey, sortKey, value := roomy("hash"), roomy("sort"), roomy("value")
		require.NoError(t, b.table.Set(ctx, hashKey, sortKey, value))
		_, err := b.table.Get(ctx, hashKey, sortKey)
		require.NoError(t, err)
		_, _, err = b.table.TTL(ctx, hashKey, sortKey)
		require.NoError(t, err)
		_, err = b.table.Exist(ctx, hashKey, sortKey)
		require.NoError(t, err)
		require.NoError(t, b.table.Del(ctx, hashKey, []byte("another")))
		requireUntouched(t, hashKey, "hash")
		requireUntouched(t, sortKey, "sort")
		requireUntouched(t, value, "value")

		for _, memory := range [][]byte{hashKey, sortKey, value} {
			spoil(memory)
		}
		stored, err := b.table.Get(ctx, []byte("hash"), []byte("sort"))
		require.NoError(t, err)
		require.Equal(t, "value", string(stored))
	})
}

// TestArgumentsOfSeveralRecordsAreTheCallers is the same for operations on several records.
func TestArgumentsOfSeveralRecordsAreTheCallers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		texts := []string{"hash", "checked", "operand", "sort 1", "value 1", "sort 2", "value 2"}
		memory := make([][]byte, len(texts))
		for i, text := range texts {
			memory[i] = roomy(text)
		}
		hash, check := memory[0], pegasus.Check{SortKey: memory[1], Operand: memory[2]}
		list := []pegasus.Record{{SortKey: memory[3], Value: memory[4]}, {SortKey: memory[5], Value: memory[6]}}
		keys := [][]byte{memory[3], memory[5]}
		mutations := []pegasus.Mutation{{SortKey: memory[3], Value: memory[4]}, {SortKey: memory[5], Value: memory[6], TTL: time.Hour}}
		require.NoError(t, b.table.MultiSet(ctx, hash, list))
		_, err := b.table.MultiGet(ctx, hash, keys, &pegasus.MultiGetOptions{})
		require.NoError(t, err)
		_, err = b.table.MultiGetRange(ctx, hash, memory[3], memory[5], &pegasus.RangeOptions{})
		require.NoError(t, err)
		_, err = b.table.SortKeyCount(ctx, hash)
		require.NoError(t, err)
		_, err = b.table.Incr(ctx, hash, memory[1], 1)
		require.NoError(t, err)
		_, err = b.table.CheckAndSet(ctx, hash, check, memory[5], memory[6], &pegasus.CheckOptions{})
		require.NoError(t, err)
		_, err = b.table.CheckAndMutate(ctx, hash, check, mutations, &pegasus.CheckOptions{})
		require.NoError(t, err)
		_, _, err = b.table.CompareExchange(ctx, hash, memory[3], memory[4], memory[6])
		require.NoError(t, err)
		_, err = b.table.MultiDel(ctx, hash, keys[:1])
		require.NoError(t, err)

		for i, text := range texts {
			requireUntouched(t, memory[i], text)
			spoil(memory[i])
		}
		require.Equal(t, []pegasus.Record{{SortKey: memory[3], Value: memory[4]}, {SortKey: memory[5], Value: memory[6]}}, list)
		require.Equal(t, [][]byte{memory[3], memory[5]}, keys)
		left, err := b.table.MultiGetRange(ctx, hashKey, nil, nil, nil)
		require.NoError(t, err)
		require.Equal(t, records("checked", "1", "sort 2", "value 2"), left.Records)
	})
}

// TestResultsAreTheCallers checks that what operations return is in nobody else's hands: neither the
// connection's, nor that of the next operation, nor that of the next record.
func TestResultsAreTheCallers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		written := records("a", "value 1", "b", "value 2", "c", "value 3")
		require.NoError(t, b.table.MultiSet(ctx, hashKey, written))
		byKeys, err := b.table.MultiGet(ctx, hashKey, sortKeys("a", "b", "c"), nil)
		require.NoError(t, err)
		byRange, err := b.table.MultiGetRange(ctx, hashKey, nil, nil, nil)
		require.NoError(t, err)
		keys, _, err := b.table.MultiGetSortKeys(ctx, hashKey, nil)
		require.NoError(t, err)
		options := &pegasus.CheckOptions{ReturnValue: true}
		checked, err := b.table.CheckAndSet(ctx, hashKey, pegasus.Check{SortKey: []byte("a")}, []byte("z"), nil, options)
		require.NoError(t, err)
		_, actual, err := b.table.CompareExchange(ctx, hashKey, []byte("a"), nil, nil)
		require.NoError(t, err)
		for i := range 100 {
			list := records("a", fmt.Sprint("other ", i), "b", "other", "c", "other")
			require.NoError(t, b.table.MultiSet(ctx, []byte("another"), list))
			for _, key := range []string{"another", "hash"} {
				_, err = b.table.MultiGetRange(ctx, []byte(key), nil, nil, nil)
				require.NoError(t, err)
				_, err = b.table.CheckAndSet(ctx, []byte(key), pegasus.Check{SortKey: []byte("b")}, []byte("z"), nil, options)
				require.NoError(t, err)
			}
		}
		require.Equal(t, written, byKeys.Records)
		require.Equal(t, written, byRange.Records)
		require.Equal(t, sortKeys("a", "b", "c"), keys)
		require.Equal(t, "value 1", string(checked.Value))
		require.Equal(t, "value 1", string(actual))

		for i := range byKeys.Records { // appending to one must not reach the next
			byKeys.Records[i].SortKey = append(byKeys.Records[i].SortKey, "more"...)
			byKeys.Records[i].Value = append(byKeys.Records[i].Value, "more"...)
		}
		require.Equal(t, records("amore", "value 1more", "bmore", "value 2more", "cmore", "value 3more"), byKeys.Records)
	})
}

// TestValuesAreTheCallers checks that a value returned is in nobody else's hands.
func TestValuesAreTheCallers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		b.set("key", "value")
		first, err := b.table.Get(ctx, []byte("key"), []byte("sort"))
		require.NoError(t, err)
		spoil(first)
		b.holds("key", "value")
		kept, err := b.table.Get(ctx, []byte("key"), []byte("sort"))
		require.NoError(t, err)
		buffer, err := b.table.AppendGet(ctx, make([]byte, 0, 100), []byte("key"), []byte("sort"))
		require.NoError(t, err)
		for i := range 100 {
			b.set("key", fmt.Sprint("other ", i))
			_, err = b.get("key")
			require.NoError(t, err)
		}
		require.Equal(t, "value", string(kept))
		require.Equal(t, "value", string(buffer))
	})
}

// TestAppendGetOnErrors checks that dst comes back as it was, whatever goes wrong.
func TestAppendGetOnErrors(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		dst := append(make([]byte, 0, 100), "in front"...)
		unchanged := func(ctx context.Context, key string, want error) {
			got, err := b.table.AppendGet(ctx, dst, []byte(key), []byte("sort"))
			require.ErrorIs(t, err, want)
			require.Equal(t, "in front", string(got))
			require.Equal(t, cap(dst), cap(got))
			require.Same(t, &dst[0], &got[0])
		}
		unchanged(t.Context(), "absent", pegasus.ErrNotFound)
		unchanged(cancelled(), "key", context.Canceled)
		remove := b.Primary(tableName, 0).Inject(onebox.Fault{Error: wire.ErrBusy, ErrorWithBody: true})
		unchanged(t.Context(), "key", pegasus.ErrBusy)
		remove()
		b.Primary(tableName, 0).Inject(onebox.Fault{DropReply: true})
		unchanged(b.within(time.Second), "key", context.DeadlineExceeded)

		got, err := b.table.AppendGet(cancelled(), nil, []byte("key"), nil)
		require.Error(t, err)
		require.Nil(t, got)
	})
}

// dst may lie in the memory of the keys: they are copied before anything is written.
func TestAppendGetOverItsOwnKey(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "a value longer than the key")
		b.Primary(tableName, 0).Inject(onebox.Fault{CloseAfter: true, Times: 2})
		memory := append(make([]byte, 0, 100), "keysort"...)
		value, err := b.table.AppendGet(t.Context(), memory[:0], memory[:3], memory[3:7])
		require.NoError(t, err)
		require.Equal(t, "a value longer than the key", string(value))
	})
}

// TestAbandonedCallsLeaveMemoryAlone gives calls up at any moment and spoils their memory at once.
// The race detector finds whoever still reads or writes it, and the records what was sent of it.
func TestAbandonedCallsLeaveMemoryAlone(t *testing.T) {
	b := newBox(t, onebox.Config{}, single)
	b.Primary(tableName, 0).Inject(onebox.Fault{Delay: 200 * time.Microsecond})
	var working sync.WaitGroup
	for worker := range 8 {
		working.Go(func() {
			dst := make([]byte, 0, 1<<10)
			var metadata pegasus.Metadata
			for i := range 60 {
				key := fmt.Appendf(nil, "worker %d record %d", worker, i)
				value := bytes.Repeat([]byte{byte(worker + 1)}, 500)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*10)*time.Microsecond)
				_ = b.table.Set(ctx, key, nil, value)
				_, _ = b.table.AppendGet(ctx, dst, key, nil, pegasus.WithMetadata(&metadata))
				list := []pegasus.Record{{SortKey: key, Value: value}}
				_ = b.table.MultiSet(ctx, key, list, pegasus.WithMetadata(&metadata))
				_, _ = b.table.MultiGet(ctx, key, [][]byte{key}, &pegasus.MultiGetOptions{Metadata: &metadata})
				cancel()
				metadata, list[0] = pegasus.Metadata{}, pegasus.Record{}
				spoil(dst)
				spoil(key)
				spoil(value)
			}
		})
	}
	working.Wait()
	for worker := range 8 {
		for i := range 60 {
			value, err := b.table.Get(t.Context(), fmt.Appendf(nil, "worker %d record %d", worker, i), nil)
			if present(t, err) {
				require.Equal(t, bytes.Repeat([]byte{byte(worker + 1)}, 500), value)
			}
		}
	}
}
