package pegasus

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// DelRangeOptions are the rare settings of DelRange. The zero value deletes from the start, which belongs
// to the range, up to the stop, which does not.
type DelRangeOptions struct {
	// StartExclusive takes the start out of the range.
	StartExclusive bool
	// StopInclusive makes the stop belong to the range. It means nothing without a stop.
	StopInclusive bool
	// SortKeyFilter selects among the sort keys in the range.
	SortKeyFilter Filter
	// BatchSize bounds the number of records that are deleted together; 0 means 100. They
	// are fewer if the request would otherwise exceed Settings.MaxWriteBytes.
	BatchSize int
}

// defaultDelBatch is the default of DelRangeOptions.BatchSize. A write keeps all others of the partition
// waiting.
const defaultDelBatch = 100

// DelRangeError is the failure of a DelRange, and how far it has come.
type DelRangeError struct {
	// Deleted is the number of records deleted for certain.
	Deleted int64
	// NextSortKey is where to go on: a DelRange with this start, not exclusive, and otherwise the same
	// arguments deletes the rest. It is nil if nothing was deleted, so that only the whole DelRange can
	// be repeated. If Err is of a "multi del" in doubt, records from it on may be deleted.
	NextSortKey []byte
	// Err is the cause, an *Error.
	Err error
}

// Error implements error.
func (e *DelRangeError) Error() string {
	return fmt.Sprintf("%v (%d records of the range are deleted)", e.Err, e.Deleted)
}

// Unwrap returns the cause.
func (e *DelRangeError) Unwrap() error { return e.Err }

// DelRange deletes the records of one hash key in a range of sort keys, and returns how many it has
// found. An empty start means the first record of the hash key, an empty stop its end; a range that is
// upside down is empty. A nil options means the zero value.
//
// It is not atomic: servers have no such operation. The range is scanned, and what is found is deleted
// batch by batch. Others can see some records gone and some still there; records written to the range
// meanwhile may be deleted or stay. If it fails, what was deleted is gone: the error is a *DelRangeError
// that says how far it has come, except for arguments that are refused. Each request may take until the
// end of ctx or, without a deadline, the operation timeout.
func (t *Table) DelRange(ctx context.Context, hashKey, startSortKey, stopSortKey []byte, options *DelRangeOptions) (deleted int64, err error) {
	const name = "del range"
	var o DelRangeOptions
	if options != nil {
		o = *options
	}
	if o.BatchSize == 0 {
		o.BatchSize = defaultDelBatch
	}
	of := ScanOptions{
		StartExclusive: o.StartExclusive, StopInclusive: o.StopInclusive, SortKeyFilter: o.SortKeyFilter,
		BatchSize: o.BatchSize, NoValue: true,
	}
	s, err := t.newHashKeyScanner(name, hashKey, startSortKey, stopSortKey, &of)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	d := rangeDeleter{table: t, hashKey: hashKey, batch: o.BatchSize}
	if err := d.all(ctx, s); err != nil {
		return d.deleted, &DelRangeError{Deleted: d.deleted, NextSortKey: d.next, Err: err}
	}
	return d.deleted, nil
}

// rangeDeleter deletes what a scanner finds.
type rangeDeleter struct {
	table   *Table
	hashKey []byte
	batch   int
	keys    [][]byte
	size    int
	deleted int64
	next    []byte // all before it are deleted
}

func (d *rangeDeleter) all(ctx context.Context, s *Scanner) error {
	for {
		record, err := s.Next(ctx)
		if err == io.EOF { //nolint:errorlint // it is never wrapped
			return d.flush(ctx, nil)
		}
		if err != nil {
			return err
		}
		if d.full(record.SortKey) {
			if err := d.flush(ctx, record.SortKey); err != nil {
				return err
			}
		}
		d.keys = append(d.keys, record.SortKey)
		d.size += keyOverhead + len(record.SortKey)
	}
}

// keyOverhead is the size of a sort key in a request, without itself.
const keyOverhead = 4

// full says whether a batch must be deleted before the key is added to it, because it has enough keys or
// the request would exceed what servers accept.
func (d *rangeDeleter) full(key []byte) bool {
	request := wire.MultiRemoveRequest{HashKey: d.hashKey}
	size := request.BodySize() + d.size + keyOverhead + len(key)
	return len(d.keys) > 0 && (len(d.keys) >= d.batch || size > d.table.client.settings.MaxWriteBytes)
}

// flush deletes the batch. next is the sort key with which another one begins.
func (d *rangeDeleter) flush(ctx context.Context, next []byte) error {
	if len(d.keys) == 0 {
		return nil
	}
	count, err := d.table.MultiDel(ctx, d.hashKey, d.keys)
	if err != nil {
		return err
	}
	d.deleted += count
	d.next = bytes.Clone(next)
	d.keys, d.size = d.keys[:0], 0
	return nil
}
