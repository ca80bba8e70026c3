package main

import (
	"context"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// scanKind is the scan of the whole table. An operation is a record; what is timed is a whole scan.
var scanKind = &kind{
	name:     "scan",
	prepare:  prepareScan,
	newFloor: func(b *bench) (base, error) { return newScanFloor(b.routing()) },
	callers:  []int{1},
}

// Records for scans come ten to a hash key, and are written so many at a time.
const (
	scanSortKeys  = 10
	scanBatchSize = 10_000
)

// prepareScan adds records until the table has as many as the settings say.
func prepareScan(b *bench) error {
	ctx := context.Background()
	counting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	count, err := b.table.CountTable(counting, nil)
	if err != nil {
		return err
	}
	value := b.records[0].value
	for first, missing := 0, b.settings.scanRecords-int(count); first < missing; first += scanBatchSize {
		records := make([]pegasus.BatchRecord, min(scanBatchSize, missing-first))
		for i := range records {
			number := first + i
			records[i] = pegasus.BatchRecord{
				HashKey: fmt.Appendf(nil, "scan-%011d", number/scanSortKeys),
				SortKey: fmt.Appendf(nil, "sort%04d", number%scanSortKeys), Value: value,
			}
		}
		if _, err := b.table.BatchSet(ctx, records, nil); err != nil {
			return fmt.Errorf("cannot write the records to scan: %w", err)
		}
	}
	return nil
}

// scanner is what scans the whole table: the client or the floor.
type scanner interface {
	// scan returns the number of records.
	scan() (records int, err error)
}

// scanning takes part in the comparison with scans, one after the other.
type scanning struct {
	scanner
	title string
}

func (s *scanning) name() string { return s.title }

// workers implements contender; there is one caller.
func (s *scanning) workers(int, time.Duration) ([]worker, error) {
	return []worker{&scanWorker{scanner: s.scanner, latency: newLatency()}}, nil
}

// scanWorker is the caller.
type scanWorker struct {
	scanner
	latency *hdrhistogram.Histogram
}

func (w *scanWorker) run(stop *atomic.Bool) (operations int, err error) {
	for {
		began := time.Now()
		records, err := w.scan()
		if err != nil {
			return operations, err
		}
		noteLatency(w.latency, time.Since(began), 1)
		if operations += records; stop.Load() {
			return operations, nil
		}
	}
}

func (w *scanWorker) times() *hdrhistogram.Histogram { return w.latency }

// tableScan is the client's scan.
type tableScan struct{ table *pegasus.Table }

func (s *tableScan) scan() (records int, err error) {
	for record, err := range s.table.ScanTable(context.Background(), nil) {
		if err != nil {
			return records, err
		}
		if len(record.HashKey)+len(record.SortKey) == 0 {
			return records, fmt.Errorf("record %d has no key", records)
		}
		records++
	}
	return records, nil
}
