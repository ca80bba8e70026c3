package rpc

import (
	"cmp"
	"slices"
	"time"
	"weak"
)

const (
	// nodeMemory is how long the roster itself keeps a node that was asked for. What is known about a
	// node, its last error or its pause after a failed dial, so outlives a while in which no routing
	// mentions it.
	nodeMemory = 5 * time.Minute
	// maxKept bounds how many nodes are kept for that alone, whatever a meta server names.
	maxKept = 1024
)

// roster holds the nodes of a pool, one per address, and forgets those of no use to anybody. The pool's
// mutex guards it.
//
// Who is of use is what the garbage collector decides: a node stays as long as anything leads to it. That
// may be a routing, the state of the meta servers, an operation or a scan that began with an older one
// and holds it for as long as it likes, and any connection or dial under way, since their goroutines
// lead to their node. All these have plain pointers, and know nothing of the roster.
//
// So no interleaving gives an address a second node while the first can be used. A lookup that comes
// before the collector has found a node unreachable gets it, and it is reachable again. A lookup that
// comes later finds the weak pointer nil, and then nobody has the node, nor a way to get it. With one
// node per address, there is one epoch, one circuit, one dial at a time and one set of connections.
type roster struct {
	entries  map[string]*entry
	tidyAt   time.Time // when to look for nodes that are gone,
	tidySize int       // or with how many entries, if that is sooner
}

// entry is a node's place in a roster.
type entry struct {
	node  weak.Pointer[Node]
	kept  *Node     // the node, while the roster itself keeps it; nil: others must
	asked time.Time // when somebody asked for the node last
}

// node returns the node at address, which it makes if there is none.
func (r *roster) node(address string, pool *Pool) *Node {
	e := r.entries[address]
	if e == nil {
		e = &entry{}
		r.entries[address] = e
	}
	n := e.node.Value()
	if n == nil {
		n = newNode(address, pool)
		e.node = weak.Make(n)
	}
	e.kept, e.asked = n, time.Now()
	if len(r.entries) >= r.tidySize || !e.asked.Before(r.tidyAt) {
		r.tidy(e.asked)
	}
	return n
}

// all returns every node there is, in any order.
func (r *roster) all() []*Node {
	r.tidy(time.Now())
	nodes := make([]*Node, 0, len(r.entries))
	for _, e := range r.entries {
		if n := e.node.Value(); n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// tidy removes the entries of nodes that are gone, and lets go of nodes that nobody has asked for lately
// or that are too many. They are gone when the collector agrees. The next time is after a part of
// nodeMemory, or when there are twice as many entries, so that it costs little whatever comes.
func (r *roster) tidy(now time.Time) {
	var kept []*entry
	entries := make(map[string]*entry) // a new one, since a map that has grown would never shrink
	for address, e := range r.entries {
		if now.Sub(e.asked) >= nodeMemory {
			e.kept = nil
		}
		if e.node.Value() == nil {
			continue
		}
		entries[address] = e
		if e.kept != nil {
			kept = append(kept, e)
		}
	}
	if len(kept) > maxKept {
		slices.SortFunc(kept, func(a, b *entry) int {
			return cmp.Or(b.asked.Compare(a.asked), cmp.Compare(a.kept.address, b.kept.address))
		})
		for _, e := range kept[maxKept:] {
			e.kept = nil
		}
	}
	r.entries, r.tidyAt, r.tidySize = entries, now.Add(nodeMemory/4), 2*max(len(entries), maxKept)
}
