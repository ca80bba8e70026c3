package rpc

import "sync"

// maxNotices bounds the calls of Notices that wait for those before them.
const maxNotices = 1024

// Notices are calls of foreign code, such as hooks and loggers, that are made one after the other, in the
// order in which they were added, by one goroutine that exists while there are any. So who adds one waits
// for nobody, and may hold locks that the foreign code may come to need.
type Notices struct {
	// Start starts the goroutine, and is false if there can be none any more: then the call is left out.
	// It may be called with locks held.
	Start func(run func()) bool

	mu      sync.Mutex // guards what follows
	due     []func()
	calling bool // the goroutine exists
}

// Add has a function called later. It is false if that is left out, because 1024 others are due already or
// there is nobody to call them.
func (n *Notices) Add(call func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.due) >= maxNotices {
		return false
	}
	if !n.calling {
		if !n.Start(n.callAll) {
			return false
		}
		n.calling = true
	}
	n.due = append(n.due, call)
	return true
}

// callAll calls what is due, and ends when nothing is.
func (n *Notices) callAll() {
	for call := n.next(); call != nil; call = n.next() {
		call()
	}
}

// next returns the call that is due first; nil, and the goroutine is no more, if none is.
func (n *Notices) next() func() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.due) == 0 {
		n.due, n.calling = nil, false
		return nil
	}
	call := n.due[0]
	n.due = n.due[1:]
	return call
}
