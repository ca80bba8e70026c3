package pegasus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Cursor returns where the scan stands, as bytes with which [Table.ResumeScanner] goes on after the last
// record that Next has returned: in another process too, and at any later time, as long as the table is
// the same. They hold the range, the filters and some keys, in the clear.
func (s *Scanner) Cursor() []byte {
	at := s.position()
	return appendCursor(nil, &s.scope, &at)
}

// ResumeScanner returns a Scanner that goes on where another one, of the same table, stood when its
// Cursor was taken. What is scanned comes from the cursor: of the options, StartExclusive, StopInclusive
// and the filters mean nothing. It fails with ErrCursor if the bytes are none of this package's cursors,
// or were damaged, and with ErrTableReplaced if they are one of another table. A checksum finds damage;
// bytes made up to deceive cannot do more than to have other records scanned.
func (t *Table) ResumeScanner(cursor []byte, options *ScanOptions) (*Scanner, error) {
	o, err := scanOptions(options)
	if err != nil {
		return nil, t.invalid(scanName, err)
	}
	of, at, err := decodeCursor(cursor)
	if err == nil && of.appID != t.routing.Load().Value().AppID {
		err = fmt.Errorf("%w, or the cursor is of another table", ErrTableReplaced)
	}
	if err != nil {
		return nil, t.invalid(scanName, err)
	}
	return t.newScanner(scanName, of, &o, at), nil
}

