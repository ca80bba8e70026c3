package onebox

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The map and the ordered index of a store always hold the same records, and a clone is independent.
func TestStoreIsAMapAndAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, model := newStore(), map[string]record{}
		var cloned *store
		var clonedModel map[string]record
		for range rapid.IntRange(0, 100).Draw(t, "mutations") {
			m := mutation{
				key:    []byte(rapid.StringMatching(`[a-c]{0,3}`).Draw(t, "key")),
				remove: rapid.Bool().Draw(t, "remove"),
				record: record{value: []byte(rapid.String().Draw(t, "value"))},
			}
			s.apply(m)
			if model[string(m.key)] = m.record; m.remove {
				delete(model, string(m.key))
			}
			if rapid.IntRange(0, 20).Draw(t, "clone") == 0 {
				cloned, clonedModel = s.clone(), contents(t, s)
			}
		}
		require.Equal(t, model, contents(t, s))
		if cloned != nil {
			require.Equal(t, clonedModel, contents(t, cloned))
		}
	})
}

// contents returns the records in the order of the index, which must be that of the keys.
func contents(t *rapid.T, s *store) map[string]record {
	found := map[string]record{}
	var last []byte
	s.order.Ascend(func(i *item) bool {
		require.True(t, len(found) == 0 || bytes.Compare(last, i.key) < 0)
		last = i.key
		found[string(i.key)] = i.record
		same, ok := s.get(i.key)
		require.True(t, ok)
		require.Equal(t, i.record, same)
		return true
	})
	require.Len(t, s.items, len(found))
	return found
}
