package pegasus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Errors of scans, to be compared with errors.Is. They stand behind an [*Error].
var (
	// ErrTableReplaced means that the table was dropped, and one of the same name made, while it was
	// scanned by a Scanner, or before one of several TableScanners, or one that was resumed, has begun.
	ErrTableReplaced = errors.New("the table was dropped and made anew")
	// ErrScannerClosed means that a Scanner was used after its Close.
	ErrScannerClosed = errors.New("scanner closed")
	// ErrCursor means that bytes are not a cursor of this table.
	ErrCursor = errors.New("not a cursor of this table")
)

// ScanOptions are the rare settings of scans. The zero value scans from the start, which belongs to the
// range, up to the stop, which does not.
type ScanOptions struct {
	// StartExclusive takes the start out of the range. It means nothing to scans of a table.
	StartExclusive bool
	// StopInclusive makes the stop belong to the range. It means nothing without a stop, and to scans of
	// a table.
	StopInclusive bool
	// HashKeyFilter selects among hash keys. Only scans of a table can have one.
	HashKeyFilter Filter
	// SortKeyFilter selects among sort keys.
	SortKeyFilter Filter
	// BatchSize bounds the number of records of one answer; 0 and whatever is above the server's own
	// limit, 1000 by default, mean that limit. Records that are large together want a smaller one: an
	// answer larger than rpc.Options.MaxResponseBytes costs the connection, and has the rest of the scan
	// ask for half as many records at a time.
	BatchSize int
	// NoValue leaves the values out, which saves transferring them.
	NoValue bool
	// ReturnExpiry has ScanRecord.ExpiresAt filled in.
	ReturnExpiry bool
	// NoPrefetch has answers asked for only when they are needed. By default the next one is asked for
	// while the caller works on the records of the last; see Scanner.
	NoPrefetch bool
}

// ScanRecord is a record that a scan has found. Its bytes belong to the caller. The records of one
// answer share one piece of memory: whoever keeps a part of it keeps all of it.
type ScanRecord struct {
	// HashKey is the record's hash key.
	HashKey []byte
	// SortKey is the record's sort key.
	SortKey []byte
	// Value may be empty; it is nil if values were not asked for.
	Value []byte
	// ExpiresAt is when the record ends by the server's clock, in whole seconds. It is zero for a record
	// that stays for ever, and if it was not asked for.
	ExpiresAt time.Time
}

// scope is what a scan is about. Its bytes are its own and never changed.
type scope struct {
	appID int32
	// start and stop are raw keys.
	start, stop                   []byte
	startInclusive, stopInclusive bool
	hashKeys, sortKeys            Filter
	// hash is that of the hash key; scans of a table have many.
	hash  uint64
	whole bool // a scan of a table
}

// The range of a whole partition (docs/protocol.md, next keys). No raw key begins with the length ffff.
var (
	firstKey = []byte{0, 0}
	endKey   = []byte{0xff, 0xff}
)

// empty says whether nothing can be left of the range after the given key. Servers answer such requests
// without saying that the scan is over.
func (s *scope) empty(after []byte) bool {
	start, inclusive := s.start, s.startInclusive
	if after != nil {
		start, inclusive = after, false
	}
	return !ascending(start, s.stop, inclusive && s.stopInclusive)
}

// check refuses records, whose keys ascend, if some are out of the range. The scan would go on from
// there, and ask the server for what is none of it.
func (s *scope) check(records []wire.KeyValue) error {
	if len(records) == 0 {
		return nil
	}
	first, last := records[0].Key, records[len(records)-1].Key
	if !ascending(s.start, first, s.startInclusive) || !ascending(last, s.stop, s.stopInclusive) {
		return fmt.Errorf("%w: keys from %.40q to %.40q, out of the range", ErrBadAnswer, first, last)
	}
	return nil
}

// tableScope is the scope of scans of the whole table.
func (t *Table) tableScope(o *ScanOptions) scope {
	return scope{
		appID: t.routing.Load().Value().AppID, whole: true,
		start: firstKey, startInclusive: true, stop: endKey,
		hashKeys: o.HashKeyFilter.clone(), sortKeys: o.SortKeyFilter.clone(),
	}
}

