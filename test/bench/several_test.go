package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestBatches wants batches of a hundred different keys, spread evenly over the partitions.
func TestBatches(t *testing.T) {
	records := newRecords(3000, 1)
	for _, partitions := range []int{1, 3, 8} {
		batches := newBatches(records, partitions)
		require.Len(t, batches, 30)
		for _, batch := range batches {
			require.Len(t, batch, partitions)
			seen := make(map[string]bool)
			for p, keys := range batch {
				require.InDelta(t, batchSize/partitions, len(keys), 1)
				for _, key := range keys {
					seen[string(key.HashKey)] = true
					require.Equal(t, uint64(p), wire.KeyHash(key.HashKey, key.SortKey)%uint64(partitions))
				}
			}
			require.Len(t, seen, batchSize)
		}
	}
	few, err := batchRequests(newRecords(3, 1), 8)
	require.NoError(t, err)
	require.NotEmpty(t, few)
	require.LessOrEqual(t, len(few), 3, "no request without a key")
}

// openSmall returns the benchmark of a small cluster.
func openSmall(t *testing.T, flags ...string) *bench {
	cluster := onebox.New(t, onebox.Config{})
	_, err := cluster.CreateTable("temp", onebox.TableOptions{})
	require.NoError(t, err)
	client, err := pegasus.Open(cluster.MetaAddresses())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	s, err := parseSettings(append([]string{"-records", "1000", "-callers", "1"}, flags...), t.Output())
	require.NoError(t, err)
	b, err := openBench(s, client, "temp")
	require.NoError(t, err)
	return b
}

// TestSeveral calls every operation on several records, and has each miss a record.
func TestSeveral(t *testing.T) {
	b := openSmall(t)
	for _, op := range allOperations {
		if op.call == nil {
			continue
		}
		if op.kind.prepare != nil {
			require.NoError(t, op.kind.prepare(b))
		}
		workers, err := b.contender(op).workers(1, 0)
		require.NoError(t, err)
		c := workers[0].(*caller)
		r := &b.records[5]
		require.NoError(t, op.call(t.Context(), c, r), op.name)
		for _, sortKey := range [][]byte{r.sortKey[:], multiSortKeys[3]} {
			require.NoError(t, b.table.Del(t.Context(), r.hashKey[:], sortKey))
		}
		for i := range r.keys() {
			require.NoError(t, b.table.Del(t.Context(), r.keys()[i].HashKey, r.keys()[i].SortKey))
		}
		err = op.call(t.Context(), c, r)
		if op.name == "set" || op.name == "multi_set" {
			require.NoError(t, err)
		} else {
			require.Error(t, err, op.name)
		}
		require.NoError(t, b.fill(func(r *record) error {
			return b.table.Set(t.Context(), r.hashKey[:], r.sortKey[:], r.value)
		}))
	}
}

// TestBatchFloorCounts wants as many operations counted as batches were asked for.
func TestBatchFloorCounts(t *testing.T) {
	for _, callers := range []int{1, 5} {
		x := newBox(t, batchGetKind, 10)
		_, done := x.work(t, callers, 100)
		operations := 0
		for i := range done.operations {
			operations += done.operations[i]
		}
		require.InDelta(t, x.requests()/8, operations, float64(4*callers+4))
		require.Positive(t, operations)
	}
}
