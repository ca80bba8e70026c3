package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

func TestEncodersAllocateNothing(t *testing.T) {
	dst := make([]byte, 0, 1<<16)
	number := wire.Int64(1 << 40)
	messages := []wire.Arguments{&exampleKey, &number}
	for _, l := range messageLayouts() {
		m, ok := l.want.(message)
		require.True(t, ok)
		messages = append(messages, m)
	}
	for _, m := range messages {
		require.Zero(t, testing.AllocsPerRun(10, func() {
			wire.AppendRequestV0(dst, &exampleHeader, wire.Put, 1, m)
			wire.AppendRequestV1(dst, &exampleHeader, wire.Put, 1, m)
			wire.AppendResponse(dst, wire.ErrOK, wire.Put, 1, m)
		}), "%T", m)
	}
	require.Len(t, messages, 24)
}

func TestKeysAllocateNothing(t *testing.T) {
	dst := make([]byte, 0, 1<<16)
	hashKey, sortKey := make([]byte, 5000), make([]byte, 5000)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		raw, err := wire.AppendKey(dst, hashKey, sortKey)
		if _, _, splitErr := wire.SplitKey(raw); err != nil || splitErr != nil {
			t.Error(err, splitErr)
		}
		wire.KeyHash(hashKey, sortKey)
		wire.NextKey(raw)
	}))
}

// Decoding costs no allocation if the caller keeps the Reader and the struct, except one for each list.
// What is decoded of routing outlives the frame, so that its strings are copied: of those here, the
// names of two nodes (the name of the table is too short to cost anything).
func TestDecodersAllocateListsOnly(t *testing.T) {
	reader, response := new(wire.Reader), new(wire.Response)
	for _, l := range messageLayouts() {
		m := l.newMessage()
		want := float64(strings.Count(strings.Join(l.fields, ""), "0f000"))
		if _, ok := m.(*wire.QueryConfigResponse); ok {
			want += 2 - 1 // the last list is empty
		}
		frame := wire.AppendResponse(nil, wire.ErrBusy, wire.Get, 1, verbatim(wrap("0c0000", content(l.fields), "")))
		require.Equal(t, want, testing.AllocsPerRun(10, func() {
			if _, err := wire.ResponseSize(frame, len(frame)); err != nil {
				t.Error(err)
			}
			if err := wire.ParseResponse(frame, response); err != nil {
				t.Error(err)
			}
			if err := wire.DecodeResult(reader, response.Result, m); err != nil {
				t.Error(err)
			}
		}), l.name)
	}
}

func TestParseRequestAllocatesNothing(t *testing.T) {
	request := new(wire.Request)
	for _, frame := range []string{exampleV0, exampleV1} {
		encoded := fromHex(frame)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			if size, err := wire.ParseRequest(encoded, request); err != nil || size != len(encoded) {
				t.Error(size, err)
			}
		}))
	}
}

func TestBodySizeAllocatesNothing(t *testing.T) {
	for _, l := range messageLayouts() {
		if request, ok := l.want.(sized); ok {
			require.Zero(t, testing.AllocsPerRun(10, func() { request.BodySize() }), l.name)
		}
	}
}

// owning is a result that may keep its bytes.
type owning[R wire.Result] struct {
	result R
	own    bool
}

func (o *owning[R]) Decode(r *wire.Reader) {
	if o.own {
		r.Own()
	}
	o.result.Decode(r)
}

// What is decoded after Own is not touched by what happens to the frame, and costs one allocation.
func TestOwn(t *testing.T) {
	body := append(exampleResult.AppendField(nil, 0), 0)
	frame, reader := bytes.Clone(body), new(wire.Reader)
	result := owning[*wire.GetResponse]{new(wire.GetResponse), true}
	require.NoError(t, wire.DecodeResult(reader, frame, &result))
	clear(frame)
	require.Equal(t, exampleResult, *result.result)
	require.Equal(t, 1.0, testing.AllocsPerRun(10, func() {
		if err := wire.DecodeResult(reader, body, &result); err != nil {
			t.Error(err)
		}
	}))

	var fault *wire.DecodeError
	require.ErrorAs(t, wire.DecodeResult(reader, body[:20], &result), &fault)
	whole := fault.Offset
	require.ErrorAs(t, wire.DecodeResult(reader, body[:20], result.result), &fault)
	require.Equal(t, fault.Offset, whole, "faults are where they are without Own")
}
