package chaos

import (
	"context"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// batch makes one operation on records of some of the shared rows. To the history it is one operation
// per record, all of them in the same time, since a batch is not done in one moment.
func (h *histories) batch(ctx context.Context, c *caller, on handle) {
	var steps []step
	kind, options := c.IntN(3), &pegasus.BatchOptions{ChunkItems: 1 + c.IntN(4)}
	for i := range h.shared {
		if c.IntN(len(h.shared)) >= 2 {
			continue // two of them, more or less
		}
		hashKey := h.row(i)
		for _, record := range some(c.Rand) {
			o := [...]*operation{get(record), set(record, c.fresh(), lifetime(c.Rand)), del(record)}[kind]
			o.record = record
			steps = append(steps, step{hashKey: hashKey, operation: o, stale: on.hedges && !o.write})
		}
	}
	if len(steps) == 0 {
		return
	}
	called := h.now()
	seen, errs := [...]func(context.Context, database, []step, *pegasus.BatchOptions) ([]string, []error){
		batchGet, batchSet, batchDel,
	}[kind](ctx, on, steps, options)
	returned := h.now()
	for i, s := range steps {
		s.called, s.returned = called, returned
		h.ended(c, s, seen[i], errs[i])
	}
}

func keysOfSteps(steps []step) (keys []pegasus.Key) {
	for _, s := range steps {
		keys = append(keys, pegasus.Key{HashKey: []byte(s.hashKey), SortKey: sortKeys[s.record]})
	}
	return keys
}

func batchGet(ctx context.Context, on database, steps []step, options *pegasus.BatchOptions) (seen []string, errs []error) {
	results, _ := on.BatchGet(ctx, keysOfSteps(steps), options) // the error says what the results say
	for _, result := range results {
		value, err := orAbsent(result.Value, result.Err)
		seen, errs = append(seen, value), append(errs, err)
	}
	return seen, errs
}

func batchSet(ctx context.Context, on database, steps []step, options *pegasus.BatchOptions) (seen []string, errs []error) {
	var records []pegasus.BatchRecord
	for _, s := range steps {
		records = append(records, pegasus.BatchRecord{
			HashKey: []byte(s.hashKey), SortKey: sortKeys[s.record], Value: []byte(s.fresh), TTL: lasting(s.ttl),
		})
	}
	errs, _ = on.BatchSet(ctx, records, options)
	return make([]string, len(steps)), errs
}

func batchDel(ctx context.Context, on database, steps []step, options *pegasus.BatchOptions) (seen []string, errs []error) {
	errs, _ = on.BatchDel(ctx, keysOfSteps(steps), options)
	return make([]string, len(steps)), errs
}
