package pegasus_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// scanPlan is a scan with everything that happens to it.
type scanPlan struct {
	partitions  int
	rows        []row
	hashKey     string // "" for a scan of the table
	start, stop string
	scanners    int
	options     pegasus.ScanOptions
	accidents   []accident
}

// accident is what happens once a scan has returned so many more records.
type accident struct {
	records int
	kind    string
}

// accidents may fail, for example where a split is in another state.
var accidents = map[string]func(b *box){
	"move":           func(b *box) { b.movePrimaries() },
	"forget":         func(*box) { pass(6 * time.Minute) },
	"restart":        func(b *box) { b.restartAll() },
	"lose reply":     func(b *box) { b.loseScan(onebox.Fault{CloseAfter: true}) },
	"lose request":   func(b *box) { b.loseScan(onebox.Fault{CloseBefore: true}) },
	"refuse":         func(b *box) { b.loseScan(onebox.Fault{Error: wire.ErrInvalidState}) },
	"truncate":       func(b *box) { b.loseScan(onebox.Fault{Truncate: 30}) },
	"start split":    func(b *box) { _ = b.StartSplit(tableName) },
	"cancel split":   func(b *box) { _ = b.CancelSplit(tableName) },
	"finish parent":  func(b *box) { _ = b.FinishSplit(tableName, 0) },
	"finish split":   func(b *box) { _ = b.FinishSplit(tableName) },
	"split at once":  func(b *box) { _ = b.StartSplit(tableName); _ = b.FinishSplit(tableName) },
	"tell":           func(b *box) { b.tell() },
	"out of time":    func(b *box) { b.LimitIterations(7) },
	"in time":        func(b *box) { b.LimitIterations(0) },
	"write":          func(b *box) { b.load([]row{{"a", "new", "new"}, {"ab", "new", "new"}, {"b", "new", "new"}}) },
	"cursor":         nil,
	"split and move": func(b *box) { _ = b.StartSplit(tableName); b.movePrimaries() },
}

func (b *box) loseScan(fault onebox.Fault) {
	fault.Match, fault.Times = onebox.OnMethod(wire.Scan, wire.GetScanner), 1
	b.Primary(tableName, 0).Inject(fault)
}

var (
	scanText   = rapid.SampledFrom([]string{"", "a", "b", "ab", "ba", "aab", "\xff", "\xff\xff", "a\xff", "\x00"})
	scanFilter = rapid.Custom(func(t *rapid.T) pegasus.Filter {
		return pegasus.Filter{
			Type:    rapid.SampledFrom([]pegasus.FilterType{0, 0, 1, 2, 3}).Draw(t, "type"),
			Pattern: []byte(rapid.SampledFrom([]string{"", "a", "b", "\xff"}).Draw(t, "pattern")),
		}
	})
	scanPlans = rapid.Custom(func(t *rapid.T) scanPlan {
		p := scanPlan{
			partitions: rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "partitions"),
			scanners:   rapid.IntRange(1, 3).Draw(t, "scanners"),
			options: pegasus.ScanOptions{
				SortKeyFilter: scanFilter.Draw(t, "sort keys"), BatchSize: rapid.IntRange(1, 9).Draw(t, "batch"),
				NoPrefetch: rapid.Bool().Draw(t, "no prefetch"),
			},
		}
		seen := map[row]bool{}
		for range rapid.IntRange(0, 100).Draw(t, "rows") {
			r := row{scanText.Draw(t, "hash key") + scanText.Draw(t, "of it"), scanText.Draw(t, "sort key") + scanText.Draw(t, "more"), ""}
			if !seen[r] {
				seen[r] = true
				p.rows = append(p.rows, r)
			}
		}
		slices.SortFunc(p.rows, row.order)
		if p.hashKey = rapid.SampledFrom([]string{"", "", "a", "ab", "\xff\xff"}).Draw(t, "scanned"); p.hashKey != "" {
			p.start, p.stop = scanText.Draw(t, "start"), scanText.Draw(t, "stop")
			p.options.StartExclusive, p.options.StopInclusive = rapid.Bool().Draw(t, "exclusive"), rapid.Bool().Draw(t, "inclusive")
		} else {
			p.options.HashKeyFilter = scanFilter.Draw(t, "hash keys")
		}
		splitting, kinds := rapid.Bool().Draw(t, "splitting"), make([]string, 0, len(accidents))
		for kind := range accidents {
			if !splitting || strings.Contains(kind, "split") || kind == "move" {
				kinds = append(kinds, kind)
			}
		}
		slices.Sort(kinds)
		splits := 0
		for range rapid.IntRange(0, 8).Draw(t, "accidents") {
			a := accident{rapid.IntRange(0, 15).Draw(t, "records"), rapid.SampledFrom(kinds).Draw(t, "kind")}
			if strings.Contains(a.kind, "split") {
				splits++
			}
			if splits <= 4 { // scans survive no more
				p.accidents = append(p.accidents, a)
			}
		}
		return p
	})
)

