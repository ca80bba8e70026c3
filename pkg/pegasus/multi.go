package pegasus

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// MultiGetOptions are the rare settings of MultiGet.
type MultiGetOptions struct {
	// MaxCount bounds the number of records returned; 0 and whatever is above the server's own limit,
	// 3000 by default, mean that limit.
	MaxCount int
	// MaxBytes bounds the bytes of the sort keys and values returned, which may exceed it by one
	// record; 0 means no limit. An answer can only be received if it is smaller than
	// rpc.Options.MaxResponseBytes.
	MaxBytes int
	// NoValue leaves the values out, which saves transferring them.
	NoValue bool
	// Metadata, if not nil, is filled in as by WithMetadata.
	Metadata *Metadata
}

// MultiGetResult is what MultiGet found.
type MultiGetResult struct {
	// Records are those that exist, in the order of the sort keys asked for. They share one piece of
	// memory, which belongs to the caller: whoever keeps a part of it keeps all of it.
	Records []Record
	// Complete is false if a limit ended the reading although more of the sort keys exist: they come
	// after that of the last record.
	Complete bool
}

// multiGetResult receives the answer to a multi get in memory that will be the caller's. It can be
// large, so that it is decoded where nobody else has to wait for that.
type multiGetResult struct {
	wire.MultiGetResponse
	answer []byte
	reader wire.Reader
}

// Decode implements wire.Result. It leaves the work to decode.
func (m *multiGetResult) Decode(r *wire.Reader) { m.answer = r.Detach() }

func (m *multiGetResult) decode() error {
	if err := wire.DecodeDetached(&m.reader, m.answer, &m.MultiGetResponse); err != nil {
		return &rpc.ResultError{Err: err}
	}
	return nil
}

// removeResult receives the answer to a multi del.
type removeResult struct {
	wire.MultiRemoveResponse
	metadata *Metadata
}

// Decode implements wire.Result.
func (m *removeResult) Decode(r *wire.Reader) {
	m.MultiRemoveResponse.Decode(r)
	m.metadata.note(r, &m.Origin, m.Decree)
}

// countResult receives the answer to a sort key count.
type countResult struct {
	wire.CountResponse
	metadata *Metadata
}

// Decode implements wire.Result.
func (m *countResult) Decode(r *wire.Reader) {
	m.CountResponse.Decode(r)
	m.metadata.note(r, &m.Origin, 0)
}

var (
	multiGets     = newExchanges[wire.MultiGetRequest, multiGetResult](wire.MultiGet)
	multiSets     = newExchanges[wire.MultiPutRequest, updateResult](wire.MultiPut)
	multiDels     = newExchanges[wire.MultiRemoveRequest, removeResult](wire.MultiRemove)
	sortKeyCounts = newExchanges[wire.Blob, countResult](wire.SortKeyCount)
)

// maxKeyBytes bounds the keys of a read, for which servers have no limit, well below what a frame can
// hold.
const maxKeyBytes = 1 << 30

// errNoSortKeys is the refusal of a list that servers would take for something else than nothing.
var errNoSortKeys = fmt.Errorf("%w: no sort keys", ErrInvalidArgument)

// MultiGet reads records of one hash key by their sort keys, in one step of the server. Those that do
// not exist are left out; one asked for twice is returned twice. The list must not be empty. A nil
// options means the zero value.
func (t *Table) MultiGet(ctx context.Context, hashKey []byte, sortKeys [][]byte, options *MultiGetOptions) (*MultiGetResult, error) {
	const name = "multi get"
	if options == nil {
		options = new(MultiGetOptions)
	}
	if err := checkSortKeys(sortKeys); err != nil {
		return nil, t.invalid(name, err)
	}
	records, complete, err := t.multiGet(ctx, name, limits{options.MaxCount, options.MaxBytes}, options.Metadata,
		wire.MultiGetRequest{HashKey: hashKey, SortKeys: sortKeys, NoValue: options.NoValue}, nil)
	if err != nil {
		return nil, err
	}
	return &MultiGetResult{Records: records, Complete: complete}, nil
}

func checkSortKeys(sortKeys [][]byte) error {
	if len(sortKeys) == 0 {
		return errNoSortKeys
	}
	const overhead = 4 // per key, on the wire
	size := int64(0)
	for _, key := range sortKeys {
		size += overhead + int64(len(key))
	}
	if size > maxKeyBytes {
		return fmt.Errorf("%w: sort keys of %d bytes", ErrTooLarge, size)
	}
	return nil
}

// limits are those of an answer; 0 means the server's.
type limits struct{ count, bytes int }

// onWire returns the limits in the numbers of the wire, which end earlier, but above what any answer
// can have.
func (l limits) onWire() (count, bytes int32, err error) {
	if l.count < 0 || l.bytes < 0 {
		return 0, 0, fmt.Errorf("%w: limits of %d records and %d bytes", ErrInvalidArgument, l.count, l.bytes)
	}
	return int32(min(l.count, math.MaxInt32)), int32(min(l.bytes, math.MaxInt32)), nil
}

