package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// record is one record with its keys ready, so that using it allocates nothing.
//
// It fills a cache line, and its keys lie in it. A service has the key at hand that a request has just
// brought; here, fetching it from memory would count as the client's work, which it is not.
type record struct {
	hashKey [16]byte
	sortKey [8]byte
	value   []byte
	batch   *[]pegasus.Key // nil: none
	_       [8]byte
}

// keys is the batch that an operation on batches takes when it comes to this record.
func (r *record) keys() []pegasus.Key {
	if r.batch == nil {
		return nil
	}
	return *r.batch
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
		r := &records[place]
		r.value = value
		copy(r.hashKey[:], fmt.Sprintf("bench-%010d", i))
		copy(r.sortKey[:], fmt.Sprintf("sort%04d", i%10_000))
	}
	return records
}