// A cursor is a version, the scope, the parts, and a checksum of all that. Numbers are uvarints but for
// the checksum; bytes are a length and themselves, with the length one more for bytes that may be nil.
const (
	cursorVersion  = 1
	checksumSize   = 4
	flagWhole      = 1 << 0
	flagStart      = 1 << 1 // the start belongs to the range
	flagStop       = 1 << 2
	flagActive     = 1 << 3 // the first part was begun
	allCursorFlags = 1<<4 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendCursor(dst []byte, of *scope, at *walk) []byte {
	flags := flagIf(flagWhole, of.whole) | flagIf(flagStart, of.startInclusive) |
		flagIf(flagStop, of.stopInclusive) | flagIf(flagActive, at.active)
	dst = append(dst, cursorVersion)
	dst = binary.AppendUvarint(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(of.appID))
	dst = appendOptional(appendOptional(dst, of.start), of.stop)
	for _, filter := range []*Filter{&of.hashKeys, &of.sortKeys} {
		dst = appendOptional(binary.AppendUvarint(dst, uint64(filter.Type)), filter.Pattern)
	}
	if at.active {
		dst = appendPart(dst, &at.part)
	}
	for _, parts := range [][]part{at.todo, at.done} {
		dst = binary.AppendUvarint(dst, uint64(len(parts)))
		for i := range parts {
			dst = appendPart(dst, &parts[i])
		}
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

func flagIf(flag uint64, set bool) uint64 {
	if set {
		return flag
	}
	return 0
}

func appendPart(dst []byte, p *part) []byte {
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, p.modulus), p.remainder)
	dst = appendOptional(appendOptional(dst, p.from), p.after)
	dst = binary.AppendUvarint(dst, uint64(p.splits))
	for _, key := range p.moved[:p.splits] {
		dst = appendOptional(dst, key)
	}
	return dst
}

func appendOptional(dst, data []byte) []byte {
	if data == nil {
		return binary.AppendUvarint(dst, 0)
	}
	return append(binary.AppendUvarint(dst, uint64(len(data))+1), data...)
}

// cursorReader reads a cursor. The first fault sticks.
type cursorReader struct {
	rest  []byte
	fault string
}

func decodeCursor(cursor []byte) (of scope, at walk, err error) {
	r := cursorReader{}
	end := len(cursor) - checksumSize
	switch {
	case end < 1:
		r.fail("too short")
	case crc32.Checksum(cursor[:end], castagnoli) != binary.BigEndian.Uint32(cursor[end:]):
		r.fail("damaged")
	case cursor[0] != cursorVersion:
		r.fail("of another version")
	default:
		r.rest = bytes.Clone(cursor[1:end])
	}
	flags := r.number(allCursorFlags)
	of = r.scope(flags)
	if at.active = flags&flagActive != 0; at.active {
		at.part = r.part(&of)
	}
	at.todo, at.done = r.parts(&of), r.parts(&of)
	r.check(len(r.rest) == 0, "too long")
	if !of.whole {
		r.check(len(at.done) == 0 && (!at.active || len(at.todo) == 0) && len(at.todo) <= 1, "too many parts")
	}
	if r.fault != "" {
		return scope{}, walk{}, fmt.Errorf("%w: %s", ErrCursor, r.fault)
	}
	return of, at, nil
}

func (r *cursorReader) fail(fault string) {
	if r.fault == "" {
		r.fault = fault
	}
	r.rest = nil
}

func (r *cursorReader) check(holds bool, fault string) {
	if !holds {
		r.fail(fault)
	}
}

// number reads a number up to most.
func (r *cursorReader) number(most uint64) uint64 {
	value, size := binary.Uvarint(r.rest)
	if size <= 0 || value > most {
		r.fail("number out of range")
		return 0
	}
	r.rest = r.rest[size:]
	return value
}

func (r *cursorReader) optional() []byte {
	length := r.number(uint64(len(r.rest)))
	if length == 0 {
		return nil
	}
	if length--; length > uint64(len(r.rest)) {
		r.fail("truncated")
		return nil
	}
	data := r.rest[:length:length]
	r.rest = r.rest[length:]
	return data
}

// scope reads what is scanned, and refuses what servers would not survive (docs/protocol.md, requests
// that abort a server).
func (r *cursorReader) scope(flags uint64) scope {
	const maxAppID = 1<<31 - 1
	of := scope{
		whole: flags&flagWhole != 0, startInclusive: flags&flagStart != 0, stopInclusive: flags&flagStop != 0,
		appID: int32(r.number(maxAppID)), start: r.optional(), stop: r.optional(),
	}
	for _, filter := range []*Filter{&of.hashKeys, &of.sortKeys} {
		filter.Type, filter.Pattern = FilterType(r.number(uint64(FilterPostfix))), r.optional()
	}
	if of.whole {
		r.check(len(of.hashKeys.Pattern) <= wire.MaxHashKeyLength && bytes.Equal(of.start, firstKey) && bytes.Equal(of.stop, endKey), "not the range of a table")
		return of
	}
	hashKey, _, err := wire.SplitKey(of.start)
	r.check(err == nil && len(hashKey) > 0 && of.hashKeys.Type == FilterNone && len(of.stop) > 0, "not the range of a hash key")
	of.hash = wire.KeyHash(hashKey, nil)
	return of
}

func (r *cursorReader) parts(of *scope) []part {
	count := r.number(uint64(len(r.rest))) // each takes at least a byte
	if count == 0 {
		return nil
	}
	parts := make([]part, 0, min(count, 1024))
	for range count {
		if r.fault != "" {
			return nil
		}
		parts = append(parts, r.part(of))
	}
	return parts
}

// maxModulus is more than the partitions of any table, doubled some times.
const maxModulus = 1 << 30

func (r *cursorReader) part(of *scope) (p part) {
	p.modulus, p.remainder = r.number(maxModulus), r.number(maxModulus)
	p.from, p.after = r.key(of), r.key(of)
	p.splits = int(r.number(maxDoublings))
	for split := range p.splits {
		p.moved[split] = r.key(of)
	}
	if of.whole {
		r.check(p.remainder < p.modulus, "not a class")
	} else {
		r.check(p.modulus == 0 && p.remainder == 0, "a class of a hash key")
	}
	return p
}

// key reads a raw key or nil. In a scan of one hash key, it has that.
func (r *cursorReader) key(of *scope) []byte {
	key := r.optional()
	if key == nil {
		return nil
	}
	hashKey, _, err := wire.SplitKey(key)
	r.check(err == nil, "not a key")
	if !of.whole {
		own, _, _ := wire.SplitKey(of.start)
		r.check(bytes.Equal(hashKey, own), "a key of another hash key")
	}
	return key
}
