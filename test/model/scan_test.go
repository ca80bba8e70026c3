package model_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// scope is what a scan is about: a range of a hash key, or the whole table if there is none.
type scope struct {
	table      bool
	hash       string
	span       span
	hashFilter pegasus.FilterType
	hashPrefix string // the pattern of the filter
}

func (s *scope) has(k key) bool {
	if s.table {
		return matches(s.hashFilter, k.hash, s.hashPrefix) && matches(s.span.filter, k.sort, s.span.pattern)
	}
	return k.hash == s.hash && s.span.has(k.sort)
}

// drawScope draws a scope that is seldom invalid.
func drawScope(t *rapid.T) scope {
	s := scope{table: rapid.Bool().Draw(t, "whole table")}
	if !s.table {
		s.hash, s.span = aHashKeyOfSeveral.Draw(t, "hash key"), drawSpan(t)
		return s
	}
	if rapid.Bool().Draw(t, "filtered") {
		s.hashFilter = pegasus.FilterType(rapid.IntRange(0, 3).Draw(t, "hash key filter"))
		s.hashPrefix = aHashKey.Draw(t, "hash key pattern")
		s.span.filter = pegasus.FilterType(rapid.IntRange(0, 4).Draw(t, "sort key filter"))
		s.span.pattern = aSortKey.Draw(t, "sort key pattern")
	}
	return s
}

// refusal is what the client says to a scope that cannot be scanned.
func (s *scope) refusal(answered string) (want string, isRefused bool) {
	if s.table {
		return refused(answered, invalidFilter(s.span.filter))
	}
	return refused(answered, emptyHashKey(s.hash), invalidFilter(s.span.filter))
}

func (m *machine) lendScanOptions(s *scope, batch int, noValue, expiry, noPrefetch bool) *pegasus.ScanOptions {
	return &pegasus.ScanOptions{
		StartExclusive: s.span.startExclusive, StopInclusive: s.span.stopInclusive,
		HashKeyFilter: pegasus.Filter{Type: s.hashFilter, Pattern: m.lend(s.hashPrefix)},
		SortKeyFilter: pegasus.Filter{Type: s.span.filter, Pattern: m.lend(s.span.pattern)},
		BatchSize:     batch, NoValue: noValue, ReturnExpiry: expiry, NoPrefetch: noPrefetch,
	}
}

// scanOf is how to scan.
type scanOf struct {
	scope
	batch                       int
	noValue, expiry, noPrefetch bool
}

func drawScan(t *rapid.T) scanOf {
	return scanOf{
		scope: drawScope(t), batch: rapid.SampledFrom([]int{0, 1, 2, 3, 7}).Draw(t, "batch size"),
		noValue: rapid.Bool().Draw(t, "no value"), expiry: rapid.Bool().Draw(t, "return expiry"),
		noPrefetch: rapid.Bool().Draw(t, "no prefetch"),
	}
}

func (m *machine) lendScan(s *scanOf) *pegasus.ScanOptions {
	return m.lendScanOptions(&s.scope, s.batch, s.noValue, s.expiry, s.noPrefetch)
}

// on is the hash of a key that is scanned.
func (s *scope) on() uint64 {
	if s.table {
		return 0
	}
	return hashed(s.hash)
}

// scanRecord puts a record in words.
func (s *scanOf) inWords(k key, r record) string {
	text := fmt.Sprintf("%q %q", k.hash, k.sort)
	if !s.noValue {
		text += fmt.Sprintf(" %q", r.value)
	}
	if s.expiry {
		text += fmt.Sprintf(" until %d", r.expires)
	}
	return text
}

// received puts a record in words that the client returned.
func (m *machine) received(s *scanOf, found *pegasus.ScanRecord) (k key, text string) {
	k = key{m.keep(found.HashKey), m.keep(found.SortKey)}
	r := record{value: m.keep(found.Value)}
	if !found.ExpiresAt.IsZero() {
		r.expires = found.ExpiresAt.Unix()
	}
	text = s.inWords(k, r)
	if s.noValue != (found.Value == nil) {
		text += " nil is wrong"
	}
	if !s.expiry && !found.ExpiresAt.IsZero() {
		text += " expiry not asked for"
	}
	return k, text
}

// all returns all records in words: in ascending order for a hash key, and in any order that is the same
// for everybody for a table.
func (w *world) all(s *scanOf) []string {
	var keys []key
	for k := range w.records {
		if _, exists := w.get(k); exists && s.has(k) {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(compare(a.hash, b.hash), compare(a.sort, b.sort)) })
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = s.inWords(k, w.records[k])
	}
	if s.table {
		slices.Sort(texts)
	}
	return texts
}

