package conformance

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// observed is a request that a client has sent.
type observed struct {
	method string
	header wire.Header
	server *onebox.Node
}

// observer sees all requests to a cluster.
type observer struct {
	mu   sync.Mutex
	seen []observed
}

func observe(cluster *onebox.Cluster) *observer {
	o := &observer{}
	for _, node := range slices.Concat(cluster.Metas(), cluster.Replicas()) {
		node.Inject(onebox.Fault{Match: func(r *onebox.Request) bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.seen = append(o.seen, observed{r.Method, r.Header, r.Node})
			return false
		}})
	}
	return o
}

// take returns the requests of a method seen since the last call, and forgets all.
func (o *observer) take(method *wire.Method) (requests []observed) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, request := range o.seen {
		if request.method == method.Name() {
			requests = append(requests, request)
		}
	}
	o.seen = nil
	return requests
}

const clientTable = "temp"

// openTable starts a cluster with a table of so many partitions, and a client that has it open.
func openTable(t *testing.T, partitions int) (*onebox.Cluster, *observer, *pegasus.Table) {
	t.Helper()
	return openTableOf(t, onebox.Config{}, partitions)
}

func openTableOf(t *testing.T, config onebox.Config, partitions int) (*onebox.Cluster, *observer, *pegasus.Table) {
	t.Helper()
	cluster := onebox.New(t, config)
	_, err := cluster.CreateTable(clientTable, onebox.TableOptions{Partitions: partitions})
	require.NoError(t, err)
	seen := observe(cluster)
	client, err := pegasus.Open(cluster.MetaAddresses(), pegasus.WithDialer(cluster.DialContext))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	table, err := client.OpenTable(t.Context(), clientTable)
	require.NoError(t, err)
	return cluster, seen, table
}

// keyOf returns a hash key of the given one of so many partitions.
func keyOf(partition, count uint64) []byte {
	for i := 0; ; i++ {
		key := fmt.Appendf(nil, "key %d", i)
		if wire.KeyHash(key, nil)%count == partition {
			return key
		}
	}
}

func TestMetaRequestsAddressNoPartition(t *testing.T) {
	cluster, seen, _ := openTable(t, 2)
	cluster.ElectLeader(1)
	require.NoError(t, cluster.DropTable(clientTable))
	client, err := pegasus.Open(cluster.MetaAddresses(), pegasus.WithDialer(cluster.DialContext))
	require.NoError(t, err)
	defer client.Close()
	_, err = client.OpenTable(t.Context(), clientTable)
	require.Error(t, err)
	queries := seen.take(wire.QueryConfig)
	require.Greater(t, len(queries), 2, "of a leader, and of a follower that forwards")
	for _, query := range queries {
		require.Zero(t, query.header.GPID)
		require.Zero(t, query.header.PartitionHash)
		require.Positive(t, query.header.TimeoutMillis)
	}
}

func TestUnreadyChildIsReachedThroughItsParent(t *testing.T) {
	cluster, seen, _ := openTable(t, 2)
	require.NoError(t, cluster.StartSplit(clientTable))
	table := reopen(t, cluster)
	seen.take(wire.Put)

	key := keyOf(3, 4)
	require.NoError(t, table.Set(context.Background(), key, nil, []byte("value")))
	puts := seen.take(wire.Put)
	require.Len(t, puts, 1)
	require.Equal(t, int32(1), puts[0].header.GPID.PartitionIndex, "the parent's gpid")
	require.Equal(t, cluster.Primary(clientTable, 1), puts[0].server, "at the parent's address")
	require.Equal(t, wire.KeyHash(key, nil), puts[0].header.PartitionHash, "with the hash of the key")
}

func TestPartitionIsComputedAnewAfterASplit(t *testing.T) {
	cluster, seen, table := openTable(t, 2)
	require.NoError(t, cluster.StartSplit(clientTable))
	require.NoError(t, cluster.FinishSplit(clientTable))
	seen.take(wire.Put)

	key := keyOf(3, 4)
	require.NoError(t, table.Set(context.Background(), key, nil, []byte("value")))
	puts := seen.take(wire.Put)
	require.Len(t, puts, 2)
	for i, partition := range []int32{1, 3} {
		require.Equal(t, partition, puts[i].header.GPID.PartitionIndex)
		require.Equal(t, wire.KeyHash(key, nil), puts[i].header.PartitionHash)
	}
}

// reopen returns the table as a new client sees it.
func reopen(t *testing.T, cluster *onebox.Cluster) *pegasus.Table {
	t.Helper()
	client, err := pegasus.Open(cluster.MetaAddresses(), pegasus.WithDialer(cluster.DialContext))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	table, err := client.OpenTable(t.Context(), clientTable)
	require.NoError(t, err)
	return table
}
