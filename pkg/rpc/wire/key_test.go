package wire_test

import (
	"bytes"
	"hash/crc64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// The vectors of docs/protocol.md, keys and partition hash.
func TestKeyHash(t *testing.T) {
	for _, test := range []struct {
		key        string
		want       uint64
		mod4, mod8 uint64
	}{
		{"", 0x0000000000000000, 0, 0},
		{"a", 0x8c2f8445b4cbfc3c, 0, 4},
		{"abc", 0x05e5cabb3fc1faeb, 3, 3},
		{"123456789", 0xae8b14860a799888, 0, 0},
		{"hash_key", 0x65641f36e9f6a96d, 1, 5},
		{"hash_key_0", 0x984e5a07bde9cf21, 1, 1},
		{"pegasus", 0xce8709cfbd3973c4, 0, 4},
		{"user_1", 0x9ce68171e0151387, 3, 7},
		{"0", 0x5cfb510b762e37ab, 3, 3},
		{"1", 0x2395a1c3461bbed2, 2, 2},
		{"2", 0xa226b09b16452559, 1, 1},
		{"3", 0xdd4840532670ac20, 0, 0},
		{"\x00", 0xd5da5047efec8728, 0, 0},
		{"\xff\xff\xff\xff", 0xffffffff00000000, 0, 0},
		{"The quick brown fox jumps over the lazy dog", 0xd76c54054954c143, 3, 3},
		{strings.Repeat("x", 100), 0x1187d9ebe8399260, 0, 0},
	} {
		got := wire.KeyHash([]byte(test.key), []byte("sort key"))
		if test.key == "" {
			got = wire.KeyHash(nil, nil)
		}
		require.Equal(t, test.want, got, test.key)
		require.Equal(t, test.mod4, got%4, test.key)
		require.Equal(t, test.mod8, got%8, test.key)
		require.Equal(t, test.want, wire.KeyHash(nil, []byte(test.key)), "the sort key counts if the hash key is empty")
		require.Equal(t, test.want, wire.KeyHash([]byte{}, []byte(test.key)))
	}
}

// The standard library computes the same, more slowly.
func TestKeyHashAgainstStandardLibrary(t *testing.T) {
	table := crc64.MakeTable(0x9a6c9329ac4bc9b5)
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "key")
		require.Equal(t, crc64.Checksum(key, table), wire.KeyHash(key, nil))
	})
	long := bytes.Repeat([]byte("0123456789"), 5000)
	require.Equal(t, crc64.Checksum(long, table), wire.KeyHash(long, nil))
}

func TestNextKey(t *testing.T) {
	for _, test := range []struct{ hashKey, sortKey, raw, next string }{
		{"h", "s", "00016873", "00016874"},
		{"h", "s\xff", "00016873ff", "00016874"},
		{"h", "\xff", "000168ff", "000169"},
		{"\xff", "\xff", "0001ffff", "0002"},
		{"", "", "0000", "0001"},
		{strings.Repeat("\xff", 255), "", "00ff" + strings.Repeat("ff", 255), "01"},
	} {
		key, err := wire.AppendKey(nil, []byte(test.hashKey), []byte(test.sortKey))
		require.NoError(t, err)
		require.Equal(t, fromHex(test.raw), key)
		require.Equal(t, fromHex(test.next), wire.NextKey(key))
	}
	require.Empty(t, wire.NextKey([]byte{0xff, 0xff}), "no raw key begins like that")
}

// NextKey is the end of the range of a prefix: above every key with the prefix, and tight.
func TestNextKeyBoundsThePrefix(t *testing.T) {
	key := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'h', 0xfe, 0xff}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		prefix, err := wire.AppendKey(nil, key.Draw(t, "hash key"), key.Draw(t, "sort key"))
		require.NoError(t, err)
		end := wire.NextKey(bytes.Clone(prefix))
		require.Negative(t, bytes.Compare(append(bytes.Clone(prefix), key.Draw(t, "rest")...), end))
		if other := key.Draw(t, "other"); bytes.Compare(other, prefix) > 0 && !bytes.HasPrefix(other, prefix) {
			require.GreaterOrEqual(t, bytes.Compare(other, end), 0, "%x is above the range of %x", other, prefix)
		}
	})
}

func TestKeyRoundTrip(t *testing.T) {
	key := rapid.SliceOf(rapid.Byte())
	rapid.Check(t, func(t *rapid.T) {
		hashKey, sortKey := key.Draw(t, "hash key"), key.Draw(t, "sort key")
		raw, err := wire.AppendKey([]byte("prefix"), hashKey, sortKey)
		require.NoError(t, err)
		require.Equal(t, "prefix", string(raw[:6]))
		gotHash, gotSort, err := wire.SplitKey(raw[6:])
		require.NoError(t, err)
		require.Equal(t, string(hashKey), string(gotHash))
		require.Equal(t, string(sortKey), string(gotSort))
		_ = append(gotHash, "overflow"...)
		require.Equal(t, string(sortKey), string(gotSort), "appending to the hash key must not reach the sort key")
	})
}

func TestHashKeyLimit(t *testing.T) {
	longest := make([]byte, wire.MaxHashKeyLength)
	raw, err := wire.AppendKey(nil, longest, []byte("s"))
	require.NoError(t, err)
	hashKey, sortKey, err := wire.SplitKey(raw)
	require.NoError(t, err)
	require.Len(t, hashKey, 65534)
	require.Equal(t, "s", string(sortKey))

	for _, length := range []int{65535, 65536, 65536 + 5} {
		kept, err := wire.AppendKey([]byte("prefix"), make([]byte, length), nil)
		require.ErrorIs(t, err, wire.ErrHashKeyTooLong)
		require.Equal(t, "prefix", string(kept))
	}
}

func TestNotARawKey(t *testing.T) {
	for _, raw := range [][]byte{
		nil, {0}, {0, 1}, {0, 2, 'h'}, {0xff, 0xfe},
		append([]byte{0xff, 0xff}, make([]byte, 65535)...),
	} {
		_, _, err := wire.SplitKey(raw)
		require.ErrorIs(t, err, wire.ErrRawKey)
	}
	hashKey, sortKey, err := wire.SplitKey([]byte{0, 0})
	require.NoError(t, err)
	require.Empty(t, hashKey)
	require.Empty(t, sortKey)
}
