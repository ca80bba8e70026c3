package pegasus

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// BatchRecord is one record for BatchSet to write.
type BatchRecord struct {
	// HashKey has at most 65534 bytes and may be empty.
	HashKey []byte
	// SortKey may be empty.
	SortKey []byte
	// Value may be empty.
	Value []byte
	// TTL is the time after which the record expires, as with [WithTTL]. 0 means that it does not, unless
	// the table has a default TTL.
	TTL time.Duration
}

// BatchSet writes records of any hash keys and returns one error for each, nil for a record that is
// written: what an [*Error] says of the outcome is true of its record. The second error is nil if all
// records are written, and otherwise a [*BatchError] that names those that are not.
//
// The batch as a whole is not atomic, and its records are written in no particular order. Of records
// with the same key only the last one is sent, and the others share its error. A record that cannot
// be sent, with ErrHashKeyTooLong, ErrTooLarge or ErrInvalidTTL, fails by itself and does not replace
// another. Records of one hash key travel together if they can, and are then written together or not
// at all. What is tried again, and when, is as with Set.
func (t *Table) BatchSet(ctx context.Context, records []BatchRecord, options *BatchOptions) ([]error, error) {
	b := batchWrite{
		table: t, name: "batch set", single: wire.Put,
		record: func(i int) BatchRecord { return records[i] },
	}
	return b.run(ctx, len(records), options)
}

// BatchDel deletes records of any hash keys and returns one error for each key, nil for a record that
// is gone or never was there. The rest is as with [Table.BatchSet].
func (t *Table) BatchDel(ctx context.Context, keys []Key, options *BatchOptions) ([]error, error) {
	b := batchWrite{
		table: t, name: "batch del", single: wire.Remove,
		record: func(i int) BatchRecord { return BatchRecord{HashKey: keys[i].HashKey, SortKey: keys[i].SortKey} },
	}
	return b.run(ctx, len(keys), options)
}

// batchWrite is one call of BatchSet or BatchDel. The goroutines that work on it share it: each error
// is written by the one that has the record in hand, the rest by nobody.
type batchWrite struct {
	table   *Table
	name    string
	single  *wire.Method // how a record that travels alone is written
	record  func(i int) BatchRecord
	options BatchOptions
	errs    []error
}

// writeItem is a record that is to be written.
type writeItem struct {
	hash    uint64
	index   int
	expires int32
}

// superseded is a record that another one of the batch with the same key overwrites.
type superseded struct{ index, by int }

func (b *batchWrite) run(ctx context.Context, count int, options *BatchOptions) ([]error, error) {
	b.errs, b.options = make([]error, count), options.orDefault(DefaultBatchWriteConcurrency)
	b.options.ChunkBytes = min(b.options.ChunkBytes, b.table.client.settings.MaxWriteBytes)
	if count == 0 {
		return b.errs, nil
	}
	ctx, cancel := b.table.client.bound(ctx)
	defer cancel()
	items, repeated := b.lastOnes(b.valid())
	var groups lanes[[]writeItem]
	b.group(items, &groups)
	groups.work(b.options.Concurrency, func(group []writeItem) {
		err := b.write(ctx, group)
		for _, item := range group {
			b.errs[item.index] = err
		}
	})
	for _, s := range repeated {
		b.errs[s.index] = b.errs[s.by]
	}
	return b.errs, b.table.batchError(b.name, count, func(i int) error { return b.errs[i] })
}

// valid returns the records that can be written, and refuses the others.
func (b *batchWrite) valid() []writeItem {
	items := make([]writeItem, 0, len(b.errs))
	for i := range b.errs {
		record := b.record(i)
		expires, err := b.check(&record)
		if err != nil {
			b.errs[i] = b.table.invalid(b.name, err)
			continue
		}
		items = append(items, writeItem{hash: wire.KeyHash(record.HashKey, record.SortKey), index: i, expires: expires})
	}
	return items
}

func (b *batchWrite) check(record *BatchRecord) (expires int32, err error) {
	if err := checkLength(record.HashKey); err != nil {
		return 0, err
	}
	if err := b.table.checkSize(b.size(record)); err != nil {
		return 0, err
	}
	return expiry(record.TTL)
}

// rawKeyOverhead is how many bytes a raw key has besides hash key and sort key.
const rawKeyOverhead = 2

// size is the size in bytes of the request that writes the record alone.
func (b *batchWrite) size(record *BatchRecord) int {
	key := rawKeyOverhead + len(record.HashKey) + len(record.SortKey)
	if b.single == wire.Remove {
		return removeOverhead + key
	}
	return wire.PutBodySize(key, len(record.Value))
}