// hashKeyScope is the scope of scans of one hash key.
func (t *Table) hashKeyScope(hashKey, startSortKey, stopSortKey []byte, o *ScanOptions) (scope, error) {
	if err := checkHashKey(hashKey); err != nil {
		return scope{}, err
	}
	if o.HashKeyFilter.Type != FilterNone {
		// In some cases it would make a server abort (docs/protocol.md, requests that abort a server).
		return scope{}, fmt.Errorf("%w: hash key filter in a scan of one hash key", ErrInvalidArgument)
	}
	if size := int64(len(startSortKey)) + int64(len(stopSortKey)); size > maxKeyBytes {
		return scope{}, fmt.Errorf("%w: sort keys of %d bytes", ErrTooLarge, size)
	}
	raw := func(sortKey []byte) []byte {
		key, _ := wire.AppendKey(nil, hashKey, sortKey) // the hash key is not too long
		return key
	}
	s := scope{
		appID: t.routing.Load().Value().AppID, hash: wire.KeyHash(hashKey, nil),
		start: raw(startSortKey), startInclusive: !o.StartExclusive,
		stop: raw(stopSortKey), stopInclusive: o.StopInclusive,
		sortKeys: o.SortKeyFilter.clone(),
	}
	if len(stopSortKey) == 0 {
		s.stop, s.stopInclusive = wire.NextKey(s.stop), false
	}
	if s.sortKeys.Type == FilterPrefix && len(s.sortKeys.Pattern) > 0 {
		s.narrow(raw(s.sortKeys.Pattern), wire.NextKey(raw(s.sortKeys.Pattern)))
	}
	return s, nil
}

// narrow reduces the range to the keys from first on and before end. Servers do not do that for sort
// keys (docs/protocol.md, batch semantics).
func (s *scope) narrow(first, end []byte) {
	if bytes.Compare(first, s.start) > 0 {
		s.start, s.startInclusive = first, true
	}
	if bytes.Compare(end, s.stop) <= 0 {
		s.stop, s.stopInclusive = end, false
	}
}

// clone returns the same in memory of its own.
func (f Filter) clone() Filter { return Filter{Type: f.Type, Pattern: bytes.Clone(f.Pattern)} }

// check refuses options that servers do not know.
func (o *ScanOptions) check() error {
	for _, filter := range []*Filter{&o.HashKeyFilter, &o.SortKeyFilter} {
		if filter.Type < FilterNone || filter.Type > FilterPostfix {
			return fmt.Errorf("%w: filter type %d", ErrInvalidArgument, filter.Type)
		}
	}
	if size := len(o.HashKeyFilter.Pattern); size > wire.MaxHashKeyLength { // servers abort on some
		return fmt.Errorf("%w: filter pattern of %d bytes", ErrHashKeyTooLong, size)
	}
	if size := len(o.SortKeyFilter.Pattern); size > maxKeyBytes {
		return fmt.Errorf("%w: filter pattern of %d bytes", ErrTooLarge, size)
	}
	if o.BatchSize < 0 {
		return fmt.Errorf("%w: batch size %d", ErrInvalidArgument, o.BatchSize)
	}
	o.BatchSize = min(o.BatchSize, math.MaxInt32)
	return nil
}

// scanName is the name of scans in errors.
const scanName = "scan"

// NewScanner returns a Scanner of the records of one hash key, in ascending order of their sort keys. An
// empty start means the first record, an empty stop the end; a range that is upside down is empty. A nil
// options means the zero value. NewScanner does no I/O and keeps no reference to its arguments.
func (t *Table) NewScanner(hashKey, startSortKey, stopSortKey []byte, options *ScanOptions) (*Scanner, error) {
	return t.newHashKeyScanner(scanName, hashKey, startSortKey, stopSortKey, options)
}

