package onebox

// replicaChanged reacts to a replica server having become reachable or unreachable. The caller holds
// mu.
func (c *Cluster) replicaChanged(node *Node, reachable bool) {
	if reachable {
		node.lost = false
		c.reconcile(node)
		return
	}
	epoch := node.epoch
	c.after(c.config.FailoverDelay, func() {
		if node.epoch == epoch {
			node.lost = true
			c.reconcile(node)
		}
	})
}

// reconcile brings every partition that the server hosts into the best possible configuration. The
// caller holds mu.
func (c *Cluster) reconcile(node *Node) {
	for _, r := range *node.hosted.Load() {
		p := r.partition
		p.mu.Lock()
		p.reconcile()
		p.mu.Unlock()
	}
}
