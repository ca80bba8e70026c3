package onebox

// election says who leads the meta servers. Cluster.mu guards it.
type election struct {
	leader *Node // nil while there is none
	named  *Node // whom the followers take for the leader; nil: they know none
	active bool  // the leader has loaded its state
	vacant bool  // nobody shall be elected until ElectLeader
	epoch  int   // grows with each leader and each vacancy; outdates timers
}

// Leader returns the meta server that leads now, possibly still loading; nil while there is none.
func (c *Cluster) Leader() *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.election.leader
}

// ElectLeader makes the meta server with the given index in Metas the leader, at once and without
// the phase of ERR_SERVICE_NOT_ACTIVE. With -1 there is no leader, and no meta server knows one, until
// the next ElectLeader. It does nothing if the server is dead, paused or blackholed.
func (c *Cluster) ElectLeader(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i < 0 {
		c.election = election{vacant: true, epoch: c.election.epoch + 1}
		return
	}
	if c.metas[i].reachable.Load() {
		c.lead(c.metas[i], true)
	}
}

// lead makes a meta server the leader. The caller holds mu.
func (c *Cluster) lead(node *Node, active bool) {
	epoch := c.election.epoch + 1
	c.election = election{leader: node, named: node, active: active, epoch: epoch}
	if active {
		return
	}
	c.after(c.config.NotActiveDelay, func() {
		if c.election.epoch == epoch {
			c.election.active = true
		}
	})
}

// metaChanged reacts to a meta server having become reachable or unreachable. A leader that returns
// before another was elected still is the leader. The caller holds mu.
func (c *Cluster) metaChanged(node *Node, reachable bool) {
	switch {
	case c.election.vacant:
	case !reachable && node == c.election.leader:
		c.election.leader = nil
		c.elect()
	case reachable && c.election.leader == nil && node == c.election.named:
		c.lead(node, !node.rebooted)
	case reachable && c.election.leader == nil:
		c.elect()
	}
}

// elect has a leader elected after the delay, unless one comes up before: the next reachable meta server
// behind the dead leader. The caller holds mu.
func (c *Cluster) elect() {
	epoch := c.election.epoch
	c.after(c.config.ElectionDelay, func() {
		if c.election.epoch != epoch {
			return
		}
		for i := range c.metas {
			if next := c.metas[(c.election.named.index+1+i)%len(c.metas)]; next.reachable.Load() {
				c.lead(next, false)
				return
			}
		}
	})
}
