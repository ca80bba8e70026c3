package model_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// emptyHashKey is the reason to refuse an operation on several records without a hash key.
func emptyHashKey(hash string) error {
	if hash == "" {
		return pegasus.ErrHashKeyEmpty
	}
	return nil
}

// empty is the reason to refuse an empty list.
func empty[T any](list []T) error {
	if len(list) == 0 {
		return pegasus.ErrInvalidArgument
	}
	return nil
}

// limits are those of one answer; 0 means none.
type limits struct {
	count, bytes int
	noValue      bool
}

func drawLimits(t *rapid.T) limits {
	return limits{
		count: rapid.SampledFrom([]int{0, 1, 2, 3, 100}).Draw(t, "max count"),
		bytes: rapid.SampledFrom([]int{0, 1, 2, 3, 10, math.MaxInt}).Draw(t, "max bytes"), noValue: rapid.Bool().Draw(t, "no value"),
	}
}

// taken returns how many of the records one answer has, and whether that ends at a limit. Limits are
// tested before each record, so that bytes may be exceeded by one (docs/protocol.md, multi_get).
func (l *limits) taken(of []entry) (count int, limited bool) {
	size := 0
	for ; ; count++ {
		if l.count > 0 && count >= l.count || l.bytes > 0 && size >= l.bytes {
			return count, true
		}
		if count == len(of) {
			return count, false
		}
		size += len(of[count].sortKey)
		if !l.noValue {
			size += len(of[count].value)
		}
	}
}

// page is what one answer has, in words of its own so that the model need not copy the client's types.
type page struct {
	entries  []entry
	complete bool
	endless  bool // there is nothing to continue from
}

func (p *page) inWords(noValue bool) string {
	var text strings.Builder
	for _, e := range p.entries {
		if noValue {
			fmt.Fprintf(&text, "%q ", e.sortKey)
		} else {
			fmt.Fprintf(&text, "%q: %q ", e.sortKey, e.value)
		}
	}
	fmt.Fprintf(&text, "complete: %v, endless: %v\n", p.complete, p.endless)
	return text.String()
}

func inWordsAll(pages []page, noValue bool) string {
	var text strings.Builder
	for _, p := range pages {
		text.WriteString(p.inWords(noValue))
	}
	return text.String()
}

// entriesOf takes over records that the client returned.
func (m *machine) entriesOf(records []pegasus.Record, noValue bool) []entry {
	entries := make([]entry, len(records))
	for i, r := range records {
		entries[i] = entry{m.keep(r.SortKey), m.keep(r.Value)}
		if (r.Value == nil) != noValue {
			entries[i].sortKey += fmt.Sprintf(" with %q, nil: %v", r.Value, r.Value == nil)
		}
	}
	return entries
}

func (m *machine) multiGet(t *rapid.T) {
	hash, sorts, l := aHashKeyOfSeveral.Draw(t, "hash key"), someKeys.Draw(t, "sort keys"), drawLimits(t)
	m.run(t, operation{
		name: "multi get", kind: reading, on: hashed(hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			got, err := m.table.MultiGet(ctx, m.lend(hash), m.lendAll(sorts),
				&pegasus.MultiGetOptions{MaxCount: l.count, MaxBytes: l.bytes, NoValue: l.noValue, Metadata: m.origin})
			if err != nil {
				return "", err
			}
			answer := page{entries: m.entriesOf(got.Records, l.noValue), complete: got.Complete}
			return answer.inWords(l.noValue), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash), empty(sorts)); isRefused {
				return want
			}
			var all []entry
			for _, sort := range sorts {
				if r, ok := w.get(key{hash, sort}); ok {
					all = append(all, entry{sort, r.value})
				}
			}
			n, _ := l.taken(all)
			want := page{entries: all[:n], complete: n == len(all)}
			return want.inWords(l.noValue)
		},
	})
}

// multiGetRange reads a range answer by answer.
func (m *machine) multiGetRange(t *rapid.T) {
	hash, s, l := aHashKeyOfSeveral.Draw(t, "hash key"), drawSpan(t), drawLimits(t)
	reverse := rapid.Bool().Draw(t, "reverse")
	var pages []page
	m.run(t, operation{
		name: "multi get range", kind: reading, on: hashed(hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			start, stop, options := m.lend(s.start), m.lend(s.stop), m.lendSpan(&s, &l, reverse)
			for {
				got, err := m.table.MultiGetRange(ctx, m.lend(hash), start, stop, options)
				if err != nil {
					return "", err
				}
				pages = append(pages, page{m.entriesOf(got.Records, l.noValue), got.Complete, !got.Complete && got.Next == nil})
				if got.Next == nil {
					return inWordsAll(pages, l.noValue), nil
				}
				start, stop, options = got.Next.StartSortKey, got.Next.StopSortKey, got.Next.Options
			}
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash), invalidFilter(s.filter)); isRefused {
				return want
			}
			return inWordsAll(m.pagesOf(w.in(hash, &s), &l, reverse, pages), l.noValue)
		},
	})
}

// lendSpan returns the options of a range.
func (m *machine) lendSpan(s *span, l *limits, reverse bool) *pegasus.RangeOptions {
	return &pegasus.RangeOptions{
		StartExclusive: s.startExclusive, StopInclusive: s.stopInclusive,
		Filter:   pegasus.Filter{Type: s.filter, Pattern: m.lend(s.pattern)},
		MaxCount: l.count, MaxBytes: l.bytes, NoValue: l.noValue, Reverse: reverse, Metadata: m.origin,
	}
}

