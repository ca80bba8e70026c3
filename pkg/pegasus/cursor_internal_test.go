package pegasus

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// sealed completes a cursor's content.
func sealed(content []byte) []byte {
	return binary.BigEndian.AppendUint32(content, crc32.Checksum(content, castagnoli))
}

// cursors are cursors of every kind.
func cursors() [][]byte {
	key := func(hashKey, sortKey string) []byte {
		raw, _ := wire.AppendKey(nil, []byte(hashKey), []byte(sortKey))
		return raw
	}
	one := scope{appID: 3, start: key("h", "a"), stop: key("i", ""), startInclusive: true, sortKeys: Filter{Type: FilterPrefix, Pattern: []byte("x")}}
	all := scope{appID: 1<<31 - 1, whole: true, start: firstKey, stop: endKey, startInclusive: true, hashKeys: Filter{Type: FilterPostfix, Pattern: []byte{}}}
	begun := newPart(class{8, 3}, key("g", ""))
	begun.after, begun.moved[1], begun.splits = key("h", "b"), key("h", ""), 2
	walks := []walk{
		{},
		{active: true, part: begun, todo: []part{newPart(class{8, 4}, nil), newPart(class{16, 13}, key("", ""))}, done: []part{begun}},
	}
	var list [][]byte
	for i := range walks {
		list = append(list, appendCursor(nil, &all, &walks[i]))
	}
	hashKeyPart := newPart(class{}, nil)
	hashKeyPart.after = key("h", "b")
	list = append(list, appendCursor(nil, &one, &walk{active: true, part: hashKeyPart}))
	return append(list, appendCursor(nil, &one, &walk{todo: []part{newPart(class{}, nil)}}))
}

func TestCursorRoundTrip(t *testing.T) {
	for _, cursor := range cursors() {
		of, at, err := decodeCursor(cursor)
		require.NoError(t, err)
		require.Equal(t, cursor, appendCursor(nil, &of, &at))
	}
}

// A cursor that was damaged in any place, cut or extended is refused, and so is any other content.
func TestDamagedCursors(t *testing.T) {
	for _, cursor := range cursors() {
		for i := range cursor {
			damaged := append([]byte(nil), cursor...)
			damaged[i] ^= 0x40
			_, _, err := decodeCursor(damaged)
			require.ErrorIs(t, err, ErrCursor)
			_, _, err = decodeCursor(cursor[:i])
			require.ErrorIs(t, err, ErrCursor)
			if i > 0 && i < len(cursor)-checksumSize {
				_, _, err = decodeCursor(sealed(append([]byte(nil), cursor[:i]...)))
				require.ErrorIs(t, err, ErrCursor, "cut, and sealed again")
			}
		}
		_, _, err := decodeCursor(sealed(append(append([]byte(nil), cursor[:len(cursor)-checksumSize]...), 0)))
		require.ErrorIs(t, err, ErrCursor)
	}
	for _, nothing := range [][]byte{nil, {}, {cursorVersion}, sealed(nil), sealed([]byte{cursorVersion}), sealed([]byte{2, 0})} {
		_, _, err := decodeCursor(nothing)
		require.ErrorIs(t, err, ErrCursor)
	}
}

// FuzzDecodeCursor has content that somebody has made up, with the right checksum: what is accepted is
// written again as it was, and leads to requests that servers survive.
func FuzzDecodeCursor(f *testing.F) {
	for _, cursor := range cursors() {
		f.Add(cursor[:len(cursor)-checksumSize])
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		of, at, err := decodeCursor(sealed(append([]byte(nil), content...)))
		if err != nil {
			require.ErrorIs(t, err, ErrCursor)
			return
		}
		again, atAgain, err := decodeCursor(appendCursor(nil, &of, &at))
		require.NoError(t, err)
		require.Equal(t, of, again)
		require.Equal(t, at, atAgain)
		safe(t, &of, &at)
	})
}

