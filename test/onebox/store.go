package onebox

import (
	"bytes"
	"maps"

	"github.com/google/btree"
)

// store holds the records of a replica: a map for point reads, and an ordered index of the keys.
//
// Snapshots and clones share items with it. An item that they may share is never changed: it is older
// than the store's generation, and a write replaces it. One that nobody shares is changed in place,
// which spares the index.
type store struct {
	items      map[string]*item
	order      *index
	generation int // counts snapshots and clones
}

// index is an ordered index of keys.
type index = btree.BTreeG[*item]

// item is a record with its key, which is never changed.
type item struct {
	key []byte
	record
	generation int // that of the store when the item was made
}

// indexDegree is the fan-out of the ordered index.
const indexDegree = 32

func newStore() *store {
	return &store{
		items: map[string]*item{},
		order: btree.NewG(indexDegree, func(a, b *item) bool { return bytes.Compare(a.key, b.key) < 0 }),
	}
}

func (s *store) get(key []byte) (record, bool) {
	found := s.items[string(key)]
	if found == nil {
		return record{}, false
	}
	return found.record, true
}

func (s *store) apply(m mutation) {
	found := s.items[string(m.key)]
	switch {
	case m.remove && found != nil:
		delete(s.items, string(m.key))
		s.order.Delete(found)
	case m.remove:
	case found != nil && found.generation == s.generation:
		found.record = m.record
	default:
		added := &item{m.key, m.record, s.generation}
		s.items[string(m.key)] = added
		s.order.ReplaceOrInsert(added)
	}
}

// snapshot returns the index as it is now. Later writes do not touch it.
func (s *store) snapshot() *index {
	s.generation++
	return s.order.Clone()
}

// clone returns an independent copy.
func (s *store) clone() *store {
	return &store{order: s.snapshot(), items: maps.Clone(s.items), generation: s.generation}
}
