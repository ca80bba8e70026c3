package onebox

import (
	"fmt"

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
	t := c.tables[table]
	if t == nil {
		return nil
	}
	index := int(wire.KeyHash(hashKey, sortKey) % uint64(len(t.partitions)))
	if len(t.partitions[index].replicas) == 0 {
		index -= t.unsplit // the parent serves for a child that does not yet
	}
	return t.partitions[index]
}

// Load puts n records into a table, much faster than requests would: key returns the i-th, of which
// Load keeps copies. It ignores faults and dead servers.
func (c *Cluster) Load(table string, n int, key func(i int) (hashKey, sortKey, value []byte)) error {
	var raw []byte
	for i := range n {
		hashKey, sortKey, value := key(i)
		var err error
		if raw, err = wire.AppendKey(raw[:0], hashKey, sortKey); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
		p := c.partitionOf(table, hashKey, sortKey)
		if p == nil {
			return fmt.Errorf("%w: %s", ErrNoTable, table)
		}
		if err := c.loadInto(p, raw, value); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
	}
	return nil
}

func (c *Cluster) loadInto(p *partition, key, value []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.primary == nil {
		return fmt.Errorf("%w: %v has no primary", ErrReplica, p.gpid)
	}
	x := execution{cluster: c, replica: p.primary, env: p.primary.env}
	x.put(key, value, 0)
	p.commit(x.mutations)
	return nil
}
