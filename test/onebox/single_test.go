package onebox_test

import (
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

func TestPutGetRemove(t *testing.T) {
	for version := range 2 {
		b := newBox(t, onebox.Config{}, onebox.TableOptions{})
		key := rawKey("user", "name")
		c := b.primary(key)
		c.version = version

		got, missing := b.get(c, key)
		require.Equal(t, wire.ErrOK, got.Error)
		require.Equal(t, wire.StatusNotFound, missing.Status)

		_, put := b.put(c, key, "Ada")
		require.Equal(t, wire.StatusOK, put.Status)
		require.EqualValues(t, 1, put.Decree)

		_, found := b.get(c, key)
		require.Equal(t, wire.StatusOK, found.Status)
		require.Equal(t, "Ada", string(found.Value))
		require.Equal(t, b.header(key).GPID, found.Origin.GPID)
		require.Equal(t, b.Primary(tableName, b.index(key)).Address(), string(found.Origin.Server))

		var removed wire.UpdateResponse
		for decree := range 2 {
			c.call(b.header(key), wire.Remove, wire.Blob(key), &removed)
			require.Equal(t, wire.StatusOK, removed.Status, "removing an absent record succeeds as well")
			require.EqualValues(t, decree+2, removed.Decree)
		}
		_, missing = b.get(c, key)
		require.Equal(t, wire.StatusNotFound, missing.Status)
	}
}
