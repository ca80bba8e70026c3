package wire_test

import (
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
	require.Len(t, messages, 25)
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

// Decoding costs no allocation if the caller keeps the Reader and the struct.
func TestDecodersOfDataAllocateNothing(t *testing.T) {
	reader, response := new(wire.Reader), new(wire.Response)
	for _, m := range []message{
		&wire.GetResponse{Value: []byte("v"), Origin: exampleOrigin},
		&wire.TTLResponse{Seconds: 1, Origin: exampleOrigin},
		&wire.UpdateResponse{Decree: 1, Origin: exampleOrigin},
		&wire.PutRequest{Key: exampleKey, Value: []byte("v")},
	} {
		frame := wire.AppendResponse(nil, wire.ErrBusy, wire.Get, 1, m)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			if _, err := wire.ResponseSize(frame, len(frame)); err != nil {
				t.Error(err)
			}
			if err := wire.ParseResponse(frame, response); err != nil {
				t.Error(err)
			}
			if err := wire.DecodeResult(reader, response.Result, m); err != nil {
				t.Error(err)
			}
		}), "%T", m)
	}
}