// scanAtOnce scans from beginning to end in one step.
func (m *machine) scanAtOnce(t *rapid.T) {
	s := drawScan(t)
	m.run(t, operation{
		name: "scan", kind: reading, on: s.on(), excuse: m.outOfTime(),
		call: func(ctx context.Context) (string, error) {
			records := m.table.ScanTable(ctx, m.lendScan(&s))
			if !s.table {
				records = m.table.Scan(ctx, m.lend(s.hash), m.lend(s.span.start), m.lend(s.span.stop), m.lendScan(&s))
			}
			var texts []string
			for found, err := range records {
				if err != nil {
					return "", err
				}
				_, text := m.received(&s, &found)
				texts = append(texts, text)
			}
			if s.table {
				slices.Sort(texts)
			}
			return strings.Join(texts, "\n"), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := s.refusal(answered); isRefused {
				return want
			}
			return strings.Join(w.all(&s), "\n")
		},
	})
}

// countAtOnce counts what a scan would find.
func (m *machine) countAtOnce(t *rapid.T) {
	s := drawScan(t)
	m.run(t, operation{
		name: "count", inner: []string{"scan"}, kind: reading, on: s.on(), excuse: m.outOfTime(),
		call: func(ctx context.Context) (string, error) {
			if s.table {
				count, err := m.table.CountTable(ctx, m.lendScan(&s))
				return fmt.Sprint(count), err
			}
			scanner, err := m.table.NewScanner(m.lend(s.hash), m.lend(s.span.start), m.lend(s.span.stop), m.lendScan(&s))
			if err != nil {
				return "", err
			}
			defer scanner.Close()
			count, err := scanner.Count(ctx)
			return fmt.Sprint(count), err
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := s.refusal(answered); isRefused {
				return want
			}
			return fmt.Sprint(len(w.all(&s)))
		},
	})
}

// scan is a scan that lasts for several steps, and what may have happened to records meanwhile.
type scan struct {
	scanOf
	scanners []*pegasus.Scanner // that have not come to an end
	// always are the records that existed all the time. The scan must find them, once.
	always map[key]bool
	// ever are all records in words as they were at some time. The scan must find no others.
	ever  map[string]bool
	found map[key]int
}

// maxScans is how many scans go on at a time.
const maxScans = 3

// longScan does something with scans that last.
func (m *machine) longScan(t *rapid.T) {
	m.drawTable(t)
	if len(m.scans) == 0 {
		m.openScan(t)
	}
	steps := []func(*rapid.T){m.continueScan, m.resumeScan, m.openScan, m.continueScan, m.continueScan, m.countScan, m.closeScan}
	steps[rapid.IntRange(0, len(steps)-1).Draw(t, "step of scan")](t)
}

// openScan begins a scan, which takes no request.
func (m *machine) openScan(t *rapid.T) {
	if len(m.scans) == maxScans {
		return
	}
	s := &scan{scanOf: drawScan(t), ever: map[string]bool{}, found: map[key]int{}}
	if _, isRefused := s.refusal(""); isRefused {
		s.table, s.span.filter = true, pegasus.FilterNone // only what can be scanned lasts
	}
	var err error
	if s.table {
		s.scanners, err = m.table.TableScanners(rapid.IntRange(1, 3).Draw(t, "scanners"), m.lendScan(&s.scanOf))
	} else {
		s.scanners = make([]*pegasus.Scanner, 1)
		s.scanners[0], err = m.table.NewScanner(m.lend(s.hash), m.lend(s.span.start), m.lend(s.span.stop), m.lendScan(&s.scanOf))
	}
	require.NoError(t, err)
	m.returnLoans(t)
	m.scans = append(m.scans, s)
	s.look(m.worlds)
}

// look notes the records that there may be now.
func (s *scan) look(worlds []*world) {
	for _, w := range worlds {
		exist := map[key]bool{}
		for k := range w.records {
			if r, exists := w.get(k); exists && s.has(k) {
				exist[k] = s.always == nil || s.always[k]
				s.ever[s.inWords(k, r)] = true
			}
		}
		s.always = exist
	}
	for k, always := range s.always {
		if !always {
			delete(s.always, k)
		}
	}
}

func (m *machine) look() {
	for _, s := range m.scans {
		s.look(m.worlds)
	}
}