// newHashKeyScanner is NewScanner for the operation of the given name.
func (t *Table) newHashKeyScanner(name string, hashKey, startSortKey, stopSortKey []byte, options *ScanOptions) (*Scanner, error) {
	o, err := scanOptions(options)
	if err != nil {
		return nil, t.invalid(name, err)
	}
	of, err := t.hashKeyScope(hashKey, startSortKey, stopSortKey, &o)
	if err != nil {
		return nil, t.invalid(name, err)
	}
	s := t.newScanner(name, of, &o, walk{todo: []part{newPart(class{}, nil)}})
	s.alone = true
	return s, nil
}

func scanOptions(options *ScanOptions) (o ScanOptions, err error) {
	if options != nil {
		o = *options
	}
	return o, o.check()
}

// TableScanners returns n Scanners, or fewer if the table has fewer partitions, that scan the whole table
// together: each has a group of partitions, which it scans one after the other. They are independent, so
// that each can have a goroutine, or a process, of its own. The order of records is that of raw keys
// within a partition, by the length of the hash key first, and arbitrary otherwise. A nil options means
// the zero value. TableScanners does no I/O and keeps no reference to its arguments.
func (t *Table) TableScanners(n int, options *ScanOptions) ([]*Scanner, error) {
	o, err := scanOptions(options)
	if err == nil && n < 1 {
		err = fmt.Errorf("%w: %d scanners", ErrInvalidArgument, n)
	}
	if err != nil {
		return nil, t.invalid(scanName, err)
	}
	count := len(t.routing.Load().Value().Partitions)
	n = min(n, count)
	scanners, first := make([]*Scanner, n), 0
	for i := range scanners {
		size := count / n
		if i < count%n {
			size++
		}
		scanners[i] = t.newScanner(scanName, t.tableScope(&o), &o, wholePartitions(first, size, count))
		scanners[i].alone = n == 1
		first += size
	}
	return scanners, nil
}

// wholePartitions is a walk through partitions of a table, of which there are count.
func wholePartitions(first, size, count int) walk {
	todo := make([]part, size)
	for i := range todo {
		todo[i] = newPart(class{uint64(count), uint64(first + i)}, nil)
	}
	return walk{todo: todo}
}

// Scan returns an iterator over the records that [Table.NewScanner] would find with these arguments. It
// can be used any number of times, each time anew, and reads its arguments when a loop begins. If it yields an error, that ends it, and the record is
// empty. Leaving the loop frees the server's memory for the scan. For the time that each step may take,
// see [Scanner.Next].
func (t *Table) Scan(ctx context.Context, hashKey, startSortKey, stopSortKey []byte, options *ScanOptions) iter.Seq2[ScanRecord, error] {
	return func(yield func(ScanRecord, error) bool) {
		s, err := t.NewScanner(hashKey, startSortKey, stopSortKey, options)
		if err != nil {
			yield(ScanRecord{}, err)
			return
		}
		s.each(ctx, yield)
	}
}

// ScanTable is like Scan for all records of the table, in the order of [Table.TableScanners].
func (t *Table) ScanTable(ctx context.Context, options *ScanOptions) iter.Seq2[ScanRecord, error] {
	return func(yield func(ScanRecord, error) bool) {
		scanners, err := t.TableScanners(1, options)
		if err != nil {
			yield(ScanRecord{}, err)
			return
		}
		scanners[0].each(ctx, yield)
	}
}

// each yields everything and closes the scanner.
func (s *Scanner) each(ctx context.Context, yield func(ScanRecord, error) bool) {
	defer s.Close()
	for {
		record, err := s.Next(ctx)
		if err == io.EOF || !yield(record, err) || err != nil { //nolint:errorlint // it is never wrapped
			return
		}
	}
}

// CountTable counts the records of the table that the options select, see [Scanner.Count].
func (t *Table) CountTable(ctx context.Context, options *ScanOptions) (int64, error) {
	scanners, err := t.TableScanners(1, options)
	if err != nil {
		return 0, err
	}
	defer scanners[0].Close()
	return scanners[0].Count(ctx)
}
