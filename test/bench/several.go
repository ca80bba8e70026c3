package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Operations on several records: ten of one hash key, a hundred of as many hash keys.

// multiSortKeys are those of the ten records that multi_get and multi_set use, of each hash key.
var multiSortKeys = func() (sortKeys [][]byte) {
	for i := range 10 {
		sortKeys = append(sortKeys, fmt.Appendf(nil, "multi%03d", i))
	}
	return sortKeys
}()

var (
	multiGetKind = &kind{
		name:   "multi_get",
		method: wire.MultiGet,
		prepare: func(b *bench) error {
			return b.fill(func(r *record) error {
				return b.table.MultiSet(context.Background(), r.hashKey[:], multiRecords(r))
			})
		},
		requests: forEach(func(r *record) (wire.Arguments, error) {
			return &wire.MultiGetRequest{HashKey: r.hashKey[:], SortKeys: multiSortKeys}, nil
		}),
		status: func(result []byte) (wire.Status, error) {
			var response wire.MultiGetResponse
			err := decode(result, &response)
			if err == nil {
				err = expect(len(multiSortKeys), len(response.Records))
			}
			return response.Status, err
		},
	}
	multiSetKind = &kind{
		name:   "multi_set",
		method: wire.MultiPut,
		requests: forEach(func(r *record) (wire.Arguments, error) {
			request := &wire.MultiPutRequest{HashKey: r.hashKey[:]}
			for _, sortKey := range multiSortKeys {
				request.Records = append(request.Records, wire.KeyValue{Key: sortKey, Value: r.value})
			}
			return request, nil
		}),
		status: setKind.status,
	}
	batchGetKind = &kind{
		name:   "batch_get",
		method: wire.BatchGet,
		prepare: func(b *bench) error {
			var batches [][]pegasus.Key
			for _, batch := range newBatches(b.records, len(b.routing().Partitions)) {
				keys := slices.Concat(batch...)
				rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
				batches = append(batches, keys)
			}
			for i := range b.records {
				b.records[i].batch = &batches[i%len(batches)]
			}
			return nil
		},
		requests:     batchRequests,
		perOperation: func(partitions int) int { return partitions },
		status: func(result []byte) (wire.Status, error) {
			var response wire.BatchGetResponse
			err := decode(result, &response)
			return response.Status, err
		},
		callers: []int{1},
	}
)

// expect returns an error unless there are as many records as there should be.
func expect(want, got int) error {
	if got != want {
		return fmt.Errorf("%d records instead of %d", got, want)
	}
	return nil
}

func multiRecords(r *record) []pegasus.Record {
	records := make([]pegasus.Record, len(multiSortKeys))
	for i, sortKey := range multiSortKeys {
		records[i] = pegasus.Record{SortKey: sortKey, Value: r.value}
	}
	return records
}

func multiGet(ctx context.Context, c *caller, r *record) error {
	result, err := c.table.MultiGet(ctx, r.hashKey[:], multiSortKeys, nil)
	if err != nil {
		return err
	}
	return expect(len(multiSortKeys), len(result.Records))
}

func multiSet(ctx context.Context, c *caller, r *record) error {
	for i, sortKey := range multiSortKeys {
		c.several[i] = pegasus.Record{SortKey: sortKey, Value: r.value}
	}
	return c.table.MultiSet(ctx, r.hashKey[:], c.several[:])
}

// batchSize is the number of keys in a batch.
const batchSize = 100

// newBatches makes as many batches as there are hundreds of records, at least one. The keys of each are
// spread evenly over the partitions, and kept by partition.
func newBatches(records []record, partitions int) [][][]pegasus.Key {
	keys := make([][]pegasus.Key, partitions)
	for i := range records {
		p := wire.KeyHash(records[i].hashKey[:], records[i].sortKey[:]) % uint64(partitions)
		keys[p] = append(keys[p], pegasus.Key{HashKey: records[i].hashKey[:], SortKey: records[i].sortKey[:]})
	}
	batches := make([][][]pegasus.Key, max(1, len(records)/batchSize))
	for i := range batches {
		batches[i] = make([][]pegasus.Key, partitions)
		for p := range partitions {
			share := (p+1)*batchSize/partitions - p*batchSize/partitions
			for j := range min(share, len(keys[p])) {
				batches[i][p] = append(batches[i][p], keys[p][(i*share+j)%len(keys[p])])
			}
		}
	}
	return batches
}

// batchRequests makes one request of what a batch wants of a partition.
func batchRequests(records []record, partitions int) (requests []request, err error) {
	for _, batch := range newBatches(records, partitions) {
		for _, keys := range batch {
			if len(keys) == 0 {
				continue
			}
			arguments := new(wire.BatchGetRequest)
			for _, key := range keys {
				arguments.Keys = append(arguments.Keys, wire.FullKey(key))
			}
			requests = append(requests, request{
				hash: wire.KeyHash(keys[0].HashKey, keys[0].SortKey), arguments: arguments, weight: len(keys),
			})
		}
	}
	return requests, nil
}

func batchGet(ctx context.Context, c *caller, r *record) error {
	results, err := c.table.BatchGet(ctx, r.keys(), nil)
	if err != nil {
		return err
	}
	for i := range results {
		if results[i].Err != nil {
			return results[i].Err
		}
	}
	return expect(len(r.keys()), len(results))
}

func getInTurn(ctx context.Context, c *caller, r *record) error {
	for i := range r.keys() {
		if _, err := c.table.Get(ctx, r.keys()[i].HashKey, r.keys()[i].SortKey); err != nil {
			return err
		}
	}
	return nil
}

// getAtOnce starts a goroutine for each key, as an application would.
func getAtOnce(ctx context.Context, c *caller, r *record) error {
	var running sync.WaitGroup
	errs := make([]error, len(r.keys()))
	for i := range r.keys() {
		running.Go(func() { _, errs[i] = c.table.Get(ctx, r.keys()[i].HashKey, r.keys()[i].SortKey) })
	}
	running.Wait()
	return errors.Join(errs...)
}
