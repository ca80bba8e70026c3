package hostile

import (
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// recording is the response of a real server to a request for data; pkg/rpc/wire/testdata/README.md
// explains where it comes from.
type recording struct {
	name     string
	method   *wire.Method
	response wire.Response
	frame    []byte
}

// recordings returns all recorded responses to requests of the methods that
// methodOf knows.
func recordings(t testing.TB, methodOf func(name string) *wire.Method) (all []*recording) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "..", "pkg", "rpc", "wire", "testdata", "*", "*.json.gz"))
	require.NoError(t, err)
	for _, path := range paths {
		file, err := os.Open(path)
		require.NoError(t, err)
		plain, err := gzip.NewReader(file)
		require.NoError(t, err)
		var exchanges []struct {
			Name     string `json:"name"`
			RPC      string `json:"rpc"`
			Response string `json:"response_hex"`
		}
		require.NoError(t, json.NewDecoder(plain).Decode(&exchanges))
		require.NoError(t, file.Close())
		for _, e := range exchanges {
			if made := methodOf(e.RPC); made != nil && e.Response != "" {
				all = append(all, newRecording(t, strings.TrimSuffix(filepath.Base(path), ".json.gz")+"/"+e.Name, made, e.Response))
			}
		}
	}
	require.NotEmpty(t, all)
	return all
}

func newRecording(t testing.TB, name string, made *wire.Method, text string) *recording {
	t.Helper()
	frame, err := hex.DecodeString(text)
	require.NoError(t, err, name)
	r := &recording{name: name, method: made, frame: frame}
	require.NoError(t, wire.ParseResponse(frame, &r.response), name)
	return r
}

// result is the result of a recorded response, as it is.
type result []byte

// AppendField implements wire.Arguments. It leaves out the last byte, the STOP of the surrounding struct.
func (b result) AppendField(dst []byte, _ int16) []byte { return append(dst, b[:len(b)-1]...) }

// answer returns the recorded response as one to a request of the given method, and the place in it of
// the sequence id, which is 0.
func (r *recording) answer(method *wire.Method) (frame []byte, sequenceAt int) {
	encode := func(sequence int32) []byte {
		if len(r.response.Result) == 0 {
			return wire.AppendResponse(nil, r.response.Error, method, sequence, nil)
		}
		return wire.AppendResponse(nil, r.response.Error, method, sequence, result(r.response.Result))
	}
	zeros, ones := encode(0), encode(-1)
	for zeros[sequenceAt] == ones[sequenceAt] {
		sequenceAt++
	}
	return zeros, sequenceAt
}
