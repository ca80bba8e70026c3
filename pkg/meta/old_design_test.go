//go:build oldrace

package meta

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// oldDirectory is how the first Pegasus client for Go keeps its meta servers: a list and the index of
// the leader in it, two plain fields. Forwards are followed up in the background, which changes list
// and index in one critical section each; queries read both without the lock.
type oldDirectory struct {
	pool       *rpc.Pool
	background sync.WaitGroup

	mu     sync.Mutex
	metas  []*rpc.Node
	leader int
}

func (d *oldDirectory) QueryConfig(ctx context.Context, table string) (*wire.QueryConfigResponse, error) {
	for ctx.Err() == nil {
		response, err := d.ask(ctx, d.metas[d.leader], table)
		if err != nil || response.Error == wire.ErrOK {
			return response, err
		}
		if len(response.Partitions) == 0 {
			return nil, errors.New("no leader")
		}
		node := d.pool.Node(response.Partitions[0].Primary.String())
		d.background.Go(func() { d.discovered(node) })
		if response, err = d.ask(ctx, node, table); err != nil || response.Error == wire.ErrOK {
			return response, err
		}
	}
	return nil, ctx.Err()
}

func (d *oldDirectory) discovered(node *rpc.Node) {
	d.mu.Lock()
	d.metas = append(d.metas, node)
	last := len(d.metas) - 1
	d.mu.Unlock()
	d.mu.Lock()
	d.leader = last
	d.mu.Unlock()
}

func (d *oldDirectory) ask(ctx context.Context, node *rpc.Node, table string) (*wire.QueryConfigResponse, error) {
	var response wire.QueryConfigResponse
	err := node.Call(ctx, &rpc.Request{
		Method:    wire.QueryConfig,
		Header:    wire.Header{TimeoutMillis: 1000},
		Arguments: &wire.QueryConfigRequest{Table: table},
		Result:    &response,
		Deadline:  time.Now().Add(time.Second),
	})
	return &response, err
}

// TestOldDesignRaces must fail. It is not for running by hand; see TestStressCatchesTheOldDesign.
func TestOldDesignRaces(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	d := &oldDirectory{pool: newPool(t, b.DialContext)}
	for _, address := range b.MetaAddresses() {
		d.metas = append(d.metas, d.pool.Node(address))
	}
	stress(t, b, d, func(*onebox.Node) {}, func() {})
	d.background.Wait()
}
