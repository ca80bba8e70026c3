package pegasus

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// BatchResult is what BatchGet has to say about one key.
type BatchResult struct {
	// Value is the record's value; empty but not nil for an empty value, nil if Err is not. It belongs
	// to the caller. Up to BatchOptions.ChunkItems values share one piece of memory, which is freed
	// when none of them is used any more: who keeps few of many should copy them.
	Value []byte
	// Err is nil for a record that exists, ErrNotFound if there is none, and otherwise the [*Error]
	// that kept the key from being looked up.
	Err error
}

// BatchGet looks up records of any hash keys, those of one partition with one request, and returns
// the results in the order of the keys, one for each. The error is nil if every key was looked up,
// whether or not there was a record, and otherwise a [*BatchError] that names the keys that were not.
// The records are not read at one moment. Only what failed is tried again.
func (t *Table) BatchGet(ctx context.Context, keys []Key, options *BatchOptions) ([]BatchResult, error) {
	results := make([]BatchResult, len(keys))
	if len(keys) == 0 {
		return results, nil
	}
	ctx, cancel := t.client.bound(ctx)
	defer cancel()
	b := &batchGet{table: t, keys: keys, results: results, options: options.orDefault(DefaultBatchGetConcurrency)}
	b.options.ChunkBytes = min(b.options.ChunkBytes, maxKeyBytes)
	b.deadline, _ = ctx.Deadline()
	for _, c := range b.group(t.routing.Load(), b.valid(), b.options.ChunkItems) {
		b.lanes.add(c.node, c, false)
	}
	b.lanes.work(b.options.Concurrency, func(c *chunk) { b.advance(ctx, c) })
	return results, t.batchError(batchGetName, len(results), func(i int) error { return results[i].Err })
}

const batchGetName = "batch get"

// batchGet is one call of BatchGet. The goroutines that work on it share it: each chunk is in the
// hands of one of them at a time, and so are the results of its keys. The rest is not written.
type batchGet struct {
	table    *Table
	keys     []Key
	results  []BatchResult
	options  BatchOptions
	deadline time.Time
	lanes    lanes[*chunk]
}

// batchItem is a key that is to be looked up.
type batchItem struct {
	hash      uint64
	index     int   // in keys
	partition int32 // that serves it, by the routing of the last grouping
}

// chunk is a request for keys that one partition serves, by the routing that it was made with. It is
// sent by no other routing: the server does not look at the single keys, and would not find those of
// another partition, or find what was true of them before a split. When a try fails, the keys are
// grouped anew.
type chunk struct {
	operation
	routing  *routingVersion
	node     *rpc.Node // the primary, by that routing; may be nil
	items    []batchItem
	keys     wire.BatchGetRequest
	answer   batchAnswer
	patience *retry.Patience // nil before the first failure
	failed   *failedTry      // what the last try came to, if it is to be followed by another
}

// batchAnswer receives the answer, which is to stay.
type batchAnswer struct{ wire.BatchGetResponse }

// Decode implements wire.Result.
func (a *batchAnswer) Decode(r *wire.Reader) {
	r.Own()
	a.BatchGetResponse.Decode(r)
}

// valid returns the keys that can be looked up, and refuses the others.
func (b *batchGet) valid() []batchItem {
	items := make([]batchItem, 0, len(b.keys))
	closed := b.table.closed.Load()
	for i := range b.keys {
		key := &b.keys[i]
		err := checkLength(key.HashKey)
		switch {
		case closed:
			err = ErrClosed
		case len(key.HashKey)+len(key.SortKey) > maxKeyBytes:
			err = cmp.Or(err, fmt.Errorf("%w: key of %d bytes", ErrTooLarge, len(key.HashKey)+len(key.SortKey)))
		}
		if err != nil {
			b.results[i].Err = b.table.invalid(batchGetName, err)
			continue
		}
		items = append(items, batchItem{hash: wire.KeyHash(key.HashKey, key.SortKey), index: i})
	}
	return items
}

// group makes chunks of at most the given number of items, which it brings into another order.
func (b *batchGet) group(routing *routingVersion, items []batchItem, most int) []*chunk {
	for i := range items {
		_, p := routing.Value().Locate(items[i].hash)
		items[i].partition = p.GPID.PartitionIndex
	}
	slices.SortFunc(items, func(a, c batchItem) int {
		return cmp.Or(cmp.Compare(a.partition, c.partition), cmp.Compare(a.index, c.index))
	})
	var chunks []*chunk
	for len(items) > 0 {
		n := b.fitting(items, most)
		chunks = append(chunks, b.newChunk(routing, items[:n:n]))
		items = items[n:]
	}
	return chunks
}

// fitting returns how many of the items, at least one, go into one chunk.
func (b *batchGet) fitting(items []batchItem, most int) int {
	size := 0
	for i, item := range items {
		key := &b.keys[item.index]
		size += len(key.HashKey) + len(key.SortKey)
		if i == most || i > 0 && (item.partition != items[0].partition || size > b.options.ChunkBytes) {
			return i
		}
	}
	return len(items)
}

