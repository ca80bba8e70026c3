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
			for i := range 60 {
				key := fmt.Appendf(nil, "worker %d record %d", worker, i)
				value := bytes.Repeat([]byte{byte(worker + 1)}, 500)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*10)*time.Microsecond)
				_ = b.table.Set(ctx, key, nil, value)
				_, _ = b.table.AppendGet(ctx, dst, key, nil)
				cancel()
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
