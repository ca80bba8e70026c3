package onebox

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Peek returns a copy of the value of a record as the partition's primary has it, without any request;
// without a primary, as the last one had it. ok is false if the record is absent or expired.
func (c *Cluster) Peek(table string, hashKey, sortKey []byte) (value []byte, ok bool) {
	raw, err := wire.AppendKey(nil, hashKey, sortKey)
	if err != nil {
		return nil, false
	}
	p := c.partitionOf(table, hashKey, sortKey)
	if p == nil {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.best()
	if r == nil {
		return nil, false
	}
	found, ok := r.latest(raw)
	if !ok || c.expired(found) {
		return nil, false
	}
	return append([]byte{}, found.value...), true
}

// latest returns a record, prepared writes included. The caller holds partition.mu.
func (r *replica) latest(key []byte) (record, bool) {
	for i := len(r.prepared) - 1; i >= 0; i-- {
		if m := r.prepared[i]; string(m.key) == string(key) {
			return m.record, !m.remove
		}
	}
	return r.store.get(key)
}

// partitionOf returns the partition that serves a key, nil if there is no such table.
func (c *Cluster) partitionOf(table string, hashKey, sortKey []byte) *partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tables[table]; t != nil {
		return t.partitionOf(wire.KeyHash(hashKey, sortKey))
	}
	return nil
}

// partitionOf returns the partition that serves a hash. The caller holds Cluster.mu.
func (t *table) partitionOf(hash uint64) *partition {
	index := int(hash % uint64(len(t.partitions)))
	if len(t.partitions[index].replicas) == 0 {
		index -= t.unsplit // the parent serves for a child that does not yet
	}
	return t.partitions[index]
}

// Load puts n records into a table, much faster than requests would: key returns the i-th, of which
// Load keeps copies. It ignores faults and dead servers, and changes nothing if it fails for a key or
// for want of the table; each partition takes its records as one write.
func (c *Cluster) Load(table string, n int, key func(i int) (hashKey, sortKey, value []byte)) error {
	var raw []byte
	records := execution{cluster: c, env: noEnvironment, mutations: make([]mutation, 0, n)}
	for i := range n {
		hashKey, sortKey, value := key(i)
		var err error
		if raw, err = wire.AppendKey(raw[:0], hashKey, sortKey); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		records.put(raw, value, 0)
	}
	c.mu.Lock() // no split may move a record to another partition from here on
	defer c.mu.Unlock()
	t := c.tables[table]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNoTable, table)
	}
	writes := map[*partition][]mutation{}
	for _, m := range records.mutations {
		hash, err := hashOfKey(m.key)
		if err != nil {
			return err
		}
		p := t.partitionOf(hash)
		m.record.expire = c.expiryOf(t.env, m.record.expire)
		writes[p] = append(writes[p], m)
	}
	for p, write := range writes {
		if err := p.load(write); err != nil {
			return err
		}
	}
	return nil
}

// load carries out a write that may be large. It is put in order, which fills an index faster, and
// secondaries share what the primary made of it.
func (p *partition) load(write []mutation) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.primary == nil {
		return fmt.Errorf("%w: %v has no primary", ErrReplica, p.gpid)
	}
	slices.SortStableFunc(write, func(a, b mutation) int { return bytes.Compare(a.key, b.key) })
	if len(write) < len(p.primary.store.items) {
		p.commit(write)
		return nil
	}
	decree := p.decree + 1
	p.primary.take(write, decree)
	for _, r := range p.secondaries {
		if p.takesWrites(r) {
			r.copyFrom(p.primary)
		}
	}
	p.decree = decree
	return nil
}
