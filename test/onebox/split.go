package onebox

import "fmt"

// A split doubles the partition count of a table; parent i gets child i + the old count
// (docs/protocol.md, partition split). It starts with StartSplit. Each parent then goes through three
// steps, which SwitchSplit, RegisterSplit and FinishSplit take; a later one takes those before it as
// well, so that FinishSplit alone does.
//
//	            query_cfg          parent                     child
//	started     ballot -1          serves both                is not hosted
//	switched    ballot -1          answers ERR_SPLITTING      is not hosted
//	registered  ballot -1          rejects the child's keys   serves
//	finished    child's replicas   rejects the child's keys   serves

// splitStep is how far a parent has come.
type splitStep int

const (
	splitSwitched splitStep = iota
	splitRegistered
	splitFinished
)

// StartSplit starts the split of a table. From now on, and for ever, its replicas check partition
// hashes. The partition count must be a power of two.
func (c *Cluster) StartSplit(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tables[name]
	if t == nil {
		return fmt.Errorf("%w: %s", ErrNoTable, name)
	}
	count := len(t.partitions)
	if t.unsplit != 0 || count&(count-1) != 0 {
		return fmt.Errorf("%w: %s has %d partitions, of which %d were there before a split", ErrSplit, name, count, t.unsplit)
	}
	t.unsplit = count
	for _, p := range t.partitions {
		p.setSplit(splitCheck{validate: true, mask: uint64(count - 1)})
	}
	for range count {
		c.addPartition(t).hidden = true
	}
	return nil
}

// SwitchSplit makes parents answer ERR_SPLITTING to everything, as they do for the moment in which their
// child is being registered; none named means all. The split must have been started.
func (c *Cluster) SwitchSplit(table string, parents ...int) error {
	return c.advanceSplit(table, splitSwitched, parents)
}

// RegisterSplit makes parents hand over to their children, of which query_cfg does not tell yet; none
// named means all. Children are copies of their parents, on the same servers. The split must have been
// started, and the parents must have primaries.
func (c *Cluster) RegisterSplit(table string, parents ...int) error {
	return c.advanceSplit(table, splitRegistered, parents)
}

// FinishSplit finishes the split of parents; none named means all. When all are finished, the split is.
// The split must have been started, and the parents must have primaries.
func (c *Cluster) FinishSplit(table string, parents ...int) error {
	return c.advanceSplit(table, splitFinished, parents)
}

// CancelSplit takes the start of a split back. It fails if a child is registered already. Replicas go
// on checking partition hashes.
func (c *Cluster) CancelSplit(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.splitting(name)
	if err != nil {
		return err
	}
	for _, child := range t.partitions[t.unsplit:] {
		if len(child.replicas) > 0 {
			return fmt.Errorf("%w: %v is registered", ErrSplit, child.gpid)
		}
	}
	t.partitions = t.partitions[:t.unsplit]
	t.unsplit = 0
	for _, p := range t.partitions {
		p.setSplit(splitCheck{validate: true, mask: uint64(len(t.partitions) - 1)})
	}
	return nil
}

// splitting returns a table that is being split. The caller holds mu.
func (c *Cluster) splitting(name string) (*table, error) {
	t := c.tables[name]
	switch {
	case t == nil:
		return nil, fmt.Errorf("%w: %s", ErrNoTable, name)
	case t.unsplit == 0:
		return nil, fmt.Errorf("%w: %s is not being split", ErrSplit, name)
	}
	return t, nil
}

func (c *Cluster) advanceSplit(name string, step splitStep, parents []int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, err := c.splitting(name)
	if err != nil {
		return err
	}
	if len(parents) == 0 {
		for i := range t.unsplit {
			parents = append(parents, i)
		}
	}
	for _, i := range parents {
		if i < 0 || i >= t.unsplit {
			return fmt.Errorf("%w: %s parent %d", ErrNoPartition, name, i)
		}
		if err := c.advanceParent(t.partitions[i], t.partitions[i+t.unsplit], step, uint64(len(t.partitions)-1)); err != nil {
			return err
		}
	}
	for _, child := range t.partitions[t.unsplit:] {
		if child.hidden {
			return nil
		}
	}
	t.unsplit = 0
	return nil
}

// advanceParent takes a parent to the given step, unless it is there. The caller holds mu.
func (c *Cluster) advanceParent(parent, child *partition, step splitStep, mask uint64) error {
	parent.mu.Lock()
	primary := parent.primary
	parent.mu.Unlock()
	registered := len(child.replicas) > 0
	switch {
	case registered:
	case step == splitSwitched:
		parent.setSplit(splitCheck{validate: true, switching: true})
	case primary == nil:
		return fmt.Errorf("%w: %v has no primary", ErrSplit, parent.gpid)
	default:
		c.register(parent, child, splitCheck{validate: true, mask: mask})
	}
	if step == splitFinished {
		child.mu.Lock()
		child.hidden = false
		child.mu.Unlock()
	}
	return nil
}

// register makes the child a copy of the parent. No write can be lost on the way, because the parent's
// lock keeps writes out from before the copy until the parent rejects those that are the child's. The
// caller holds Cluster.mu.
func (c *Cluster) register(parent, child *partition, check splitCheck) {
	parent.mu.Lock()
	defer parent.mu.Unlock()
	child.mu.Lock()
	defer child.mu.Unlock()
	child.decree, child.ballot = parent.decree, parent.ballot
	var primary *replica
	var secondaries []*replica
	for _, r := range parent.replicas {
		copied := c.addReplica(child, r.node, check, r.env)
		copied.copyFrom(r)
		switch r.role {
		case rolePrimary:
			primary = copied
		case roleSecondary:
			secondaries = append(secondaries, copied)
		}
		r.mu.Lock()
		r.split = check
		r.mu.Unlock()
	}
	child.configure(primary, secondaries)
}

// setSplit changes how all replicas check partition hashes.
func (p *partition) setSplit(check splitCheck) {
	p.eachReplica(func(r *replica) { r.split = check })
}