// lastOnes sorts the items by hash key and, within it, by expiry. Of items with the same key it leaves
// the last one only: two requests that are under way together come to the server in any order.
func (b *batchWrite) lastOnes(items []writeItem) (last []writeItem, repeated []superseded) {
	slices.SortFunc(items, func(a, c writeItem) int {
		if order := b.compareHashKeys(a, c); order != 0 {
			return order
		}
		order := bytes.Compare(b.record(a.index).SortKey, b.record(c.index).SortKey)
		return cmp.Or(order, cmp.Compare(c.index, a.index)) // the last one first
	})
	last = items[:0] // which never overtakes the loop
	for _, item := range items {
		if n := len(last); n > 0 && b.sameKey(last[n-1], item) {
			repeated = append(repeated, superseded{index: item.index, by: last[n-1].index})
		} else {
			last = append(last, item)
		}
	}
	slices.SortFunc(last, func(a, c writeItem) int {
		if order := b.compareHashKeys(a, c); order != 0 {
			return order
		}
		return cmp.Or(cmp.Compare(a.expires, c.expires), cmp.Compare(a.index, c.index))
	})
	return last, repeated
}

// compareHashKeys orders by hash, which is cheap, and by the hash keys where that does not decide.
func (b *batchWrite) compareHashKeys(a, c writeItem) int {
	if a.hash != c.hash {
		return cmp.Compare(a.hash, c.hash)
	}
	return bytes.Compare(b.record(a.index).HashKey, b.record(c.index).HashKey)
}

func (b *batchWrite) sameKey(a, c writeItem) bool {
	first, second := b.record(a.index), b.record(c.index)
	return bytes.Equal(first.HashKey, second.HashKey) && bytes.Equal(first.SortKey, second.SortKey)
}

// group cuts the sorted items into those that travel together. Where they will go is only guessed: each
// try looks it up.
func (b *batchWrite) group(items []writeItem, groups *lanes[[]writeItem]) {
	routing := b.table.routing.Load().Value()
	for len(items) > 0 {
		n := b.fitting(items)
		_, p := routing.Locate(items[0].hash)
		groups.add(p.Primary, items[:n:n], false)
		items = items[n:]
	}
}

// fitting returns how many of the items, at least one, travel together: those of one hash key and one
// expiry, within the limits. Two records in one request take less than the sum of their own requests.
// Without a hash key, the partition depends on the sort key, but not where RPCs for several records of
// a hash key are concerned: such records go alone.
func (b *batchWrite) fitting(items []writeItem) int {
	first := b.record(items[0].index)
	if len(first.HashKey) == 0 {
		return 1
	}
	size := b.size(&first)
	for i := 1; i < min(len(items), b.options.ChunkItems); i++ {
		record := b.record(items[i].index)
		size += b.size(&record)
		together := items[i].expires == items[0].expires && bytes.Equal(record.HashKey, first.HashKey)
		if !together || size > b.options.ChunkBytes {
			return i
		}
	}
	return min(len(items), b.options.ChunkItems)
}

// write sends one group.
func (b *batchWrite) write(ctx context.Context, group []writeItem) (err error) {
	var from *Metadata
	if b.options.Metadata != nil {
		from = new(Metadata)
	}
	switch {
	case len(group) == 1:
		err = b.writeOne(ctx, group[0], from)
	case b.single == wire.Put:
		err = b.putSeveral(ctx, group, from)
	default:
		err = b.removeSeveral(ctx, group, from)
	}
	if from != nil {
		for _, item := range group {
			b.options.tell(item.index, *from)
		}
	}
	return err
}

func (b *batchWrite) writeOne(ctx context.Context, item writeItem, from *Metadata) error {
	record := b.record(item.index)
	s, err := b.table.begin(b.name, b.single, record.HashKey, record.SortKey)
	if err != nil {
		return err
	}
	defer s.end()
	s.update.metadata = from
	if b.single == wire.Put {
		s.put = wire.PutRequest{Key: s.key, Value: record.Value, ExpireSeconds: item.expires}
		s.request.Arguments = &s.put
	}
	return b.table.write(ctx, s, b.size(&record))
}

func (b *batchWrite) putSeveral(ctx context.Context, group []writeItem, from *Metadata) error {
	t := b.table
	x := multiSets.begin(b.name, group[0].hash, t.client.settings.RetryDoubtfulWrites)
	defer multiSets.end(x)
	x.result.metadata = from
	x.arguments = wire.MultiPutRequest{
		HashKey: b.record(group[0].index).HashKey, Records: make([]wire.KeyValue, len(group)), ExpireSeconds: group[0].expires,
	}
	for i, item := range group {
		record := b.record(item.index)
		x.arguments.Records[i] = wire.KeyValue{Key: record.SortKey, Value: record.Value}
	}
	if err := t.run(ctx, &x.operation); err != nil {
		return err
	}
	return t.verdict(&x.operation, x.result.Status)
}

func (b *batchWrite) removeSeveral(ctx context.Context, group []writeItem, from *Metadata) error {
	t := b.table
	x := multiDels.begin(b.name, group[0].hash, t.client.settings.RetryDoubtfulWrites)
	defer multiDels.end(x)
	x.result.metadata = from
	x.arguments = wire.MultiRemoveRequest{
		HashKey: b.record(group[0].index).HashKey, SortKeys: make([][]byte, len(group)),
	}
	for i, item := range group {
		x.arguments.SortKeys[i] = b.record(item.index).SortKey
	}
	if err := t.run(ctx, &x.operation); err != nil {
		return err
	}
	return t.verdict(&x.operation, x.result.Status)
}