// multiGet is what all reads through the RPC of that name have in common. If the request is for a
// range, it takes what was read out of it.
func (t *Table) multiGet(ctx context.Context, name string, of limits, metadata *Metadata, request wire.MultiGetRequest, rest *span) (records []Record, complete bool, err error) {
	request.MaxCount, request.MaxSize, err = of.onWire()
	if err = cmp.Or(err, checkHashKey(request.HashKey)); err != nil {
		return nil, false, t.invalid(name, err)
	}
	x := multiGets.begin(name, wire.KeyHash(request.HashKey, nil), true)
	defer multiGets.end(x)
	x.arguments = request
	if err := t.run(ctx, &x.operation); err != nil {
		return nil, false, err
	}
	if err := x.result.decode(); err != nil {
		return nil, false, t.failure(&x.operation, judge(err), retry.ErrFinal)
	}
	metadata.fill(&x.result.Origin, 0)
	records = recordsOf(x.result.Records, request.NoValue)
	if x.result.Status != wire.StatusIncomplete {
		return records, true, t.verdict(&x.operation, x.result.Status)
	}
	if rest == nil || len(records) == 0 {
		return records, false, nil
	}
	left, err := rest.cut(records)
	if err != nil {
		return nil, false, t.answered(&x.operation, wire.StatusOK, err)
	}
	return records, !left, nil
}

// recordsOf gives decoded records, which are the caller's, the form of the API.
func recordsOf(found []wire.KeyValue, noValue bool) []Record {
	if len(found) == 0 {
		return nil
	}
	records := make([]Record, len(found))
	for i := range found {
		records[i].SortKey = found[i].Key
		if !noValue {
			records[i].Value = notNil(found[i].Value)
		}
	}
	return records
}

// notNil returns the bytes of something that exists.
func notNil(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// MultiSet writes records of one hash key, all or none, in one step of the server; others of the hash
// key stay. It overwrites values and TTLs. Of records with the same sort key the last one counts. The
// list must not be empty, and the request, which has all of it, must not exceed
// Settings.MaxWriteBytes. A TTL among the options is that of all records.
func (t *Table) MultiSet(ctx context.Context, hashKey []byte, records []Record, options ...WriteOption) error {
	const name = "multi set"
	o := writeOptions(options)
	expires, err := expiry(o.ttl)
	if err = cmp.Or(err, checkHashKey(hashKey)); err != nil {
		return t.invalid(name, err)
	}
	if len(records) == 0 {
		return t.invalid(name, fmt.Errorf("%w: no records", ErrInvalidArgument))
	}
	x := multiSets.begin(name, wire.KeyHash(hashKey, nil), t.client.settings.RetryDoubtfulWrites)
	defer multiSets.end(x)
	x.arguments = wire.MultiPutRequest{HashKey: hashKey, Records: keyValuesOf(records), ExpireSeconds: expires}
	x.result.metadata = o.metadata
	if err := t.checkSize(x.arguments.BodySize()); err != nil {
		return t.invalid(name, err)
	}
	if err := t.run(ctx, &x.operation); err != nil {
		return err
	}
	return t.verdict(&x.operation, x.result.Status)
}

func keyValuesOf(records []Record) []wire.KeyValue {
	values := make([]wire.KeyValue, len(records))
	for i := range records {
		values[i].Key, values[i].Value = records[i].SortKey, records[i].Value
	}
	return values
}

// MultiDel deletes records of one hash key by their sort keys, all or none, in one step of the server.
// It is no error if some do not exist. The count is what the server answers: the number of sort keys
// asked for, whether they existed or not (docs/protocol.md, multi_put and multi_remove). The list
// must not be empty; it does not mean all. A TTL among the options means nothing to it.
func (t *Table) MultiDel(ctx context.Context, hashKey []byte, sortKeys [][]byte, options ...WriteOption) (count int64, err error) {
	const name = "multi del"
	if err := checkHashKey(hashKey); err != nil {
		return 0, t.invalid(name, err)
	}
	if len(sortKeys) == 0 {
		return 0, t.invalid(name, errNoSortKeys)
	}
	x := multiDels.begin(name, wire.KeyHash(hashKey, nil), t.client.settings.RetryDoubtfulWrites)
	defer multiDels.end(x)
	x.arguments = wire.MultiRemoveRequest{HashKey: hashKey, SortKeys: sortKeys}
	x.result.metadata = writeOptions(options).metadata
	if err := t.checkSize(x.arguments.BodySize()); err != nil {
		return 0, t.invalid(name, err)
	}
	if err := t.run(ctx, &x.operation); err != nil {
		return 0, err
	}
	if err := t.verdict(&x.operation, x.result.Status); err != nil {
		return 0, err
	}
	return x.result.Count, nil
}

// SortKeyCount returns the number of records of one hash key. The server has to look at every one of
// them; if that takes it longer than it allows itself, 30 s by default, it fails with ErrNotCounted.
func (t *Table) SortKeyCount(ctx context.Context, hashKey []byte, options ...ReadOption) (int64, error) {
	const name = "sort key count"
	if err := checkHashKey(hashKey); err != nil {
		return 0, t.invalid(name, err)
	}
	x := sortKeyCounts.begin(name, wire.KeyHash(hashKey, nil), true)
	defer sortKeyCounts.end(x)
	x.arguments = hashKey
	x.result.metadata = readOptions(options).metadata
	if err := t.run(ctx, &x.operation); err != nil {
		return 0, err
	}
	if err := t.verdict(&x.operation, x.result.Status); err != nil {
		return 0, err
	}
	if x.result.Count < 0 {
		return 0, t.answered(&x.operation, wire.StatusOK, ErrNotCounted)
	}
	return x.result.Count, nil
}
