package pegasus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// A timer that fires as the first call ends, and an answer that comes as it does, find nothing to do, and
// leave alone what the operation may have given to another.
func TestHedgeAfterItsEnd(t *testing.T) {
	h := &hedge{cancel: func() { t.Error("the call is over, and its context another's") }}
	h.end()
	h.start() // which would fall over what is not there
	h.answered([]byte("late"))
	answer, node := h.end()
	require.Nil(t, answer)
	require.Nil(t, node)
}

// All secondaries take part, and the primary does not if a meta server lists it among them.
func TestSecondaryIsAnyButThePrimary(t *testing.T) {
	pool, err := rpc.NewPool(rpc.Options{})
	require.NoError(t, err)
	primary, one, other := pool.Node("10.0.0.1:1"), pool.Node("10.0.0.2:1"), pool.Node("10.0.0.3:1")
	require.Nil(t, secondary(&meta.Partition{Primary: primary}))
	require.Nil(t, secondary(&meta.Partition{Primary: primary, Secondaries: []*rpc.Node{primary}}))
	asked := make(map[*rpc.Node]int)
	for range 200 {
		asked[secondary(&meta.Partition{Primary: primary, Secondaries: []*rpc.Node{one, other}})]++
	}
	require.Len(t, asked, 2)
	require.Greater(t, asked[one], 50)
	require.Greater(t, asked[other], 50)
}

// Close waits for the goroutine of a second call until that has handed its answer over, although the first
// call, and whoever made it, may be gone by then.
func TestCloseWaitsForHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := onebox.New(t, onebox.Config{Network: memnet.New()})
		_, err := cluster.CreateTable("temp", onebox.TableOptions{Partitions: 1})
		require.NoError(t, err)
		client, err := Open(cluster.MetaAddresses(), WithDialer(cluster.DialContext), WithHedgedReads(Hedging{}))
		require.NoError(t, err)
		table, err := client.OpenTable(t.Context(), "temp")
		require.NoError(t, err)

		release := make(chan struct{})
		hash := wire.KeyHash([]byte("key"), nil)
		_, partition := table.routing.Load().Value().Locate(hash)
		h := &hedge{
			client: client, partition: partition, ctx: t.Context(), cancel: func() { <-release },
			request: rpc.Request{
				Method: wire.Get, Arguments: wire.Blob("\x00\x03key"), Deadline: time.Now().Add(time.Hour),
				Header: wire.Header{GPID: partition.GPID, PartitionHash: hash},
			},
		}
		h.start()
		synctest.Wait()
		require.NotNil(t, h.answer, "the secondary has answered, and its answer is being handed over")
		time.AfterFunc(time.Second, func() { close(release) })
		began := time.Now()
		require.NoError(t, client.Close())
		require.Equal(t, time.Second, time.Since(began))
	})
}
