package onebox

import (
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Limits of servers (docs/protocol.md, defaults and limits).
const (
	maxMultiGetRecords = 3000     // results, and records examined
	maxMultiGetSize    = 30 << 20 // bytes of keys and values in a range
)

func multiGet(x *execution, in *wire.MultiGetRequest, out *wire.MultiGetResponse) {
	if !(filter{kind: in.Filter}).valid() {
		out.Status = wire.StatusInvalidArgument
		return
	}
	out.Records = x.records[:0]
	if len(in.SortKeys) > 0 {
		multiGetKeys(x, in, out)
	} else {
		multiGetRange(x, in, out)
	}
	x.records = out.Records
}

// multiGetKeys reads given records, in the order of the request. Only a further live record shows that
// a limit was reached.
func multiGetKeys(x *execution, in *wire.MultiGetRequest, out *wire.MultiGetResponse) {
	most, size := limitOr(in.MaxCount, maxMultiGetRecords), 0
	for _, sortKey := range in.SortKeys {
		found, ok := x.get(x.rawKey(in.HashKey, sortKey))
		if !ok {
			continue
		}
		if len(out.Records) >= most || size >= limitOr(in.MaxSize, never) {
			out.Status = wire.StatusIncomplete
			return
		}
		record := wire.KeyValue{Key: sortKey}
		if !in.NoValue {
			record.Value = found.value
		}
		size += len(record.Key) + len(record.Value)
		out.Records = append(out.Records, record)
	}
}

func multiGetRange(x *execution, in *wire.MultiGetRequest, out *wire.MultiGetResponse) {
	keys := rangeOfMultiGet(in)
	if keys.empty() {
		return
	}
	if !in.Reverse {
		keys.prefix = rawKey(in.HashKey, nil)
	}
	sortKeyAt := len(rawKey(in.HashKey, nil))
	sortKeys := filter{in.Filter, in.FilterPattern}
	w := walk{
		keyRange: keys, reverse: in.Reverse, now: x.now(),
		limits: limits{
			results:  limitOr(in.MaxCount, maxMultiGetRecords),
			examined: min(maxMultiGetRecords, x.cluster.iterations()),
			size:     limitOr(in.MaxSize, maxMultiGetSize),
		},
		wanted: func(i *item) bool { return sortKeys.matches(i.key[sortKeyAt:]) },
		add: func(i *item) int {
			record := wire.KeyValue{Key: i.key[sortKeyAt:]}
			if !in.NoValue {
				record.Value = i.value
			}
			out.Records = append(out.Records, record)
			return len(record.Key) + len(record.Value)
		},
	}
	w.over(x.replica.store.order)
	x.bytes += w.bytes
	if in.Reverse {
		slices.Reverse(out.Records)
	}
	if w.next != nil {
		out.Status = wire.StatusIncomplete
	}
}

// rangeOfMultiGet returns the range of a request without sort keys. A filter of a prefix narrows it.
func rangeOfMultiGet(in *wire.MultiGetRequest) keyRange {
	keys := keyRange{
		start: rawKey(in.HashKey, in.StartSortKey), startInclusive: in.StartInclusive,
		stop: rawKey(in.HashKey, in.StopSortKey), stopInclusive: in.StopInclusive,
	}
	if len(in.StopSortKey) == 0 {
		keys.stop, keys.stopInclusive = wire.NextKey(rawKey(in.HashKey, nil)), false
	}
	if (filter{in.Filter, in.FilterPattern}).isPrefix() {
		first := rawKey(in.HashKey, in.FilterPattern)
		keys.raiseStart(first)
		keys.lowerStop(wire.NextKey(slices.Clone(first)))
	}
	return keys
}

// limitOr returns a limit of a request, or that of the server if it is stricter or the only one.
func limitOr(requested int32, server int) int {
	if requested > 0 {
		return min(int(requested), server)
	}
	return server
}

func sortKeyCount(x *execution, hashKey *wire.Blob, out *wire.CountResponse) {
	prefix := rawKey(*hashKey, nil)
	w := walk{
		keyRange: keyRange{start: prefix, startInclusive: true, stop: wire.NextKey(slices.Clone(prefix)), prefix: prefix},
		limits:   limits{results: never, examined: x.cluster.iterations(), size: never},
		now:      x.now(),
		wanted:   func(*item) bool { return true },
		add:      func(*item) int { return 0 },
	}
	w.over(x.snapshot())
	x.bytes += w.used.results
	out.Count = int64(w.used.results)
	if w.used.examined >= x.cluster.iterations() {
		out.Count = -1
	}
}

func batchGet(x *execution, in *wire.BatchGetRequest, out *wire.BatchGetResponse) {
	if len(in.Keys) == 0 {
		out.Status = wire.StatusInvalidArgument
		return
	}
	out.Records = x.batch[:0]
	for _, key := range in.Keys {
		if found, ok := x.get(x.rawKey(key.HashKey, key.SortKey)); ok {
			out.Records = append(out.Records, wire.FullData{HashKey: key.HashKey, SortKey: key.SortKey, Value: found.value})
		}
	}
	x.batch = out.Records
}

func multiPut(x *execution, in *wire.MultiPutRequest, out *wire.UpdateResponse) {
	out.Decree = x.decree
	if len(in.Records) == 0 {
		out.Status = wire.StatusInvalidArgument
		return
	}
	for _, record := range in.Records {
		x.put(x.rawKey(in.HashKey, record.Key), record.Value, uint32(in.ExpireSeconds))
	}
}

// multiRemove counts the sort keys of the request, as servers do, whether or not they exist.
func multiRemove(x *execution, in *wire.MultiRemoveRequest, out *wire.MultiRemoveResponse) {
	out.Decree = x.decree
	if len(in.SortKeys) == 0 {
		out.Status = wire.StatusInvalidArgument
		return
	}
	for _, sortKey := range in.SortKeys {
		x.remove(x.rawKey(in.HashKey, sortKey))
	}
	out.Count = int64(len(in.SortKeys))
}
