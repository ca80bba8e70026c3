package chaos

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// database is what the callers do: the operations of a *pegasus.Table. Tests of the checks put
// something in between that lies.
type database interface {
	Get(ctx context.Context, hashKey, sortKey []byte, options ...pegasus.ReadOption) ([]byte, error)
	TTL(ctx context.Context, hashKey, sortKey []byte, options ...pegasus.ReadOption) (time.Duration, bool, error)
	Exist(ctx context.Context, hashKey, sortKey []byte, options ...pegasus.ReadOption) (bool, error)
	SortKeyCount(ctx context.Context, hashKey []byte, options ...pegasus.ReadOption) (int64, error)
	MultiGet(ctx context.Context, hashKey []byte, sortKeys [][]byte, options *pegasus.MultiGetOptions) (*pegasus.MultiGetResult, error)
	MultiGetRange(ctx context.Context, hashKey, start, stop []byte, options *pegasus.RangeOptions) (*pegasus.RangeResult, error)
	MultiGetSortKeys(ctx context.Context, hashKey []byte, options *pegasus.RangeOptions) ([][]byte, bool, error)
	Set(ctx context.Context, hashKey, sortKey, value []byte, options ...pegasus.WriteOption) error
	Del(ctx context.Context, hashKey, sortKey []byte, options ...pegasus.WriteOption) error
	MultiSet(ctx context.Context, hashKey []byte, records []pegasus.Record, options ...pegasus.WriteOption) error
	MultiDel(ctx context.Context, hashKey []byte, sortKeys [][]byte, options ...pegasus.WriteOption) (int64, error)
	Incr(ctx context.Context, hashKey, sortKey []byte, increment int64, options ...pegasus.IncrOption) (int64, error)
	CheckAndSet(ctx context.Context, hashKey []byte, check pegasus.Check, sortKey, value []byte, options *pegasus.CheckOptions) (pegasus.CheckResult, error)
	CheckAndMutate(ctx context.Context, hashKey []byte, check pegasus.Check, mutations []pegasus.Mutation, options *pegasus.CheckOptions) (pegasus.CheckResult, error)
	CompareExchange(ctx context.Context, hashKey, sortKey, expected, desired []byte, options ...pegasus.WriteOption) (bool, []byte, error)
	BatchGet(ctx context.Context, keys []pegasus.Key, options *pegasus.BatchOptions) ([]pegasus.BatchResult, error)
	BatchSet(ctx context.Context, records []pegasus.BatchRecord, options *pegasus.BatchOptions) ([]error, error)
	BatchDel(ctx context.Context, keys []pegasus.Key, options *pegasus.BatchOptions) ([]error, error)
	DelRange(ctx context.Context, hashKey, start, stop []byte, options *pegasus.DelRangeOptions) (int64, error)
	Scan(ctx context.Context, hashKey, start, stop []byte, options *pegasus.ScanOptions) iter.Seq2[pegasus.ScanRecord, error]
	ScanTable(ctx context.Context, options *pegasus.ScanOptions) iter.Seq2[pegasus.ScanRecord, error]
	TableScanners(n int, options *pegasus.ScanOptions) ([]*pegasus.Scanner, error)
	ResumeScanner(cursor []byte, options *pegasus.ScanOptions) (*pegasus.Scanner, error)
	CountTable(ctx context.Context, options *pegasus.ScanOptions) (int64, error)
}

var _ database = (*pegasus.Table)(nil)

// outcome returns what may have happened to a failed operation; ok is false for an error that does not
// say, which no operation may return.
func outcome(err error) (o pegasus.Outcome, ok bool) {
	var failure *pegasus.Error
	if !errors.As(err, &failure) {
		return pegasus.InDoubt, false
	}
	return failure.Outcome, true
}

// orAbsent turns the error of a record that does not exist into a value that says so.
func orAbsent(value []byte, err error) (string, error) {
	if errors.Is(err, pegasus.ErrNotFound) {
		return absent, nil
	}
	return string(value), err
}

// absent is what is seen of a record that does not exist.
const absent = ""
