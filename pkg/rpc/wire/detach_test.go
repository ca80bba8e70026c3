package wire_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// detached is a result that is taken as it is.
type detached []byte

func (d *detached) Decode(r *wire.Reader) { *d = r.Detach() }

// What is detached is decoded as if it had not been, after the frame is gone, also if it is cut or has
// too much.
func TestDetach(t *testing.T) {
	want := wire.ScanResponse{
		Records: []wire.KeyValue{{Key: []byte("key"), Value: []byte("value")}}, ContextID: -7,
		Origin: wire.Origin{Server: []byte("server")},
	}
	frame := wire.AppendResponse(nil, wire.ErrOK, wire.Scan, 1, &want)
	var response wire.Response
	require.NoError(t, wire.ParseResponse(frame, &response))
	whole := response.Result
	bodies := [][]byte{whole, append(bytes.Clone(whole), 1), append(bytes.Clone(whole), 0)}
	for i := range whole {
		bodies = append(bodies, bytes.Clone(whole[:i]))
	}
	for _, body := range bodies {
		var reader wire.Reader
		var direct, late wire.ScanResponse
		wantErr := wire.DecodeResult(&reader, bytes.Clone(body), &direct)
		frame, taken := bytes.Clone(body), detached{}
		if err := wire.DecodeResult(&reader, frame, &taken); err != nil {
			require.Error(t, wantErr)
			continue
		}
		clear(frame)
		err := wire.DecodeDetached(&reader, taken, &late)
		require.Equal(t, wantErr == nil, err == nil)
		if err == nil {
			require.Equal(t, want, late)
		}
	}
}

// The status is found in every response that has one, and in nothing else.
func TestDetachedStatus(t *testing.T) {
	const status = wire.StatusCorruption
	for _, response := range []wire.Arguments{
		&wire.GetResponse{Status: status, Value: []byte("value")}, &wire.TTLResponse{Status: status, Seconds: 7},
		&wire.MultiGetResponse{Status: status}, &wire.BatchGetResponse{Status: status}, &wire.CountResponse{Status: status, Count: 7},
		&wire.ScanResponse{Status: status}, &wire.UpdateResponse{Status: status}, &wire.IncrResponse{Status: status},
		&wire.CheckResponse{Status: status}, &wire.MultiRemoveResponse{Status: status},
	} {
		var reader wire.Reader
		var parsed wire.Response
		var taken detached
		frame := wire.AppendResponse(nil, wire.ErrOK, wire.Get, 1, response)
		require.NoError(t, wire.ParseResponse(frame, &parsed))
		require.NoError(t, wire.DecodeResult(&reader, parsed.Result, &taken))
		got, ok := wire.DetachedStatus(taken)
		require.True(t, ok, "%T", response)
		require.Equal(t, status, got, "%T", response)
	}
	for _, answer := range []string{"", "\x00", "\x08", "\x08\x00\x01", "\x08\x00\x01\x00\x00\x00", "\x08\x00\x02\x00\x00\x00\x00\x00", "\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		_, ok := wire.DetachedStatus([]byte(answer))
		require.False(t, ok, "%q", answer)
	}
}
