package onebox_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// TestSwitchesConcurrently throws every switch from several goroutines at once, under requests. Nothing
// may hang, and what is healed afterwards serves.
func TestSwitchesConcurrently(t *testing.T) {
	b := newBox(t, onebox.Config{
		FailoverDelay: time.Millisecond, ElectionDelay: time.Millisecond, NotActiveDelay: time.Millisecond,
	}, onebox.TableOptions{})
	key := rawKey("a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	var throwing, asking sync.WaitGroup
	for seed := range uint64(3) {
		throwing.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for range 150 {
				throwSwitch(b, random)
			}
		})
		asking.Go(func() {
			r := newRouter(t, b.Cluster)
			defer r.close()
			for ctx.Err() == nil {
				_ = r.do(key, wire.Put, &wire.PutRequest{Key: key}, &wire.UpdateResponse{})
			}
		})
	}
	throwing.Wait()
	cancel()
	asking.Wait()

	for _, node := range append(b.Metas(), b.Replicas()...) {
		node.Resume()
		node.Blackhole(false)
		node.DenyClients(false)
		node.Restart()
		require.True(t, node.IsAlive())
	}
	within(t, func() bool { return b.Leader() != nil }, "a leader is elected")
	b.ElectLeader(0)
	for i := range b.partitions {
		require.NoError(t, b.AssignPrimary(tableName, i, 0), "it may have been left without")
	}
	r := newRouter(t, b.Cluster)
	defer r.close()
	within(t, func() bool {
		return r.do(key, wire.Put, &wire.PutRequest{Key: key}, &wire.UpdateResponse{}) == nil
	}, "the healed cluster serves")
	require.Empty(t, b.Secondaries("dropped", 0))
}

// throwSwitch throws one switch. What fails because of the state that others have made is as good.
func throwSwitch(b *box, random *rand.Rand) {
	nodes := append(b.Metas(), b.Replicas()...)
	node, on := nodes[random.IntN(len(nodes))], random.IntN(2) == 0
	partition := random.IntN(b.partitions)
	switch random.IntN(13) {
	case 0:
		node.Kill()
	case 1, 2:
		node.Restart()
	case 3:
		node.Pause()
	case 4:
		node.Resume()
	case 5:
		node.Blackhole(on)
	case 6:
		node.DenyClients(on)
	case 7:
		node.Inject(onebox.Fault{Times: 3, Delay: time.Millisecond, Chunk: 5})()
	case 8:
		b.ElectLeader(random.IntN(3))
	case 9:
		_ = b.MovePrimary(tableName, partition, random.IntN(3))
	case 10:
		_ = b.ClearPrimary(tableName, partition)
		_ = b.AssignPrimary(tableName, partition, random.IntN(3))
	case 11:
		_, _ = b.CreateTable("dropped", onebox.TableOptions{})
		_ = b.Load("dropped", 1, func(int) (hashKey, sortKey, value []byte) { return []byte("a"), nil, nil })
		_ = b.DropTable("dropped")
	default:
		b.Peek(tableName, []byte("a"), []byte("b"))
		node.Connections()
		b.NodeAt(node.Address())
	}
}
