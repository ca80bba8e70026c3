package memnet

// Links returns how many connections n knows, for tests that it forgets them.
func (n *Network) Links() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.links)
}
