package model_test

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// key names a record.
type key struct{ hash, sort string }

// record is what a table has under a key.
type record struct {
	value   string
	expires int64 // Unix seconds; 0: never
}

// world is what a table may hold, as far as its user knows. Records that have expired stay until they are
// overwritten; nothing but live and sorted looks at them.
type world struct {
	now        int64 // Unix seconds, of client and servers
	defaultTTL int64 // seconds that records without an expiry live; 0: for ever
	records    map[key]record
}

func (w *world) clone() *world {
	c := *w
	c.records = maps.Clone(w.records)
	return &c
}

// equal says whether nobody can tell the worlds apart, now or later.
func (w *world) equal(other *world) bool {
	return maps.Equal(w.alive(), other.alive())
}

func (w *world) alive() map[key]record {
	alive := maps.Clone(w.records)
	maps.DeleteFunc(alive, func(_ key, r record) bool { return w.expired(r) })
	return alive
}

func (w *world) expired(r record) bool { return r.expires > 0 && r.expires <= w.now }

// get returns a record that exists.
func (w *world) get(k key) (record, bool) {
	r, ok := w.records[k]
	if !ok || w.expired(r) {
		return record{}, false
	}
	return r, true
}

// put writes a record that expires at the given time, 0 for never.
func (w *world) put(k key, value string, expires int64) {
	if expires == 0 && w.defaultTTL > 0 {
		expires = w.now + w.defaultTTL
	}
	w.records[k] = record{value, expires}
}

func (w *world) del(k key) { delete(w.records, k) }

// expiry is when a record with a TTL, which need not be whole seconds, expires.
func (w *world) expiry(ttl time.Duration) int64 {
	if ttl == 0 {
		return 0
	}
	return w.now + int64((ttl+time.Second-1)/time.Second)
}

// entry is a record with its sort key.
type entry struct{ sortKey, value string }

// sorted returns the records of a hash key in ascending order.
func (w *world) sorted(hash string) []entry {
	var all []entry
	for k := range w.records {
		if r, ok := w.get(k); ok && k.hash == hash {
			all = append(all, entry{k.sort, r.value})
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.sortKey, b.sortKey) })
	return all
}

// span is a range of the sort keys of a hash key, and which of them are wanted.
type span struct {
	start, stop                   string
	startExclusive, stopInclusive bool
	filter                        pegasus.FilterType
	pattern                       string
}

// has says whether a sort key is in the range. An empty stop is none.
func (s *span) has(sortKey string) bool {
	after := cmp.Compare(sortKey, s.start)
	if after < 0 || after == 0 && s.startExclusive {
		return false
	}
	if s.stop != "" {
		beyond := cmp.Compare(sortKey, s.stop)
		if beyond > 0 || beyond == 0 && !s.stopInclusive {
			return false
		}
	}
	return matches(s.filter, sortKey, s.pattern)
}

// matches says whether a filter selects a key.
func matches(filter pegasus.FilterType, key, pattern string) bool {
	switch filter {
	case pegasus.FilterAnywhere:
		return strings.Contains(key, pattern)
	case pegasus.FilterPrefix:
		return strings.HasPrefix(key, pattern)
	case pegasus.FilterPostfix:
		return strings.HasSuffix(key, pattern)
	}
	return true
}

// in returns the records of a hash key in a range, in ascending order.
func (w *world) in(hash string, s *span) []entry {
	return slices.DeleteFunc(w.sorted(hash), func(e entry) bool { return !s.has(e.sortKey) })
}

// verdict is how a check ends.
type verdict int

const (
	failed verdict = iota
	passed
	notInteger
)

// relations are those of bytes and integers, in the order of the check types.
var relations = []func(order int) bool{
	func(order int) bool { return order < 0 },
	func(order int) bool { return order <= 0 },
	func(order int) bool { return order == 0 },
	func(order int) bool { return order >= 0 },
	func(order int) bool { return order > 0 },
}

// check tests a condition (docs/protocol.md, check types).
func (w *world) check(k key, condition pegasus.CheckType, operand string) verdict {
	r, exists := w.get(k)
	switch condition {
	case pegasus.CheckNone:
		return passed
	case pegasus.CheckNotExist:
		return passedIf(!exists)
	case pegasus.CheckNotExistOrEmpty:
		return passedIf(!exists || r.value == "")
	case pegasus.CheckExist:
		return passedIf(exists)
	case pegasus.CheckNotEmpty:
		return passedIf(exists && r.value != "")
	}
	if !exists {
		return failed
	}
	switch condition {
	case pegasus.CheckMatchAnywhere:
		return passedIf(strings.Contains(r.value, operand))
	case pegasus.CheckMatchPrefix:
		return passedIf(strings.HasPrefix(r.value, operand))
	case pegasus.CheckMatchPostfix:
		return passedIf(strings.HasSuffix(r.value, operand))
	}
	if condition <= pegasus.CheckBytesGreater {
		order := bytes.Compare([]byte(r.value), []byte(operand))
		return passedIf(relations[condition-pegasus.CheckBytesLess](order))
	}
	value, ok := integer(r.value)
	number, numeric := integer(operand)
	if !ok || !numeric {
		return notInteger
	}
	return passedIf(relations[condition-pegasus.CheckIntLess](cmp.Compare(value, number)))
}

func passedIf(condition bool) verdict {
	if condition {
		return passed
	}
	return failed
}
