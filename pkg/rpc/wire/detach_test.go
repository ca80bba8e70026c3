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
