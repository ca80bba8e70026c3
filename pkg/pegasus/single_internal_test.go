package pegasus

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// The memory of a key is kept for the next operation, but not that of a large one: otherwise a few of those
// would hold 64 KiB for each of as many operations as were ever under way together.
func TestLargeKeysAreNotKept(t *testing.T) {
	for size, kept := range map[int]bool{16: true, largeKey: false, wire.MaxHashKeyLength: false} {
		s, err := new(Table).begin("get", wire.Get, make([]byte, size), nil)
		require.NoError(t, err)
		require.Len(t, s.key, size+2)
		s.end()
		require.Equal(t, kept, cap(s.key) > 0, size)
		require.LessOrEqual(t, cap(s.key), largeKey)
	}
}
