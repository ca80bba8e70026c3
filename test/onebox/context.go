package onebox

import (
	"fmt"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// contextLife is how long a context is kept after the reply that told its id.
const contextLife = 5 * time.Minute

// contexts are the scans that a replica can continue. They live as long as its server's process. The
// zero value has none.
type contexts struct {
	mu    sync.Mutex
	byID  map[int64]*scanContext
	next  int64
	swept time.Time // when those that are over were last dropped
}

// scanContext is a scan that is not complete.
type scanContext struct {
	scanner
	order *index    // the records when the scan began
	until time.Time // when the context is over
}

// put keeps a context and returns its id.
func (c *contexts) put(x *execution, kept *scanContext) int64 {
	now := x.cluster.config.Now()
	kept.until = now.Add(contextLife)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil {
		c.byID = map[int64]*scanContext{}
		c.next = x.cluster.config.FirstContext(x.node, x.replica.partition.gpid)
	}
	if now.Sub(c.swept) >= contextLife {
		c.swept = now
		for id, old := range c.byID {
			if !now.Before(old.until) {
				delete(c.byID, id)
			}
		}
	}
	id := c.next
	c.next++
	c.byID[id] = kept
	return id
}

// take returns a context, which is thereby gone; nil if there is none.
func (c *contexts) take(x *execution, id int64) *scanContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.byID[id]
	if found == nil || !x.cluster.config.Now().Before(found.until) {
		return nil
	}
	delete(c.byID, id)
	return found
}

// drop forgets all contexts, and where their ids were.
func (c *contexts) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byID = nil
}

// firstContext is the default of Config.FirstContext.
func firstContext(server *Node, gpid wire.GPID) int64 {
	seed := fmt.Sprint("replica ", gpid, " server ", server.index, " life ", server.lives.Load())
	return int64(wire.KeyHash([]byte(seed), nil)) &^ (1<<32 - 1)
}
