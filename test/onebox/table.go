package onebox

import (
	"errors"
	"fmt"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Errors of methods that change the topology.
var (
	// ErrNoTable means that there is no table of that name.
	ErrNoTable = errors.New("onebox: no such table")
	// ErrTableExists means that there is a table of that name already.
	ErrTableExists = errors.New("onebox: table exists")
	// ErrNoPartition means that the table has no such partition, or not yet.
	ErrNoPartition = errors.New("onebox: no such partition")
	// ErrReplica means that the replica server cannot play the part, for lack of life or of data.
	ErrReplica = errors.New("onebox: replica server is not fit")
	// ErrSplit means that the table's split is not in a state that allows the call.
	ErrSplit = errors.New("onebox: wrong state of split")
)

// table is a table. Cluster.mu guards it.
type table struct {
	appID      int32
	replicas   int
	partitions []*partition
	env        *environment
	unsplit    int // the partition count before the split that is going on; 0: none is
}

// CreateTable creates a table. Its primaries are assigned at once and spread round robin over the
// replica servers: that of partition i is on server i modulo the number of servers, and secondaries
// on those that follow. A table of a name used before gets a new app id.
func (c *Cluster) CreateTable(name string, options TableOptions) (appID int32, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tables[name] != nil {
		return 0, fmt.Errorf("%w: %s", ErrTableExists, name)
	}
	options = options.withDefaults(len(c.replicas))
	t := &table{appID: int32(len(c.everHad) + 1), replicas: options.Replicas, env: noEnvironment}
	c.tables[name] = t
	check := splitCheck{mask: uint64(options.Partitions - 1)} // as servers compute it, of whatever count
	for i := range options.Partitions {
		p := c.addPartition(t)
		for j := range options.Replicas {
			c.addReplica(p, c.replicas[(i+j)%len(c.replicas)], check, t.env)
		}
		if p.held = options.Unassigned; !p.held {
			p.mu.Lock()
			p.arrange(p.candidate())
			p.mu.Unlock()
		}
	}
	return t.appID, nil
}

// addPartition adds a partition without replicas. The caller holds mu.
func (c *Cluster) addPartition(t *table) *partition {
	p := &partition{
		gpid:        wire.GPID{AppID: t.appID, PartitionIndex: int32(len(t.partitions))},
		minReplicas: c.config.MinReplicas,
		patient:     c.config.PatientWrites,
	}
	t.partitions = append(t.partitions, p)
	c.everHad[t.appID] = max(c.everHad[t.appID], len(t.partitions))
	return p
}

// addReplica makes a server host a partition, without data and outside of its configuration. The caller
// holds mu, and the partition's mu if others know the partition.
func (c *Cluster) addReplica(p *partition, node *Node, split splitCheck, env *environment) *replica {
	r := &replica{node: node, partition: p, store: newStore(), split: split, env: env}
	p.replicas = append(p.replicas, r)
	node.host(p.gpid, r)
	return r
}

// DropTable removes a table and its data. It fails while the table is being split.
func (c *Cluster) DropTable(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tables[name]
	switch {
	case t == nil:
		return fmt.Errorf("%w: %s", ErrNoTable, name)
	case t.unsplit != 0:
		return fmt.Errorf("%w: %s is being split", ErrSplit, name)
	}
	delete(c.tables, name)
	for _, p := range t.partitions {
		c.unhost(p)
	}
	return nil
}

// unhost removes a partition from all servers. The caller holds mu.
func (c *Cluster) unhost(p *partition) {
	for _, r := range p.replicas {
		r.node.host(p.gpid, nil)
	}
}

// withPartition calls f with both locks held. A child of a split that does not serve yet does not
// count as a partition.
func (c *Cluster) withPartition(name string, index int, f func(t *table, p *partition) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tables[name]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNoTable, name)
	}
	if index < 0 || index >= len(t.partitions) || len(t.partitions[index].replicas) == 0 {
		return fmt.Errorf("%w: %s %d", ErrNoPartition, name, index)
	}
	p := t.partitions[index]
	p.mu.Lock()
	defer p.mu.Unlock()
	return f(t, p)
}

// MovePrimary makes the replica server with the given index in Replicas the primary of a partition,
// with a new ballot. A server that does not host the partition, or whose data is incomplete, first
// copies it. The old primary becomes a secondary and answers ERR_INVALID_STATE. It fails if the
// server cannot be reached, or has to copy and there is no primary to copy from.
func (c *Cluster) MovePrimary(name string, index, server int) error {
	return c.withPartition(name, index, func(t *table, p *partition) error {
		return c.appoint(t, p, c.replicas[server])
	})
}

// AssignPrimary gives a partition that ClearPrimary or TableOptions.Unassigned left without a primary
// the replica server with the given index in Replicas. It is MovePrimary under another name.
func (c *Cluster) AssignPrimary(name string, index, server int) error {
	return c.MovePrimary(name, index, server)
}

// appoint makes a server the primary. The caller holds mu and the partition's mu.
func (c *Cluster) appoint(t *table, p *partition, node *Node) error {
	if !node.reachable.Load() {
		return fmt.Errorf("%w: %v is not reachable", ErrReplica, node)
	}
	r := p.on(node)
	if r == nil || !r.complete() {
		source := p.best()
		if source == nil || !source.node.reachable.Load() {
			return fmt.Errorf("%w: %v has not all data of %v", ErrReplica, node, p.gpid)
		}
		if r == nil {
			r = c.addReplica(p, node, source.split, source.env)
		}
		r.copyFrom(source)
	}
	p.held = false
	p.arrange(r)
	return nil
}

// ClearPrimary leaves a partition without a primary, with a new ballot, until AssignPrimary. All its
// replicas answer ERR_INVALID_STATE.
func (c *Cluster) ClearPrimary(name string, index int) error {
	return c.withPartition(name, index, func(_ *table, p *partition) error {
		p.held = true
		p.configure(nil, p.secondaries)
		return nil
	})
}

// RemoveReplica makes a replica server no longer host a partition: it answers ERR_OBJECT_NOT_FOUND.
// If it was the primary, a secondary takes over, with a new ballot. It fails for a server whose data
// no other server that can be reached has.
func (c *Cluster) RemoveReplica(name string, index, server int) error {
	return c.withPartition(name, index, func(_ *table, p *partition) error {
		r := p.on(c.replicas[server])
		if r == nil {
			return fmt.Errorf("%w: %v does not host %v", ErrReplica, c.replicas[server], p.gpid)
		}
		return p.remove(r)
	})
}

// Primary returns the server of a partition's primary, dead or alive; nil if there is none.
func (c *Cluster) Primary(name string, index int) (primary *Node) {
	_ = c.withPartition(name, index, func(_ *table, p *partition) error { // no partition: no primary
		if p.primary != nil {
			primary = p.primary.node
		}
		return nil
	})
	return primary
}

// Secondaries returns the servers of a partition's secondaries, dead or alive.
func (c *Cluster) Secondaries(name string, index int) (secondaries []*Node) {
	_ = c.withPartition(name, index, func(_ *table, p *partition) error { // no partition: none
		for _, r := range p.secondaries {
			secondaries = append(secondaries, r.node)
		}
		return nil
	})
	return secondaries
}

// PartitionCount returns the number of partitions that meta servers tell for a table, 0 if there is no
// such table.
func (c *Cluster) PartitionCount(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.tables[name]; t != nil {
		return len(t.partitions)
	}
	return 0
}
