package onebox

import (
	"bytes"
	"math"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// keyRange is a range of raw keys.
type keyRange struct {
	start, stop                   []byte
	startInclusive, stopInclusive bool
	// prefix, if there is one, is all that an iterator sees: servers have a prefix bloom filter, with
	// which an iterator ends where the hash key does (docs/protocol.md, full_scan matters).
	prefix []byte
}

// empty tells whether servers see at once that no key can be in the range.
func (k *keyRange) empty() bool {
	order := bytes.Compare(k.start, k.stop)
	return order > 0 || order == 0 && !(k.startInclusive && k.stopInclusive)
}

// raiseStart makes the range start at a key, included, unless it starts there or later already.
func (k *keyRange) raiseStart(start []byte) {
	if bytes.Compare(start, k.start) > 0 {
		k.start, k.startInclusive = start, true
	}
}

// lowerStop makes the range stop before a key, unless it stops earlier already.
func (k *keyRange) lowerStop(stop []byte) {
	if bytes.Compare(stop, k.stop) <= 0 {
		k.stop, k.stopInclusive = stop, false
	}
}

// limits end a walk, tested before each record: so the size may be exceeded by one record.
type limits struct {
	results, examined, size int
}

// never is a limit that is not reached.
const never = math.MaxInt

// walk goes over the records of a range with the steps of a server's iterator, on which the answers at
// the limits depend (docs/protocol.md, multi_get).
type walk struct {
	keyRange
	limits
	reverse bool
	now     uint32
	// wanted tells whether a live record is wanted; add takes one and returns its size.
	wanted func(*item) bool
	add    func(*item) int

	used     limits
	bytes    int // of the results
	started  bool
	complete bool  // the end of the range was recognised, not merely the end of the records
	next     *item // the record before which a limit ended the walk; nil if none did
}

// over walks over an index.
func (w *walk) over(order *index) {
	if w.reverse {
		order.DescendLessOrEqual(&item{key: w.stop}, w.step)
		return
	}
	order.AscendGreaterOrEqual(&item{key: w.start}, w.step)
}

// step does the work at one record and tells whether to go on.
func (w *walk) step(i *item) bool {
	if !bytes.HasPrefix(i.key, w.prefix) {
		return false
	}
	if w.used.results >= w.results || w.used.examined >= w.examined || w.used.size >= w.size {
		w.next = i
		return false
	}
	beyond, last := w.atEnd(i.key)
	if beyond {
		w.complete = true
		return false
	}
	if !w.started {
		w.started = true
		if w.excludesFirst(i.key) {
			return true
		}
	}
	w.used.examined++
	if !i.expired(w.now) && w.wanted(i) {
		w.used.results++
		w.bytes += len(i.key) + len(i.value)
		w.used.size += w.add(i)
	}
	w.complete = last
	return !last
}

// atEnd tells whether a key is beyond the range, or the last that can be in it.
func (w *walk) atEnd(key []byte) (beyond, last bool) {
	order, inclusive := 0, w.stopInclusive
	if w.reverse {
		order, inclusive = bytes.Compare(w.start, key), w.startInclusive
	} else {
		order = bytes.Compare(key, w.stop)
	}
	return order > 0 || order == 0 && !inclusive, order == 0
}

// excludesFirst tells whether the first key is the excluded beginning of the range.
func (w *walk) excludesFirst(key []byte) bool {
	if w.reverse {
		return !w.stopInclusive && bytes.Equal(key, w.stop)
	}
	return !w.startInclusive && bytes.Equal(key, w.start)
}

// filter selects keys. An empty pattern matches everything.
type filter struct {
	kind    wire.FilterType
	pattern []byte
}

// valid tells whether servers know the kind.
func (f filter) valid() bool { return f.kind >= wire.FilterNone && f.kind <= wire.FilterPostfix }

// isPrefix tells whether the filter narrows ranges.
func (f filter) isPrefix() bool { return f.kind == wire.FilterPrefix && len(f.pattern) > 0 }

func (f filter) matches(key []byte) bool {
	switch f.kind {
	case wire.FilterAnywhere:
		return bytes.Contains(key, f.pattern)
	case wire.FilterPrefix:
		return bytes.HasPrefix(key, f.pattern)
	case wire.FilterPostfix:
		return bytes.HasSuffix(key, f.pattern)
	}
	return true
}
