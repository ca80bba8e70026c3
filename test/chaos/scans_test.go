package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// scans is a workload: callers scan the table while others add records that stay and records that
// come and go. A scan that ends well must have returned every record that existed from its beginning
// to its end once, and none twice.
type scans struct {
	complete atomic.Int64

	mu   sync.Mutex
	stay []string // names of records, in the order in which they were acknowledged
}

const (
	populationAtFirst = 300
	// recordsPerHashKey is few enough for hash keys on all partitions, and enough for batches.
	recordsPerHashKey = 25
	// scanFor is the time a scan may take before it is given up, and scanStepFor that of a call of Next.
	scanFor, scanStepFor = 2 * time.Second, 200 * time.Millisecond
)

func (*scans) callers() int { return 3 }

// name is how records are told apart: hash key, sort key.
func name(hashKey, sortKey []byte) string { return string(hashKey) + "/" + string(sortKey) }

// populated returns the workload with records that are in the table before anything happens.
func populated(a *arena) *scans {
	s := &scans{}
	a.must(a.Load(tableName, populationAtFirst, func(i int) (hashKey, sortKey, value []byte) {
		hashKey, sortKey = s.key("stays", i)
		s.stay = append(s.stay, name(hashKey, sortKey))
		return hashKey, sortKey, content(hashKey, sortKey)
	}))
	return s
}

// key returns the key of the i-th record of a kind. Both kinds are on the same hash keys.
func (s *scans) key(kind string, i int) (hashKey, sortKey []byte) {
	return fmt.Appendf(nil, "scanned %d", i/recordsPerHashKey), fmt.Appendf(nil, "%s %d", kind, i)
}

// content is the value of each record, by which one is recognised that got the value of another.
func content(hashKey, sortKey []byte) []byte { return []byte("value of " + name(hashKey, sortKey)) }

func (s *scans) work(ctx context.Context, c *caller) {
	switch c.IntN(40) {
	case 0, 1, 2:
		s.scan(ctx, c)
	case 3, 4, 5:
		s.grow(ctx, c)
	default:
		s.stir(ctx, c)
	}
}

// grow adds a record that stays.
func (s *scans) grow(ctx context.Context, c *caller) {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	hashKey, _ := s.key("", c.IntN(populationAtFirst))
	sortKey := []byte("grown " + c.fresh())
	if c.ended(c.lenient.Set(ctx, hashKey, sortKey, content(hashKey, sortKey))) == took {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stay = append(s.stay, name(hashKey, sortKey))
	}
}

// stir adds or deletes a record that comes and goes.
func (s *scans) stir(ctx context.Context, c *caller) {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	hashKey, sortKey := s.key("passes", c.IntN(populationAtFirst))
	if c.IntN(2) == 0 {
		c.ended(c.lenient.Set(ctx, hashKey, sortKey, content(hashKey, sortKey)))
	} else {
		c.ended(c.lenient.Del(ctx, hashKey, sortKey))
	}
}

// scan scans the table in one of the ways there are.
func (s *scans) scan(ctx context.Context, c *caller) {
	ctx, cancel := context.WithTimeout(ctx, scanFor)
	defer cancel()
	ways := []func(context.Context, *caller, *pegasus.ScanOptions, func(pegasus.ScanRecord)) error{
		iterate, parts, resume, byHashKey,
	}
	way := c.IntN(len(ways) + 1)
	if way == len(ways) {
		s.count(ctx, c)
		return
	}
	s.mu.Lock()
	stay := s.stay[:len(s.stay):len(s.stay)]
	s.mu.Unlock()
	found := newFinds(c, fmt.Sprint("way ", way))
	err := ways[way](ctx, c, scanOptions(c), found.add)
	if c.ended(err) == took && err == nil {
		s.complete.Inc()
		found.judge(stay)
	}
}

// scanOptions are such that a scan takes many answers.
func scanOptions(c *caller) *pegasus.ScanOptions {
	return &pegasus.ScanOptions{
		BatchSize: 5 + c.IntN(40), NoPrefetch: c.IntN(2) == 0,
		HashKeyFilter: pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte("scanned ")},
	}
}

// finds are the records that a scan has returned.
type finds struct {
	caller *caller
	scan   string

	mu    sync.Mutex
	names map[string]bool
}

func newFinds(c *caller, scan string) *finds {
	return &finds{caller: c, scan: scan, names: make(map[string]bool)}
}