// safe checks that a server survives the requests of a scan (docs/protocol.md, requests that abort a
// server), and that splits are survived as well.
func safe(t *testing.T, of *scope, at *walk) {
	s := &Scanner{scope: *of}
	s.init(s, scanName, *at)
	for n := 0; n < 100 && s.walk.begin(); n++ {
		for _, partitions := range []int{8, 16, 1 << 20} {
			_ = s.walk.fork(partitions)
		}
		_, _ = s.walk.part.take([]wire.KeyValue{{Key: []byte("\x00\x01hb")}, {Key: []byte("\x00\x02h")}})
		start := s.scope.start
		if s.walk.part.after != nil {
			start = s.walk.part.after
		}
		hashKey, _, err := wire.SplitKey(start)
		require.NoError(t, err)
		require.NotEmpty(t, of.stop)
		require.LessOrEqual(t, len(of.hashKeys.Pattern), wire.MaxHashKeyLength)
		if !of.whole {
			require.NotEmpty(t, hashKey)
			require.Equal(t, FilterNone, of.hashKeys.Type)
		}
		s.walk.finish()
	}
	_ = s.walk.settle(1 << 20)
}

// TestMadeUpCursors has cursors with the right checksum that no Scanner has, of which some would have
// servers abort or the scan go wrong.
func TestMadeUpCursors(t *testing.T) {
	type edit = func(of *scope, at *walk)
	hashKeyScan := func(change edit) edit {
		return func(of *scope, at *walk) {
			*of = scope{appID: 1, start: []byte("\x00\x01ha"), stop: []byte("\x00\x01i"), startInclusive: true}
			*at = walk{active: true, part: newPart(class{}, nil)}
			change(of, at)
		}
	}
	for name, change := range map[string]edit{
		"class of no modulus":       func(_ *scope, at *walk) { at.part.modulus, at.part.remainder = 0, 0 },
		"remainder too large":       func(_ *scope, at *walk) { at.part.remainder = 4 },
		"modulus too large":         func(_ *scope, at *walk) { at.part.modulus = maxModulus + 1 },
		"another range":             func(of *scope, _ *walk) { of.start = []byte("\x00\x01h") },
		"another end":               func(of *scope, _ *walk) { of.stop = []byte("\x00\x01h") },
		"unknown filter":            func(of *scope, _ *walk) { of.sortKeys.Type = 4 },
		"filter pattern too long":   func(of *scope, _ *walk) { of.hashKeys.Pattern = make([]byte, wire.MaxHashKeyLength+1) },
		"position is no key":        func(_ *scope, at *walk) { at.part.after = []byte("\x00\x02h") },
		"empty position":            func(_ *scope, at *walk) { at.part.after = []byte{} },
		"empty start":               hashKeyScan(func(of *scope, _ *walk) { of.start = []byte{} }),
		"no start":                  hashKeyScan(func(of *scope, _ *walk) { of.start = nil }),
		"no stop":                   hashKeyScan(func(of *scope, _ *walk) { of.stop = nil }),
		"no hash key":               hashKeyScan(func(of *scope, _ *walk) { of.start = []byte("\x00\x00h") }),
		"hash key filter":           hashKeyScan(func(of *scope, _ *walk) { of.hashKeys.Type = FilterPrefix }),
		"position in another":       hashKeyScan(func(_ *scope, at *walk) { at.part.after = []byte("\x00\x01i") }),
		"part of a hash key":        hashKeyScan(func(_ *scope, at *walk) { at.part.modulus = 2 }),
		"two parts of a hash key":   hashKeyScan(func(_ *scope, at *walk) { at.todo = []part{at.part} }),
		"done part of a hash key":   hashKeyScan(func(_ *scope, at *walk) { at.done = []part{at.part} }),
		"many parts of a hash key":  hashKeyScan(func(_ *scope, at *walk) { *at = walk{todo: []part{at.part, at.part}} }),
		"split key of another part": hashKeyScan(func(_ *scope, at *walk) { at.part.moved[0] = []byte("\x00\x01g") }),
	} {
		of := scope{appID: 1, whole: true, start: firstKey, stop: endKey, startInclusive: true}
		at := walk{active: true, part: newPart(class{4, 1}, nil)}
		change(&of, &at)
		_, _, err := decodeCursor(appendCursor(nil, &of, &at))
		require.ErrorIs(t, err, ErrCursor, name)
	}
}
