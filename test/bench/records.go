package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// record is one record with its keys ready, so that using it allocates nothing.
type record struct {
	hashKey, sortKey, value []byte

	batch []pegasus.Key // the batch that an operation on batches takes when it comes to this record
}

// newRecords makes records with hash keys of 16 bytes and sort keys of 8, in random order, the same
// order each time. Who walks through them chooses keys uniformly.
func newRecords(count, valueSize int) []record {
	records := make([]record, count)
	random := rand.New(rand.NewPCG(1, 2))
	for place, i := range random.Perm(count) {
		value := make([]byte, valueSize)
		for j := range value {
			value[j] = byte('a' + random.IntN(26))
		}
		records[place] = record{
			hashKey: fmt.Appendf(nil, "bench-%010d", i),
			sortKey: fmt.Appendf(nil, "sort%04d", i%10_000),
			value:   value,
		}
	}
	return records
}