func (f *finds) add(record pegasus.ScanRecord) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := name(record.HashKey, record.SortKey)
	if f.names[found] {
		f.caller.findings.add("scans: %s returned %s twice", f.scan, found)
	}
	f.names[found] = true
	if want := content(record.HashKey, record.SortKey); string(record.Value) != string(want) {
		f.caller.findings.add("scans: %s returned %s with %q", f.scan, found, record.Value)
	}
}

// judge finds what is missing of the records that were there all the time.
func (f *finds) judge(stay []string) {
	for _, want := range stay {
		if !f.names[want] {
			f.caller.findings.add("scans: %s ended without %s, having returned %d records", f.scan, want, len(f.names))
		}
	}
}

func iterate(ctx context.Context, c *caller, options *pegasus.ScanOptions, found func(pegasus.ScanRecord)) error {
	for record, err := range c.lenient.ScanTable(ctx, options) {
		if err != nil {
			return err
		}
		found(record)
	}
	return nil
}

// parts has a goroutine for each of some scanners.
func parts(ctx context.Context, c *caller, options *pegasus.ScanOptions, found func(pegasus.ScanRecord)) error {
	scanners, err := c.lenient.TableScanners(1+c.IntN(4), options)
	if err != nil {
		return err
	}
	errs := make([]error, len(scanners))
	var scanning sync.WaitGroup
	for i, scanner := range scanners {
		scanning.Go(func() {
			defer scanner.Close()
			errs[i] = exhaust(ctx, scanner, found, never)
		})
	}
	scanning.Wait()
	return errors.Join(errs...)
}

const never = -1

// errEnough ends exhaust when it has so many records.
var errEnough = errors.New("enough")

// exhaust goes on after errors, as a Scanner can, until it is at the end, has enough, or is out of time.
func exhaust(ctx context.Context, scanner *pegasus.Scanner, found func(pegasus.ScanRecord), most int) error {
	for ; most != 0; most-- {
		record, err := next(ctx, scanner)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		found(record)
	}
	return errEnough
}

func next(ctx context.Context, scanner *pegasus.Scanner) (pegasus.ScanRecord, error) {
	for {
		step, cancel := context.WithTimeout(ctx, scanStepFor)
		record, err := scanner.Next(step)
		cancel()
		if err == nil || errors.Is(err, io.EOF) || ctx.Err() != nil {
			return record, err
		}
		if errors.Is(err, pegasus.ErrClosed) {
			return record, err
		}
		time.Sleep(time.Millisecond)
	}
}

// resume changes the scanner now and then for another one that goes on at its cursor.
func resume(ctx context.Context, c *caller, options *pegasus.ScanOptions, found func(pegasus.ScanRecord)) error {
	scanners, err := c.lenient.TableScanners(1, options)
	if err != nil {
		return err
	}
	scanner := scanners[0]
	for {
		err = exhaust(ctx, scanner, found, 1+c.IntN(100))
		scanner.Close()
		if !errors.Is(err, errEnough) {
			return err
		}
		if scanner, err = c.strict.ResumeScanner(scanner.Cursor(), options); err != nil {
			return err
		}
	}
}

// byHashKey scans the hash keys one by one.
func byHashKey(ctx context.Context, c *caller, options *pegasus.ScanOptions, found func(pegasus.ScanRecord)) error {
	options.HashKeyFilter = pegasus.Filter{}
	for i := 0; i < populationAtFirst; i += recordsPerHashKey {
		hashKey, _ := new(scans).key("", i)
		for record, err := range c.lenient.Scan(ctx, hashKey, nil, nil, options) {
			if err != nil {
				return err
			}
			found(record)
		}
	}
	return nil
}

// count counts the records that stay; those that pass have other sort keys.
func (s *scans) count(ctx context.Context, c *caller) {
	options := scanOptions(c)
	options.SortKeyFilter = pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte("stays ")}
	count, err := c.lenient.CountTable(ctx, options)
	if c.ended(err) == took && err == nil && count != populationAtFirst {
		c.findings.add("scans: %d records were counted instead of %d", count, populationAtFirst)
	}
}

func (s *scans) check(ctx context.Context, c *caller) {
	found := newFinds(c, "the last scan")
	if err := iterate(ctx, c, scanOptions(c), found.add); err != nil {
		c.findings.add("scans: the cluster works, but: %v", err)
		return
	}
	found.judge(s.stay)
}