func passes(f pegasus.Filter, key string) bool {
	switch f.Type {
	case pegasus.FilterAnywhere:
		return strings.Contains(key, string(f.Pattern))
	case pegasus.FilterPrefix:
		return strings.HasPrefix(key, string(f.Pattern))
	case pegasus.FilterPostfix:
		return strings.HasSuffix(key, string(f.Pattern))
	}
	return true
}

// wants says whether the scan should return a row.
func (p *scanPlan) wants(r row) bool {
	o := &p.options
	if !passes(o.SortKeyFilter, r.sortKey) || !passes(o.HashKeyFilter, r.hashKey) {
		return false
	}
	if p.hashKey == "" {
		return true
	}
	return r.hashKey == p.hashKey &&
		(r.sortKey > p.start || r.sortKey == p.start && !o.StartExclusive) &&
		(p.stop == "" || r.sortKey < p.stop || r.sortKey == p.stop && o.StopInclusive)
}

// TestScanEqualsModel has scans of random data, ranges and filters, to which all kinds of accidents
// happen, return exactly what a model returns, but for records written meanwhile, which may come or not.
func TestScanEqualsModel(t *testing.T) {
	for range 5 { // what is rare by itself must come together
		rapid.Check(t, checkScan(t))
	}
}

func checkScan(t *testing.T) func(rt *rapid.T) {
	return func(rt *rapid.T) {
		plan := scanPlans.Draw(rt, "plan")
		var failure error
		synctest.Test(t, func(t *testing.T) { failure = plan.run(t) })
		if failure != nil {
			rt.Fatal(failure)
		}
	}
}

func (p *scanPlan) run(t *testing.T) error {
	b := newBubbleBox(t, onebox.TableOptions{Partitions: p.partitions})
	b.load(p.rows)
	var found []row
	scanners, err := p.begin(b)
	left := p.accidents
	for i := 0; err == nil && i < len(scanners); i++ {
		var rows []row
		rows, left, err = p.drain(b, scanners[i], left)
		found = append(found, rows...)
	}
	if err != nil {
		return err
	}
	b.LimitIterations(0)
	if p.hashKey != "" && !slices.IsSortedFunc(found, row.order) {
		return fmt.Errorf("the order is %q", found)
	}
	var want []row
	for _, r := range p.rows {
		if p.wants(r) {
			want = append(want, r)
		}
	}
	if stable := slices.DeleteFunc(slices.Clone(found), func(r row) bool { return r.value == "new" }); !slices.Equal(want, sorted(stable)) {
		return fmt.Errorf("found %q, want %q", stable, want)
	}
	if found = sorted(found); len(slices.Compact(slices.Clone(found))) != len(found) {
		return fmt.Errorf("duplicates in %q", found)
	}
	return p.compareCount(b)
}

// compareCount checks that servers count what the scan finds now.
func (p *scanPlan) compareCount(b *box) error {
	scanners, err := p.begin(b)
	if err != nil {
		return err
	}
	for _, s := range scanners {
		again, err := b.table.ResumeScanner(s.Cursor(), nil)
		if err != nil {
			return err
		}
		rows, _, err := p.drain(b, s, nil)
		if err != nil {
			return err
		}
		count, err := again.Count(b.t.Context())
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		if int(count) != len(rows) {
			return fmt.Errorf("counted %d of %d", count, len(rows))
		}
	}
	return nil
}

func (p *scanPlan) begin(b *box) ([]*pegasus.Scanner, error) {
	if p.hashKey == "" {
		return b.table.TableScanners(p.scanners, &p.options)
	}
	s, err := b.table.NewScanner([]byte(p.hashKey), []byte(p.start), []byte(p.stop), &p.options)
	return []*pegasus.Scanner{s}, err
}

// drain returns the records of a scanner, and the accidents that are left.
func (p *scanPlan) drain(b *box, s *pegasus.Scanner, left []accident) ([]row, []accident, error) {
	defer func() { s.Close() }()
	var rows []row
	returned, failures := 0, 0
	for {
		for ; len(left) > 0 && returned >= left[0].records; left = left[1:] {
			returned = 0
			if left[0].kind == "cursor" {
				again, err := b.table.ResumeScanner(s.Cursor(), &p.options)
				if err != nil {
					return nil, nil, err
				}
				s.Close()
				s = again
			} else {
				accidents[left[0].kind](b)
			}
		}
		record, err := s.Next(b.t.Context())
		if err == io.EOF { //nolint:errorlint // the very one
			return rows, left, nil
		}
		if err != nil { // no failure is final
			b.LimitIterations(0)
			if failures++; failures > 3 {
				return nil, nil, err
			}
			continue
		}
		rows = append(rows, rowOf(record))
		returned++
	}
}

// newBubbleBox returns a box for a bubble.
func newBubbleBox(t *testing.T, table onebox.TableOptions) *box {
	year2030()
	b := newBox(t, onebox.Config{Network: memnet.New()}, table)
	require.NotNil(t, b.network)
	return b
}
