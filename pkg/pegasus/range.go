package pegasus

import (
	"bytes"
	"context"
	"fmt"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// RangeOptions are the rare settings of reads of a range of sort keys. The zero value reads from the
// start, which belongs to the range, up to the stop, which does not.
type RangeOptions struct {
	// StartExclusive takes the start out of the range.
	StartExclusive bool
	// StopInclusive makes the stop belong to the range. It means nothing without a stop.
	StopInclusive bool
	// Filter selects among the sort keys in the range.
	Filter Filter
	// MaxCount bounds the number of records of one answer; 0 and whatever is above the server's own
	// limit, 3000 by default, mean that limit.
	MaxCount int
	// MaxBytes bounds the bytes of sort keys and values of one answer, which may exceed it by one
	// record; 0 and whatever is above the server's own limit, 30 MiB by default, mean that limit.
	MaxBytes int
	// NoValue leaves the values out, which saves transferring them.
	NoValue bool
	// Reverse reads from the end of the range, so that limits keep the last records.
	Reverse bool
	// Metadata, if not nil, is filled in as by WithMetadata.
	Metadata *Metadata
}

// RangeResult is what MultiGetRange found.
type RangeResult struct {
	// Records are in ascending order of their sort keys, also if they were read in reverse. They share
	// one piece of memory, which belongs to the caller: whoever keeps a part of it keeps all of it.
	Records []Record
	// Complete is false if a limit ended the reading before the end of the range: the one of the
	// options, or one of the server's, which bounds bytes, time, and how many records it looks at,
	// those included that have expired or that the filter does not select. There need not be more.
	Complete bool
	// Next is how to continue. It is nil if Complete, and also if there is no record to continue from:
	// then nothing was found within the limits, and only MultiGetAll or a scanner gets further.
	Next *RangeContinuation
}

// RangeContinuation is the rest of a range: the arguments for the MultiGetRange that continues
// another. It shares no memory with the arguments of that one, apart from Metadata.
type RangeContinuation struct {
	// StartSortKey is where the rest starts.
	StartSortKey []byte
	// StopSortKey is where it stops; empty means the end of the hash key.
	StopSortKey []byte
	// Options are those of the call continued, with the limits of the range changed if need be.
	Options *RangeOptions
}

// span is a range of sort keys, and how to read it.
type span struct {
	start, stop []byte
	options     RangeOptions
}

func newSpan(start, stop []byte, options *RangeOptions) span {
	s := span{start: start, stop: stop}
	if options != nil {
		s.options = *options
	}
	return s
}

// clone returns the same in memory of its own.
func (s *span) clone() span {
	c := *s
	c.start, c.stop = bytes.Clone(s.start), bytes.Clone(s.stop)
	c.options.Filter.Pattern = bytes.Clone(s.options.Filter.Pattern)
	return c
}

// cut takes records that were read, at least one, out of the range, together with all that lies before
// them in the direction of reading. It says whether anything can be left. Records that are not in the
// range would have the reading go on for ever. It keeps no part of the records, which are for the caller.
func (s *span) cut(records []Record) (left bool, err error) {
	first, last := records[0].SortKey, records[len(records)-1].SortKey
	if s.options.Reverse {
		if len(s.stop) > 0 && !ascending(first, s.stop, s.options.StopInclusive) {
			return false, fmt.Errorf("%w: sort key %.40q beyond the stop", ErrBadAnswer, first)
		}
		s.stop, s.options.StopInclusive = bytes.Clone(first), false
		// An empty one would not mean a stop, but nothing is before it either.
		return ascending(s.start, s.stop, false), nil
	}
	if !ascending(s.start, last, !s.options.StartExclusive) {
		return false, fmt.Errorf("%w: sort key %.40q before the start", ErrBadAnswer, last)
	}
	s.start, s.options.StartExclusive = bytes.Clone(last), true
	return len(s.stop) == 0 || ascending(s.start, s.stop, false), nil
}

func ascending(a, b []byte, orEqual bool) bool {
	order := bytes.Compare(a, b)
	return order < 0 || order == 0 && orEqual
}

// request is the range as an argument of the RPC.
func (s *span) request(hashKey []byte) (wire.MultiGetRequest, error) {
	o := &s.options
	if o.Filter.Type < FilterNone || o.Filter.Type > FilterPostfix {
		return wire.MultiGetRequest{}, fmt.Errorf("%w: filter type %d", ErrInvalidArgument, o.Filter.Type)
	}
	if size := int64(len(s.start)) + int64(len(s.stop)) + int64(len(o.Filter.Pattern)); size > maxKeyBytes {
		return wire.MultiGetRequest{}, fmt.Errorf("%w: sort keys of %d bytes", ErrTooLarge, size)
	}
	return wire.MultiGetRequest{
		HashKey: hashKey, NoValue: o.NoValue, Reverse: o.Reverse,
		StartSortKey: s.start, StartInclusive: !o.StartExclusive,
		StopSortKey: s.stop, StopInclusive: o.StopInclusive,
		Filter: o.Filter.Type, FilterPattern: o.Filter.Pattern,
	}, nil
}

// page reads the next records of a range, and takes them out of it.
func (t *Table) page(ctx context.Context, name string, hashKey []byte, rest *span) (records []Record, complete bool, err error) {
	request, err := rest.request(hashKey)
	if err != nil {
		return nil, false, t.invalid(name, err)
	}
	o := &rest.options
	return t.multiGet(ctx, name, limits{o.MaxCount, o.MaxBytes}, o.Metadata, request, rest)
}

// MultiGetRange reads records of one hash key in a range of sort keys, as many as fit in one answer,
// in one step of the server. An empty start means the first record of the hash key, an empty stop its
// end; a range that is upside down is empty. A nil options means the zero value.
func (t *Table) MultiGetRange(ctx context.Context, hashKey, startSortKey, stopSortKey []byte, options *RangeOptions) (*RangeResult, error) {
	rest := newSpan(startSortKey, stopSortKey, options)
	records, complete, err := t.page(ctx, "multi get range", hashKey, &rest)
	if err != nil {
		return nil, err
	}
	result := &RangeResult{Records: records, Complete: complete}
	if !complete && len(records) > 0 {
		next := rest.clone()
		result.Next = &RangeContinuation{StartSortKey: next.start, StopSortKey: next.stop, Options: &next.options}
	}
	return result, nil
}

// MultiGetSortKeys reads the sort keys of one hash key, as many as fit in one answer, in one step of
// the server. Of the options, NoValue means nothing. complete is false if a limit ended the reading,
// as in RangeResult; MultiGetAll with NoValue reads all of them, however many there are.
func (t *Table) MultiGetSortKeys(ctx context.Context, hashKey []byte, options *RangeOptions) (sortKeys [][]byte, complete bool, err error) {
	all := newSpan(nil, nil, options)
	all.options.NoValue = true
	records, complete, err := t.page(ctx, "multi get sort keys", hashKey, &all)
	if err != nil {
		return nil, false, err
	}
	sortKeys = make([][]byte, len(records))
	for i := range records {
		sortKeys[i] = records[i].SortKey
	}
	return sortKeys, complete, nil
}
