package hostile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// mutant is what a server sends in place of an answer.
type mutant struct {
	frame []byte
	// The sequence id of the request is written here before the frame is sent, unless it is negative.
	sequenceAt int
	closes     bool // the connection is closed after the frame
	chunk      int  // the frame comes in pieces of so many bytes, 0: in one
}

// mutators make mutants of recorded responses.
var mutators = map[string]func(r *rand.Rand, of *recording, all []*recording) mutant{
	"bits flipped":         bitsFlipped,
	"bytes overwritten":    bytesOverwritten,
	"cut and closed":       cutAndClosed,
	"cut and silent":       cut,
	"bytes inserted":       bytesInserted,
	"bytes removed":        bytesRemoved,
	"huge length inside":   hugeLength,
	"frame length wrong":   frameLengthWrong,
	"wrong sequence id":    wrongSequence,
	"result of another":    resultOfAnother,
	"name of another":      nameOfAnother,
	"noise":                noise,
	"twice":                twice,
	"noise behind":         noiseBehind,
	"error name changed":   errorNameChanged,
	"byte by byte":         byteByByte,
	"never ending numbers": neverEnding,
}

// whole is the recorded response as an answer to the request.
func whole(of *recording) mutant {
	return named(of, of.method)
}

// named is the recorded response as an answer to a request of the given method.
func named(of *recording, method *wire.Method) mutant {
	frame, at := of.answer(method)
	return mutant{frame: frame, sequenceAt: at}
}

func bitsFlipped(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	for range 1 + r.IntN(8) {
		m.frame[r.IntN(len(m.frame))] ^= 1 << r.IntN(8)
	}
	return m
}

func bytesOverwritten(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	for range 1 + r.IntN(4) {
		m.frame[r.IntN(len(m.frame))] = []byte{0, 1, 0x0b, 0x0c, 0x0d, 0x0f, 0x7f, 0x80, 0xff}[r.IntN(9)]
	}
	return m
}

func cut(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	m.frame = m.frame[:1+r.IntN(len(m.frame)-1)]
	return m
}

func cutAndClosed(r *rand.Rand, of *recording, all []*recording) mutant {
	m := cut(r, of, all)
	m.closes = true
	return m
}

func bytesInserted(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	m.frame = slices.Insert(m.frame, m.afterSequence(r), random(r, 1+r.IntN(20))...)
	return m
}

// afterSequence returns a place in the frame behind the sequence id, possibly its end.
func (m *mutant) afterSequence(r *rand.Rand) int {
	first := m.sequenceAt + 4
	return first + r.IntN(len(m.frame)-first+1)
}

func random(r *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func bytesRemoved(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	at := m.afterSequence(r)
	m.frame = slices.Delete(m.frame, at, min(at+1+r.IntN(8), len(m.frame)))
	return m
}

// huge are lengths that nothing has.
var huge = []uint32{0x7fffffff, 0xffffffff, 0x80000000, 0x00ffffff, 0x40000000, 0x7ffffff0}

func hugeLength(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	if at := m.afterSequence(r); at+4 <= len(m.frame) {
		binary.BigEndian.PutUint32(m.frame[at:], huge[r.IntN(len(huge))])
	}
	return m
}

func frameLengthWrong(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	length := binary.BigEndian.Uint32(m.frame)
	binary.BigEndian.PutUint32(m.frame, append(huge, 0, 1, length-1, length+1, length*2)[r.IntN(len(huge)+5)])
	return m
}

func wrongSequence(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	sequence := []int32{0, -1, 1, 2, 3, 1 << 30, int32(r.Uint32())}[r.IntN(7)]
	binary.BigEndian.PutUint32(m.frame[m.sequenceAt:], uint32(sequence))
	m.sequenceAt = -1
	return m
}

// other returns a recording of another method.
func other(r *rand.Rand, of *recording, all []*recording) *recording {
	for {
		if o := all[r.IntN(len(all))]; o.method != of.method {
			return o
		}
	}
}

func resultOfAnother(r *rand.Rand, of *recording, all []*recording) mutant {
	return named(other(r, of, all), of.method)
}

func nameOfAnother(r *rand.Rand, of *recording, all []*recording) mutant {
	return named(of, other(r, of, all).method)
}

func noise(r *rand.Rand, _ *recording, _ []*recording) mutant {
	return mutant{frame: random(r, 1+r.IntN(2000)), sequenceAt: -1}
}

func twice(_ *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	m.frame = append(m.frame, m.frame...) // the second time with an id of nobody
	return m
}

func noiseBehind(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	m.frame = append(m.frame, random(r, 1+r.IntN(500))...)
	return m
}

func errorNameChanged(r *rand.Rand, of *recording, _ []*recording) mutant {
	names := []wire.ErrorName{"", "ERR", "ERR_OF_TOMORROW", wire.ErrBusy, wire.ErrInvalidState, wire.ErrorName(bytes.Repeat([]byte("E"), 5000))}
	changed := *of
	changed.response.Error = names[r.IntN(len(names))]
	return whole(&changed)
}

func byteByByte(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	m.chunk = 1 + r.IntN(3)
	return m
}

// neverEnding is a response that announces much and goes on for longer than it should.
func neverEnding(r *rand.Rand, of *recording, _ []*recording) mutant {
	m := whole(of)
	binary.BigEndian.PutUint32(m.frame, maxResponse+uint32(r.IntN(2))) // the greatest, or beyond
	m.frame = append(m.frame, make([]byte, 1<<16)...)
	m.chunk = 1 << 12
	return m
}
