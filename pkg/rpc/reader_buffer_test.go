package rpc

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A size is doubled up to the largest that there can be, also where that is the largest int of 32 bits.
func TestDoubled(t *testing.T) {
	for _, c := range []struct{ size, most, want int }{
		{64 << 10, 128 << 20, 128 << 10},
		{64 << 20, 128 << 20, 128 << 20},
		{64<<20 + 1, 128 << 20, 128 << 20},
		{1 << 30, 1<<30 + 1, 1<<30 + 1},
		{1 << 30, math.MaxInt32, math.MaxInt32},
		{1 << 29, math.MaxInt32, 1 << 30},
		{math.MaxInt/2 + 1, math.MaxInt, math.MaxInt},
	} {
		require.Equal(t, c.want, doubled(c.size, c.most), "%d of %d", c.size, c.most)
	}
}

// The buffer grows no further than for the largest answer, for which there is room to its last byte.
func TestBufferGrowsNoFurtherThanAnAnswer(t *testing.T) {
	const limit = 300_000
	r := bareReader(limit)
	for received := 1; received < limit; received += 777 {
		r.end = received
		r.makeRoom()
		require.Zero(t, r.start)
		require.Equal(t, received, r.end)
		require.Greater(t, len(r.buffer), received)
		require.LessOrEqual(t, len(r.buffer), limit)
	}
	require.Len(t, r.buffer, limit)
	before := &r.buffer[0]
	r.makeRoom()
	require.Same(t, before, &r.buffer[0], "what comes in pieces is not copied for each of them")

	r.start, r.end = 100, limit // of the next frame, as much came as there was room for
	r.makeRoom()
	require.Zero(t, r.start)
	require.Equal(t, limit-100, r.end)
	require.Len(t, r.buffer, limit)

	small := bareReader(1 << 10)
	small.start, small.end = 1, readBufferSize // several answers, and a part of one
	small.makeRoom()
	require.Len(t, small.buffer, readBufferSize)
}

// Answers of exactly the largest size come through, one after the other and however they are cut.
func TestProtocolLargestAnswers(t *testing.T) {
	for _, chunk := range []int{0, 4001, 100_001} {
		bubble(t, func(t *testing.T) {
			const limit, count = 150_000, 5
			r := newRig(t, Options{MaxResponseBytes: limit})
			r.network.SetChunk(address, chunk)
			p := r.connect()
			calls := r.startInOrder(count)
			var answers [][]byte
			for range count {
				a := p.mustNext()
				answers = append(answers, a.answerWith([]byte(strings.Repeat(a.key[4:], limit-len(a.answerWith(nil))))))
				require.Len(t, answers[len(answers)-1], limit)
			}
			go p.write(answers...)
			for _, c := range calls {
				require.NoError(t, c.result())
				require.Empty(t, strings.Trim(string(c.value), string(c.key[4:])))
			}
		})
	}
}
