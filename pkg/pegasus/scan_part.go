package pegasus

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// A scan of a table is a scan of residue classes of partition hashes. With a partition count of C, class
// i modulo C are the records of partition i, and which servers hold them later, after splits or before a
// split is cancelled, is a matter of routing: every request carries the remainder as its partition hash.
//
// A split of partition i moves class i+C modulo 2C to a new partition. From a moment that no answer
// tells, the scan of partition i goes on without these records. But servers deliver in the order of
// keys, and a partition that has once left records out goes on doing so. So the greatest key of class
// i+C that was received divides the class: what is up to it was received before that moment, and only
// what is after it can be missing. A part remembers that key, and the rest of the class becomes a part
// of its own once the split is known: when a part has to ask anew for another reason, and in any case
// before the scan ends.

// class is a residue class. The zero value is that of all hashes.
type class struct{ modulus, remainder uint64 }

// maxDoublings is how often the partition count may double while a part is being scanned.
const maxDoublings = 4

// part is a class and how far it was scanned. Its keys are raw keys that are never changed.
type part struct {
	class
	// from is the key after which the part was begun, nil for the start of the scan's range.
	from []byte
	// after is the last key that was received, or else from.
	after []byte
	// moved[n] is the last key received of class remainder + modulus<<n modulo modulus<<(n+1), which is
	// what the n-th split from here moves away; nil if there was none.
	moved [maxDoublings][]byte
	// splits is how many of these are known.
	splits int
}

// newPart returns a part that is to be begun after the given key.
func newPart(of class, from []byte) part {
	return part{class: of, from: from, after: from, splits: maxDoublings}
}

// take advances the part over the records of an answer and returns those of its class, in place. Keys
// that do not ascend would have records delivered twice, or the scan go on for ever.
func (p *part) take(records []wire.KeyValue) ([]wire.KeyValue, error) {
	kept, last := records[:0], p.after
	var moved [maxDoublings][]byte
	for i := range records {
		key := records[i].Key
		hashKey, sortKey, err := wire.SplitKey(key)
		if err != nil || bytes.Compare(last, key) >= 0 {
			return nil, fmt.Errorf("%w: key %.40q after %.40q", ErrBadAnswer, key, last)
		}
		last = key
		if p.modulus > 0 {
			hash := wire.KeyHash(hashKey, sortKey)
			quotient := hash / p.modulus
			if hash-quotient*p.modulus != p.remainder {
				continue
			}
			if split := bits.TrailingZeros64(quotient); split < p.splits {
				moved[split] = key
			}
		}
		if len(kept) == i { // the usual case: all are kept, and stay where they are
			kept = records[:i+1]
		} else {
			kept = append(kept, records[i])
		}
	}
	if len(records) > 0 {
		p.remember(last, &moved)
	}
	return kept, nil
}

// remember copies the keys together, since those of an answer would keep all of its memory.
func (p *part) remember(last []byte, moved *[maxDoublings][]byte) {
	size := len(last)
	for _, key := range moved {
		size += len(key)
	}
	memory := make([]byte, 0, size)
	keep := func(key []byte) []byte {
		start := len(memory)
		memory = append(memory, key...)
		return memory[start:len(memory):len(memory)]
	}
	p.after = keep(last)
	for split, key := range moved {
		if key != nil {
			p.moved[split] = keep(key)
		}
	}
}

// errPartitions means that the partition count is not one that splits lead to.
var errPartitions = errors.New("the partition count has changed too much to continue the scan")

// fork narrows the part to what its partition serves with the given partition count, and returns parts
// for what it does not serve. A lower count, of a split that was cancelled, changes nothing: the
// partitions serve more classes than one.
func (p *part) fork(partitions uint64) ([]part, error) {
	if p.modulus == 0 || p.modulus%partitions == 0 {
		return nil, nil
	}
	factor := partitions / p.modulus
	if partitions%p.modulus != 0 || factor&(factor-1) != 0 {
		return nil, fmt.Errorf("%w: %d partitions, once %d", errPartitions, partitions, p.modulus)
	}
	begun := !bytes.Equal(p.from, p.after)
	splits := bits.TrailingZeros64(factor)
	if begun && splits > p.splits {
		return nil, fmt.Errorf("%w: %d partitions, once %d", errPartitions, partitions, p.modulus)
	}
	parts := make([]part, 0, splits)
	for n := range splits {
		from := p.from
		if begun && p.moved[n] != nil {
			from = p.moved[n]
		}
		parts = append(parts, newPart(class{p.modulus << (n + 1), p.remainder + p.modulus<<n}, from))
	}
	p.modulus = partitions
	if begun {
		var moved [maxDoublings][]byte
		copy(moved[:], p.moved[splits:])
		p.moved, p.splits = moved, p.splits-splits
	}
	return parts, nil
}

// walk is how far a scan has come. Copies are independent: its slices are never changed.
type walk struct {
	// active says that part is being scanned.
	active bool
	part   part
	// todo are parts that were not begun.
	todo []part
	// done are parts that were scanned to their ends, from which splits may have moved records.
	done []part
}

// over says whether nothing is left to do.
func (w *walk) over() bool { return !w.active && len(w.todo) == 0 && len(w.done) == 0 }

// begin turns to the next part, if there is one.
func (w *walk) begin() bool {
	if !w.active && len(w.todo) > 0 {
		w.active, w.part, w.todo = true, w.todo[0], w.todo[1:]
	}
	return w.active
}

// finish ends the part being scanned.
func (w *walk) finish() {
	w.active = false
	if w.part.modulus > 0 {
		w.done = append(w.done[:len(w.done):len(w.done)], w.part)
	}
	w.part = part{}
}

// fork narrows the part being scanned, see part.fork.
func (w *walk) fork(partitions int) error {
	parts, err := w.part.fork(uint64(partitions))
	if len(parts) > 0 {
		w.todo = append(parts, w.todo...)
	}
	return err
}

// settle turns what splits have moved away from parts that are done into parts to do. partitions must be
// a count that was current after the last of them was done.
func (w *walk) settle(partitions int) error {
	var moved []part
	for i := range w.done {
		done := w.done[i]
		parts, err := done.fork(uint64(partitions))
		if err != nil {
			return err
		}
		moved = append(moved, parts...)
	}
	w.todo, w.done = append(moved, w.todo...), nil
	return nil
}
