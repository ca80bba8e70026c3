package inventory

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTake(t *testing.T) {
	all, err := Take()
	require.NoError(t, err)
	require.True(t, all.Has("test/inventory", "TestTake"))
	require.False(t, all.Has("pkg/rpc", "TestTake"), "of another folder")
	require.False(t, all.Has("test/inventory", "TestTaken"))
	require.False(t, all.Has("test/inventory", "Take"), "no test")
	require.Equal(t, []string{"TestTake", "TestTakeOutsideOfAModule"}, all.Names("TestTake"))
	require.Empty(t, all.Names("TestOfNoKind"))
}

func TestTakeOutsideOfAModule(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Take()
	require.Error(t, err)
}