func invalidFilter(filter pegasus.FilterType) error {
	if filter > pegasus.FilterPostfix {
		return pegasus.ErrInvalidArgument
	}
	return nil
}

// pagesOf returns the answers by which a range is read. That it is complete is known only if there is
// more, or if no limit ended the reading; a server that runs out of time ends it anywhere.
func (m *machine) pagesOf(all []entry, l *limits, reverse bool, got []page) (pages []page) {
	if reverse {
		slices.Reverse(all)
	}
	for i := 0; ; i++ {
		n, limited := l.taken(all)
		var given page
		if i < len(got) {
			given = got[i]
		}
		if m.limited && !given.complete && len(given.entries) <= n {
			n, limited = len(given.entries), true
		}
		next := page{entries: slices.Clone(all[:n]), complete: n == len(all) && (!limited || given.complete)}
		if reverse {
			slices.Reverse(next.entries)
		}
		next.endless = !next.complete && n == 0
		pages, all = append(pages, next), all[n:]
		if next.complete || next.endless {
			return pages
		}
	}
}

// multiGetAll reads a range to its end, whatever ends single answers.
func (m *machine) multiGetAll(t *rapid.T) {
	hash, s, l := aHashKeyOfSeveral.Draw(t, "hash key"), drawSpan(t), drawLimits(t)
	reverse := rapid.Bool().Draw(t, "reverse")
	m.run(t, operation{
		name: "multi get all", inner: []string{"scan"}, kind: reading, on: hashed(hash), excuse: m.outOfTime(),
		call: func(ctx context.Context) (string, error) {
			all := page{complete: true}
			for r, err := range m.table.MultiGetAll(ctx, m.lend(hash), m.lend(s.start), m.lend(s.stop), m.lendSpan(&s, &l, reverse)) {
				if err != nil {
					return "", err
				}
				all.entries = append(all.entries, m.entriesOf([]pegasus.Record{r}, l.noValue)...)
			}
			return all.inWords(l.noValue), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash), invalidFilter(s.filter)); isRefused {
				return want
			}
			all := page{entries: w.in(hash, &s), complete: true}
			if reverse {
				slices.Reverse(all.entries)
			}
			return all.inWords(l.noValue)
		},
	})
}

func (m *machine) multiGetSortKeys(t *rapid.T) {
	hash, l := aHashKeyOfSeveral.Draw(t, "hash key"), drawLimits(t)
	reverse := rapid.Bool().Draw(t, "reverse")
	var s span
	l.noValue = true
	var got page
	m.run(t, operation{
		name: "multi get sort keys", kind: reading, on: hashed(hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			options := m.lendSpan(&s, &l, reverse)
			options.NoValue = false // it means nothing
			sorts, complete, err := m.table.MultiGetSortKeys(ctx, m.lend(hash), options)
			if err != nil {
				return "", err
			}
			got = page{complete: complete, endless: !complete && len(sorts) == 0}
			for _, sort := range sorts {
				got.entries = append(got.entries, entry{sortKey: m.keep(sort)})
			}
			return got.inWords(true), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash)); isRefused {
				return want
			}
			return m.pagesOf(w.in(hash, &s), &l, reverse, []page{got})[0].inWords(true)
		},
	})
}

func (m *machine) sortKeyCount(t *rapid.T) {
	hash := aHashKeyOfSeveral.Draw(t, "hash key")
	m.run(t, operation{
		name: "sort key count", kind: reading, on: hashed(hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			count, err := m.table.SortKeyCount(ctx, m.lend(hash), m.asked())
			if err != nil {
				return "", err
			}
			return fmt.Sprint(count), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash)); isRefused {
				return want
			}
			if m.limited && answered == pegasus.ErrNotCounted.Error() {
				return answered
			}
			return fmt.Sprint(len(w.sorted(hash)))
		},
	})
}

func (m *machine) multiSet(t *rapid.T) {
	hash, ttl := aHashKeyOfSeveral.Draw(t, "hash key"), aTTL.Draw(t, "TTL")
	entries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) entry {
		return entry{aSortKey.Draw(t, "sort key"), aValue.Draw(t, "value")}
	}), 0, 5).Draw(t, "records")
	m.run(t, operation{
		name: "multi set", kind: writing, on: hashed(hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			records := make([]pegasus.Record, len(entries))
			for i, e := range entries {
				records[i] = pegasus.Record{SortKey: m.lend(e.sortKey), Value: m.lend(e.value)}
			}
			return done, m.table.MultiSet(ctx, m.lend(hash), records, pegasus.WithTTL(ttl), m.asked())
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash), empty(entries), invalidTTL(ttl)); isRefused {
				return want
			}
			for _, e := range entries {
				w.put(key{hash, e.sortKey}, e.value, w.expiry(ttl))
			}
			return done
		},
	})
}

func (m *machine) multiDel(t *rapid.T) {
	hash, sorts := aHashKeyOfSeveral.Draw(t, "hash key"), someKeys.Draw(t, "sort keys")
	m.run(t, operation{
		name: "multi del", kind: writing, on: hashed(hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			count, err := m.table.MultiDel(ctx, m.lend(hash), m.lendAll(sorts), m.asked())
			if err != nil {
				return "", err
			}
			return fmt.Sprint(count), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash), empty(sorts)); isRefused {
				return want
			}
			for _, sort := range sorts {
				w.del(key{hash, sort})
			}
			return fmt.Sprint(len(sorts))
		},
	})
}