func (b *batchGet) newChunk(routing *routingVersion, items []batchItem) *chunk {
	c := &chunk{routing: routing, items: items}
	c.name, c.idempotent, c.deadline = batchGetName, true, b.deadline
	c.keys.Keys = make([]wire.FullKey, len(items))
	for i, item := range items {
		c.keys.Keys[i] = wire.FullKey(b.keys[item.index])
	}
	c.request = rpc.Request{
		Method: wire.BatchGet, Arguments: &c.keys, Result: &c.answer, Deadline: b.deadline,
		FailFast: b.table.client.settings.FailFast, Route: b.table.routing,
	}
	c.request.Header.PartitionHash = witness(items)
	_, p := routing.Value().Locate(items[0].hash)
	c.node = p.Primary
	return c
}

// witness returns the hash that speaks for all items. A server that checks whether a hash belongs to
// its partition sees only this one. When a partition is split, the lowest bit in which a hash differs
// from the partition's index decides when its key has to go; the witness is one that goes first. As
// long as the server accepts it, all items are where they belong (docs/protocol.md, partition split).
func witness(items []batchItem) uint64 {
	agreed := func(item batchItem) int { return bits.TrailingZeros64(item.hash ^ uint64(item.partition)) }
	first := items[0]
	for _, item := range items[1:] {
		if agreed(item) < agreed(first) {
			first = item
		}
	}
	return first.hash
}

// advance makes one try of a chunk. What remains to be done goes back to the lanes; when it comes to be
// tried again, it waits before as any operation does.
func (b *batchGet) advance(ctx context.Context, c *chunk) {
	t := b.table
	if c.failed != nil {
		if !c.canAskForLess() {
			if refused := t.await(ctx, &c.operation, c.patience, c.routing, *c.failed); refused != nil {
				b.fail(c, t.failure(&c.operation, *c.failed, refused))
				return
			}
		}
		chunks := b.regroup(c)
		c = chunks[0]
		for _, other := range chunks[1:] {
			b.lanes.add(other.node, other, false)
		}
	}
	c.request.Header.TimeoutMillis = wire.TimeoutMillis(time.Until(c.deadline))
	err := t.try(ctx, &c.operation, c.routing)
	if err != nil {
		c.note(judge(err), &t.client.patience)
		b.lanes.add(c.node, c, true)
		return
	}
	t.client.settings.Retry.Budget.Success()
	b.tell(c)
	if err := t.verdict(&c.operation, c.answer.Status); err != nil {
		b.fail(c, err)
	} else {
		b.deliver(c)
	}
}

// canAskForLess says whether the last answer was too large for the client, and half of it may not be.
func (c *chunk) canAskForLess() bool {
	return errors.Is(c.failed.err, ErrAnswerTooLarge) && len(c.items) > 1
}

func (c *chunk) note(failed failedTry, policy *retry.Policy) {
	c.failed = &failed
	c.inDoubt = c.inDoubt || failed.outcome == InDoubt
	if c.patience == nil {
		patience := policy.Start()
		c.patience = &patience
	}
}

// regroup makes new chunks of one that failed, by the routing of this moment: there is more than one
// if the partition was split. An answer that was too large is asked for in halves.
func (b *batchGet) regroup(c *chunk) []*chunk {
	most := b.options.ChunkItems
	if c.canAskForLess() {
		most = len(c.items) / 2
	}
	chunks := b.group(b.table.routing.Load(), c.items, most)
	for i, part := range chunks {
		part.tries, part.inDoubt, part.patience = c.tries, c.inDoubt, c.patience
		if i > 0 {
			patience := c.patience.Fork()
			part.patience = &patience
		}
	}
	return chunks
}

func (b *batchGet) fail(c *chunk, err error) {
	for _, item := range c.items {
		b.results[item.index].Err = err
	}
}

// tell says who answered for the items of a chunk.
func (b *batchGet) tell(c *chunk) {
	if b.options.Metadata == nil {
		return
	}
	var from Metadata
	from.fill(&c.answer.Origin, 0)
	for _, item := range c.items {
		b.options.tell(item.index, from)
	}
}

// deliver hands the records of an answer to those who asked for them. Records come in the order of
// the request, with absent ones left out; an answer in another order is understood as well, and what
// was not asked for is ignored.
func (b *batchGet) deliver(c *chunk) {
	records := c.answer.Records
	for _, item := range c.items {
		if len(records) > 0 && isRecordOf(&records[0], &b.keys[item.index]) {
			b.results[item.index] = BatchResult{Value: notNil(records[0].Value)}
			records = records[1:]
		} else {
			b.results[item.index].Err = ErrNotFound
		}
	}
	if len(records) > 0 {
		b.deliverAnyOrder(c.items, records)
	}
}

func isRecordOf(record *wire.FullData, key *Key) bool {
	return bytes.Equal(record.HashKey, key.HashKey) && bytes.Equal(record.SortKey, key.SortKey)
}

// deliverAnyOrder looks among the records for those that items still lack. Items that ask for the same
// get a copy each: results share no bytes.
func (b *batchGet) deliverAnyOrder(items []batchItem, records []wire.FullData) {
	values := make(map[string][]byte, len(records))
	var raw []byte
	for i := range records {
		var err error
		if raw, err = wire.AppendKey(raw[:0], records[i].HashKey, records[i].SortKey); err == nil {
			values[string(raw)] = records[i].Value
		}
	}
	for _, item := range items {
		result, key := &b.results[item.index], &b.keys[item.index]
		if result.Err == nil {
			continue
		}
		raw, _ = wire.AppendKey(raw[:0], key.HashKey, key.SortKey) // cannot fail: the item is valid
		if value, exists := values[string(raw)]; exists {
			*result = BatchResult{Value: notNil(bytes.Clone(value))}
		}
	}
}
