package chaos

import (
	"context"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// batch makes one operation on records of some of the shared rows. To the history it is one operation
// per record, all of them in the same time, since a batch is not done in one moment.
func (h *histories) batch(ctx context.Context, c *caller) {
	var steps []step
	kind, options := c.IntN(3), &pegasus.BatchOptions{ChunkItems: 1 + c.IntN(4)}
	for i := range rowsAtOnce {
		if c.IntN(2) == 0 {
			continue
		}
		hashKey := h.row(i)
		for _, record := range some(c.Rand) {
			steps = append(steps, step{hashKey, [...]*operation{get(record), set(record, c.fresh()), del(record)}[kind]})
			steps[len(steps)-1].record = record
		}
	}
	if len(steps) == 0 {
		return
	}
	called := h.clock.Inc()
	seen, errs := [...]func(context.Context, database, []step, *pegasus.BatchOptions) ([]string, []error){
		batchGet, batchSet, batchDel,
	}[kind](ctx, c.strict, steps, options)
	returned := h.clock.Inc()
	for i, s := range steps {
		h.ended(c, s, called, returned, seen[i], errs[i])
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
		records = append(records, pegasus.BatchRecord{HashKey: []byte(s.hashKey), SortKey: sortKeys[s.record], Value: []byte(s.fresh)})
	}
	errs, _ = on.BatchSet(ctx, records, options)
	return make([]string, len(steps)), errs
}

func batchDel(ctx context.Context, on database, steps []step, options *pegasus.BatchOptions) (seen []string, errs []error) {
	errs, _ = on.BatchDel(ctx, keysOfSteps(steps), options)
	return make([]string, len(steps)), errs
}
