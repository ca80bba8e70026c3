package pegasus

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
)

// MultiGetAll returns an iterator over all records of one hash key in a range of sort keys, however
// many there are: it asks for the next answer when it has yielded the last one. With Reverse it yields
// them in descending order. It can be used any number of times, each time anew. If it yields an error,
// that ends it, and the record is empty.
//
// Each answer is read in one step of a server, but not all of them together: of what is written or
// deleted meanwhile, some may be found. MaxCount and MaxBytes bound one answer; one that is larger than
// rpc.Options.MaxResponseBytes costs the connection, and from then on half as many records are asked for
// at a time. If ctx has no deadline, each may take the operation timeout.
//
// Where the server finds nothing within its own limits, in a stretch of records that have expired or
// that the filter does not select, a scanner goes on to the end of the range. Metadata is not filled
// in by that. In reverse it has to scan all that remains of the range to find its last records, of
// which it keeps no more than 1000 or 8 MiB at a time: such a range should have a start. Where
// that is to be expected, and ascending order will do, [Table.Scan] is the better choice.
func (t *Table) MultiGetAll(ctx context.Context, hashKey, startSortKey, stopSortKey []byte, options *RangeOptions) iter.Seq2[Record, error] {
	given := newSpan(startSortKey, stopSortKey, options)
	whole, hashKey := given.clone(), bytes.Clone(hashKey)
	return func(yield func(Record, error) bool) {
		rest := whole
		err := t.eachPage(ctx, hashKey, &rest, func(records []Record) bool {
			if rest.options.Reverse {
				slices.Reverse(records)
			}
			for i := range records {
				if !yield(records[i], nil) {
					return false
				}
			}
			return true
		})
		if err != nil {
			yield(Record{}, err)
		}
	}
}

// eachPage has all records of a range delivered, in answers as they come, until deliver returns false.
func (t *Table) eachPage(ctx context.Context, hashKey []byte, rest *span, deliver func([]Record) bool) error {
	for {
		records, complete, err := t.page(ctx, "multi get all", hashKey, rest)
		if askForLess(err, &rest.options.MaxCount, usualPage) {
			continue
		}
		if err != nil {
			return err
		}
		if !complete && len(records) == 0 {
			if !rest.options.Reverse {
				return t.scanRest(ctx, hashKey, rest, func(r Record) bool { return deliver([]Record{r}) })
			}
			if records, complete, err = t.scanLast(ctx, hashKey, rest); err != nil {
				return err
			}
		}
		if !deliver(records) || complete {
			return nil
		}
	}
}

// usualPage is how many records servers send at most as the answer to a multi get, by default.
const usualPage = 3000

// askForLess halves a limit of records in one answer after one that was too large for the client, down
// to 1. It is false if that would not help. Limits that are not positive, or above usual, stand for the
// server's own. So there are at most a dozen such answers before there is one that can be received, or
// a record that cannot; it is as few as that because each of them costs a connection.
func askForLess[T int | int32](err error, limit *T, usual T) bool {
	if !errors.Is(err, ErrAnswerTooLarge) || *limit == 1 {
		return false
	}
	if *limit <= 0 || *limit > usual {
		*limit = usual
	}
	*limit /= 2
	return true
}

// scanRest has the records of a range delivered by a scanner, until deliver returns false.
func (t *Table) scanRest(ctx context.Context, hashKey []byte, rest *span, deliver func(Record) bool) error {
	o := &rest.options
	for found, err := range t.Scan(ctx, hashKey, rest.start, rest.stop, &ScanOptions{
		StartExclusive: o.StartExclusive, StopInclusive: o.StopInclusive, SortKeyFilter: o.Filter,
		BatchSize: o.MaxCount, NoValue: o.NoValue,
	}) {
		if err != nil {
			return err
		}
		if !deliver(Record{SortKey: found.SortKey, Value: found.Value}) {
			return nil
		}
	}
	return nil
}

// scanLast scans a range for its last records, and takes them out of it. It is complete if there are no
// others.
func (t *Table) scanLast(ctx context.Context, hashKey []byte, rest *span) (records []Record, complete bool, err error) {
	last := tail{}
	err = t.scanRest(ctx, hashKey, rest, func(r Record) bool {
		last.add(r)
		return true
	})
	if err != nil || !last.dropped {
		return last.records, true, err
	}
	left, err := rest.cut(last.records)
	return last.records, !left, err
}

// Limits of a tail.
const (
	tailRecords = 1000
	tailBytes   = 8 << 20
)

// tail keeps the last of the records that are added to it.
type tail struct {
	records []Record
	bytes   int
	dropped bool // there were others
}

// add drops as many of the first records as do not fit together with the new one.
func (t *tail) add(r Record) {
	t.bytes += len(r.SortKey) + len(r.Value)
	n := 0
	for n < len(t.records) && (len(t.records)-n >= tailRecords || t.bytes > tailBytes) {
		t.bytes -= len(t.records[n].SortKey) + len(t.records[n].Value)
		n++
	}
	t.dropped = t.dropped || n > 0
	clear(t.records[:n]) // append may go on in the same memory
	t.records = append(t.records[n:], r)
}
