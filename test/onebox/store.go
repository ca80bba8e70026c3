package onebox

import "github.com/google/btree"

// store holds the records of a replica: a map for point reads, and an ordered index of the keys,
// which changes only when a key comes or goes.
type store struct {
	items map[string]*item
	order *btree.BTreeG[*item]
}

type item struct {
	key string
	record
}

// indexDegree is the fan-out of the ordered index.
const indexDegree = 32

func newStore() *store {
	return &store{
		items: map[string]*item{},
		order: btree.NewG(indexDegree, func(a, b *item) bool { return a.key < b.key }),
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
		delete(s.items, found.key)
		s.order.Delete(found)
	case m.remove:
	case found != nil:
		found.record = m.record
	default:
		s.insert(string(m.key), m.record)
	}
}

func (s *store) insert(key string, value record) {
	added := &item{key, value}
	s.items[key] = added
	s.order.ReplaceOrInsert(added)
}

// clone returns an independent copy; only values and keys, which never change, are shared.
func (s *store) clone() *store {
	copied := newStore()
	copied.items = make(map[string]*item, len(s.items))
	s.order.Ascend(func(i *item) bool {
		copied.insert(i.key, i.record)
		return true
	})
	return copied
}
