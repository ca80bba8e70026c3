package onebox_test

import (
	"fmt"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

func TestLoadAndPeek(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	const records = 500
	buffer := make([]byte, 0, 16) // used again for each record: Load must copy
	require.NoError(t, b.Load(tableName, records, func(i int) (hashKey, sortKey, value []byte) {
		buffer = fmt.Appendf(buffer[:0], "%d", i)
		return buffer, nil, buffer
	}))
	for i := range records {
		text := fmt.Sprint(i)
		value, ok := b.Peek(tableName, []byte(text), nil)
		require.True(t, ok)
		require.Equal(t, text, string(value))
		value[0] = 'x' // a copy
		_, got := b.get(b.primary(rawKey(text, "")), rawKey(text, ""))
		require.Equal(t, text, string(got.Value))
	}
	_, ok := b.Peek(tableName, []byte("absent"), nil)
	require.False(t, ok)
	_, ok = b.Peek("none", []byte("1"), nil)
	require.False(t, ok)
	_, ok = b.Peek(tableName, make([]byte, wire.MaxHashKeyLength+1), nil)
	require.False(t, ok)
}

func TestLoadedRecordsAreReplicated(t *testing.T) {
	b := newBox(t, onebox.Config{FailoverDelay: -1}, onebox.TableOptions{Partitions: 1})
	one := func(int) (hashKey, sortKey, value []byte) { return []byte("a"), []byte("b"), []byte("v") }
	require.NoError(t, b.Load(tableName, 1, one))
	for range 2 {
		b.Primary(tableName, 0).Kill()
		value, ok := b.Peek(tableName, []byte("a"), []byte("b"))
		require.True(t, ok)
		require.Equal(t, "v", string(value))
	}
}

func TestPeekSeesTheLastWrite(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	peek := func() string {
		value, ok := b.Peek(tableName, []byte("a"), []byte("b"))
		return fmt.Sprint(string(value), ok)
	}
	b.put(c, key, "v1")
	require.Equal(t, "v1true", peek())
	b.put(c, key, "")
	require.Equal(t, "true", peek())
	// Without a primary the last word is that of a secondary, which has not applied it yet.
	b.put(c, key, "v2")
	require.NoError(t, b.ClearPrimary(tableName, 0))
	require.NoError(t, b.RemoveReplica(tableName, 0, 0))
	require.Equal(t, "v2true", peek())
	require.NoError(t, b.AssignPrimary(tableName, 0, 1))
	got := b.primary(key).call(b.header(key), wire.Remove, wire.Blob(key), nil)
	require.Equal(t, wire.ErrOK, got.Error)
	require.Equal(t, "false", peek())
	require.NoError(t, b.ClearPrimary(tableName, 0))
	require.Equal(t, "false", peek())
}

func TestLoadErrors(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1, Unassigned: true})
	long := func(int) (hashKey, sortKey, value []byte) {
		return make([]byte, wire.MaxHashKeyLength+1), nil, nil
	}
	one := func(int) (hashKey, sortKey, value []byte) { return []byte("a"), nil, nil }
	require.ErrorIs(t, b.Load(tableName, 1, long), wire.ErrHashKeyTooLong)
	require.ErrorIs(t, b.Load("none", 1, one), onebox.ErrNoTable)
	require.ErrorIs(t, b.Load(tableName, 1, one), onebox.ErrReplica)
}

// A split that is going on has children that do not serve yet.
func TestPeekAndLoadDuringASplit(t *testing.T) {
	b := newSplitBox(t)
	records := func(i int) (hashKey, sortKey, value []byte) {
		return fmt.Append(nil, "during", i), nil, []byte("v")
	}
	require.NoError(t, b.StartSplit(tableName))
	require.NoError(t, b.Load(tableName, 20, records))
	require.NoError(t, b.FinishSplit(tableName, 0))
	require.NoError(t, b.Load(tableName, 40, records))
	require.NoError(t, b.FinishSplit(tableName))
	for i := range 40 {
		hashKey, sortKey, _ := records(i)
		_, ok := b.Peek(tableName, hashKey, sortKey)
		require.True(t, ok)
	}
}