// drawScanner draws one of those at work.
func (m *machine) drawScanner(t *rapid.T) (s *scan, which int) {
	s = m.scans[rapid.IntRange(0, len(m.scans)-1).Draw(t, "scan")]
	return s, rapid.IntRange(0, len(s.scanners)-1).Draw(t, "scanner")
}

// continueScan takes some records.
func (m *machine) continueScan(t *rapid.T) {
	s, which := m.drawScanner(t)
	most := rapid.SampledFrom([]int{1, 2, 5, 100}).Draw(t, "records")
	ended, wrong := false, ""
	m.run(t, operation{
		name: "scan", kind: reading, on: s.on(), excuse: m.outOfTime(),
		call: func(ctx context.Context) (string, error) {
			for range most {
				found, err := s.scanners[which].Next(ctx)
				if err == io.EOF { //nolint:errorlint // it must not be wrapped
					ended = true
					break
				}
				if err != nil {
					return "", err
				}
				k, text := m.received(&s.scanOf, &found)
				wrong += s.take(k, text)
			}
			return wrong, nil
		},
		effect: func(*world, string) string { return "" },
	})
	if wrong != "" {
		t.Fatalf("before it failed, scan found %s", wrong)
	}
	if ended {
		m.endScanner(t, s, which)
	}
}

// take notes a record that was found, and returns what is wrong with it.
func (s *scan) take(k key, text string) (wrong string) {
	s.found[k]++
	if !s.ever[text] {
		return fmt.Sprintln(text, "which never was")
	}
	if s.found[k] > 1 && s.always[k] {
		return fmt.Sprintln(text, "again")
	}
	return ""
}

// endScanner ends a part of a scan. After the last one, all must have been found.
func (m *machine) endScanner(t *rapid.T, s *scan, which int) {
	s.scanners[which].Close()
	s.scanners = slices.Delete(s.scanners, which, which+1)
	if len(s.scanners) > 0 {
		return
	}
	m.scans = slices.DeleteFunc(m.scans, func(other *scan) bool { return other == s })
	for k := range s.always {
		if s.found[k] == 0 {
			t.Fatalf("scan has not found all that was there all the time") // a map has no order
		}
	}
}

// resumeScan goes on with another scanner, and perhaps with other options.
func (m *machine) resumeScan(t *rapid.T) {
	s, which := m.drawScanner(t)
	cursor := s.scanners[which].Cursor()
	s.scanners[which].Close()
	s.batch = rapid.IntRange(0, 3).Draw(t, "batch size")
	options := &pegasus.ScanOptions{BatchSize: s.batch, NoValue: s.noValue, ReturnExpiry: s.expiry, NoPrefetch: s.noPrefetch}
	scanner, err := m.table.ResumeScanner(cursor, options)
	require.NoError(t, err)
	s.scanners[which] = scanner
}

// countScan ends a scan by counting what is left.
func (m *machine) countScan(t *rapid.T) {
	s, which := m.drawScanner(t)
	if len(s.scanners) > 1 {
		return // nobody knows how much is left to which scanner
	}
	least, most := s.left()
	counted := false
	m.run(t, operation{
		name: "count", inner: []string{"scan"}, kind: reading, on: s.on(), excuse: m.outOfTime(),
		call: func(ctx context.Context) (string, error) {
			count, err := s.scanners[which].Count(ctx)
			counted = err == nil
			if least <= int(count) && int(count) <= most {
				return "as many as there can be", err
			}
			return fmt.Sprint(count), err
		},
		effect: func(*world, string) string { return "as many as there can be" },
	})
	if counted {
		s.scanners[which].Close()
		m.scans = slices.DeleteFunc(m.scans, func(other *scan) bool { return other == s })
	}
}

// left returns how many records a scan still has to find, and how many it can find.
func (s *scan) left() (least, most int) {
	most = len(hashKeys) * len(sortKeys)
	for k := range s.always {
		if s.found[k] == 0 {
			least++
		} else {
			most--
		}
	}
	return least, most
}

// closeScan gives a scan up.
func (m *machine) closeScan(t *rapid.T) {
	s, _ := m.drawScanner(t)
	for _, scanner := range s.scanners {
		scanner.Close()
		_, err := scanner.Next(context.Background())
		require.ErrorIs(t, err, pegasus.ErrScannerClosed)
	}
	m.scans = slices.DeleteFunc(m.scans, func(other *scan) bool { return other == s })
}
