package pegasus

import (
	"context"
	"sync"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Table is a handle of one table. All methods are for concurrent use.
type Table struct {
	client  *Client
	name    string
	routing *meta.Table
	guard   *guard // nil: requests are sent as they come
	release func() // removes the handle from the client's cache
	closed  atomic.Bool
}

// Name returns the table's name.
func (t *Table) Name() string { return t.name }

// Close lets go of the table's routing: later operations through this handle fail with ErrClosed,
// those under way may still end well. The handle is shared by all who opened the table, so only an
// application that is done with the table should close it; Client.OpenTable then opens it anew.
// Closing a handle again does nothing, and closing the client makes it needless.
func (t *Table) Close() {
	if t.closed.CompareAndSwap(false, true) {
		t.release()
		t.routing.Close()
	}
}

// isClosed says whether the table or its client was closed.
func (t *Table) isClosed() bool { return t.closed.Load() || t.client.isClosed() }

// warmUp connects to every primary of the table, side by side. What cannot be connected to now is
// left to the operations that need it.
func (t *Table) warmUp(ctx context.Context) {
	primaries := make(map[*rpc.Node]bool)
	for _, p := range t.routing.Load().Value().Partitions {
		if p.Primary != nil {
			primaries[p.Primary] = true
		}
	}
	var connecting sync.WaitGroup
	for node := range primaries {
		connecting.Go(func() { _ = node.Connect(ctx) })
	}
	connecting.Wait()
}
