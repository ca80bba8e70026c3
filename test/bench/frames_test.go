package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// reply returns a good reply to a get.
func reply(value string, seq int32) []byte {
	return wire.AppendResponse(nil, wire.ErrOK, wire.Get, seq, &wire.GetResponse{Value: []byte(value)})
}

// pieces is a connection that delivers a stream in pieces of given lengths, then the rest.
type pieces struct {
	net.Conn
	data    []byte
	lengths []int
}

func (p *pieces) Read(buffer []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := min(len(p.data), len(buffer))
	if len(p.lengths) > 0 {
		n = min(n, p.lengths[0])
		p.lengths = p.lengths[1:]
	}
	copy(buffer, p.data[:n])
	p.data = p.data[n:]
	return n, nil
}

// TestRepliesAreCountedOnce cuts a stream of replies anywhere.
func TestRepliesAreCountedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringN(0, 40, -1).Draw(t, "value")
		size := len(reply(value, 0))
		count := rapid.IntRange(0, 20).Draw(t, "count")
		var data []byte
		for i := range count {
			data = append(data, reply(value, int32(i))...)
		}
		rest := reply(value, 0)[:rapid.IntRange(0, size-1).Draw(t, "rest")]
		lengths := rapid.SliceOf(rapid.IntRange(1, 2*size)).Draw(t, "lengths")
		s := &stream{
			conn:  &pieces{data: append(data, rest...), lengths: lengths},
			sizes: []int{size}, buffer: make([]byte, 2*size),
		}
		total := 0
		for {
			replies, err := s.receive()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			total += replies
		}
		require.Equal(t, count, total)
		require.Equal(t, rest, s.buffer[:s.filled])
	})
}

func TestRefusalsAreNotCounted(t *testing.T) {
	good := reply("value", 1)
	refusal := wire.AppendResponse(nil, wire.ErrBusy, wire.Get, 2, nil)
	count, counted, err := countReplies(append(bytes.Clone(good), refusal...), []int{len(good)})
	require.ErrorContains(t, err, "the server refuses")
	require.Equal(t, 1, count)
	require.Equal(t, len(good), counted)

	_, _, err = countReplies([]byte{0xff, 0xff, 0xff, 0xff}, []int{len(good)})
	require.Error(t, err)
}

func TestReadReply(t *testing.T) {
	first, second := reply("value", 1), reply("", 2)
	r := bytes.NewReader(append(bytes.Clone(first), second...))
	for _, want := range [][]byte{first, second} {
		got, err := readReply(r)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := readReply(r)
	require.ErrorIs(t, err, io.EOF)
	_, err = readReply(bytes.NewReader(first[:len(first)-1]))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = readReply(bytes.NewReader([]byte{0, 0, 0, 0}))
	require.Error(t, err)
}

func TestCheckReply(t *testing.T) {
	require.NoError(t, checkReply(getKind, reply("value", 1)))
	require.NoError(t, checkReply(setKind, wire.AppendResponse(nil, wire.ErrOK, wire.Put, 1, &wire.UpdateResponse{})))
	for want, frame := range map[string][]byte{
		"ERR_BUSY": wire.AppendResponse(nil, wire.ErrBusy, wire.Get, 1, nil),
		"status 1": wire.AppendResponse(nil, wire.ErrOK, wire.Get, 1, &wire.GetResponse{Status: wire.StatusNotFound}),
	} {
		require.ErrorContains(t, checkReply(getKind, frame), want)
	}
	require.ErrorIs(t, checkReply(getKind, wire.AppendResponse(nil, wire.ErrOK, wire.Get, 1, nil)), wire.ErrTruncated)
	require.Error(t, checkReply(getKind, []byte("not a frame")))
}
