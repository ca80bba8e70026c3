package onebox

import (
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// maxBatch is the largest batch of a scan, and the number of records that get_scanner examines.
const maxBatch = 1000

// scanner is what a scan wants, as it stays with its context.
type scanner struct {
	keyRange
	hashKeys, sortKeys filter
	batch              int
	noValue            bool
	returnExpiry       bool
	onlyCount          bool
	validateHash       bool
}

func getScanner(x *execution, in *wire.GetScannerRequest, out *wire.ScanResponse) {
	s := newScanner(in)
	if !s.hashKeys.valid() || !s.sortKeys.valid() {
		out.Status = wire.StatusInvalidArgument
		return
	}
	if s.empty() {
		return // leaves a context id of 0, as servers do
	}
	context := &scanContext{scanner: s, order: x.snapshot()}
	x.scanBatch(context, maxBatch, out)
}

func scan(x *execution, in *wire.ScanRequest, out *wire.ScanResponse) {
	context := x.replica.contexts.take(x, in.ContextID)
	if context == nil {
		out.Status = wire.StatusNotFound
		return
	}
	x.scanBatch(context, context.batch, out)
}

func clearScanner(x *execution, id *wire.Int64, _ *wire.UpdateResponse) {
	x.replica.contexts.take(x, int64(*id))
}

// newScanner returns what a request wants. It copies what it keeps.
func newScanner(in *wire.GetScannerRequest) scanner {
	s := scanner{
		keyRange: keyRange{
			start: slices.Clone(in.StartKey), startInclusive: in.StartInclusive,
			stop: slices.Clone(in.StopKey), stopInclusive: in.StopInclusive,
		},
		hashKeys: filter{in.HashKeyFilter, slices.Clone(in.HashKeyPattern)},
		sortKeys: filter{in.SortKeyFilter, slices.Clone(in.SortKeyPattern)},
		batch:    limitOr(in.BatchSize, maxBatch),
		noValue:  in.NoValue, returnExpiry: in.ReturnExpiry == wire.Yes,
		onlyCount: in.OnlyCount == wire.Yes, validateHash: in.ValidatePartitionHash != wire.No,
	}
	if hashKey, _, err := wire.SplitKey(s.start); err == nil && len(hashKey) > 0 && in.FullScan != wire.Yes {
		s.prefix = rawKey(hashKey, nil)
	}
	if s.hashKeys.isPrefix() {
		s.raiseStart(rawKey(s.hashKeys.pattern, nil))
	}
	return s
}

// scanBatch adds the next batch to the answer, and keeps the context if there is more.
func (x *execution) scanBatch(context *scanContext, examined int, out *wire.ScanResponse) {
	s := &context.scanner
	out.Records = x.records[:0]
	w := walk{
		keyRange: s.keyRange, now: x.now(),
		limits: limits{results: s.batch, examined: min(examined, x.cluster.iterations()), size: never},
		wanted: func(i *item) bool { return s.wants(x, i.key) },
		add: func(i *item) int {
			if !s.onlyCount {
				out.Records = append(out.Records, s.recordOf(i))
			}
			return 0
		},
	}
	w.over(context.order)
	x.bytes += w.bytes
	x.records = out.Records
	if s.onlyCount {
		out.Count, out.HasCount = int32(w.used.results), true
	}
	switch {
	case !w.complete && w.used.examined >= x.cluster.iterations():
		out.Status = wire.StatusIncomplete // out of time, and no context is kept
	case w.next != nil:
		s.start, s.startInclusive = w.next.key, true
		out.ContextID = x.replica.contexts.put(x, context)
	default:
		out.ContextID = wire.ScanComplete
	}
}

// wants tells whether a record passes the filters.
func (s *scanner) wants(x *execution, key []byte) bool {
	hashKey, sortKey, err := wire.SplitKey(key)
	return err == nil && s.hashKeys.matches(hashKey) && s.sortKeys.matches(sortKey) &&
		!(s.validateHash && x.split.validate && !x.split.owns(x.replica.partition, wire.KeyHash(hashKey, sortKey)))
}

func (s *scanner) recordOf(i *item) wire.KeyValue {
	record := wire.KeyValue{Key: i.key}
	if !s.noValue {
		record.Value = i.value
	}
	if s.returnExpiry {
		record.ExpireSeconds, record.HasExpiry = int32(i.expire), true
	}
	return record
}
