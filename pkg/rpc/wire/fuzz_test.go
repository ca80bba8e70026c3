package wire_test

import (
	"bytes"
	"fmt"
	"hash/crc64"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// seeder adds recorded bytes to a fuzz target: short ones, and one of each length.
type seeder struct {
	f    *testing.F
	seen map[int]bool
}

func newSeeder(f *testing.F) seeder { return seeder{f, map[int]bool{}} }

func (s seeder) add(seed []byte) {
	if len(seed) > 0 && len(seed) <= 1024 && !s.seen[len(seed)] {
		s.seen[len(seed)] = true
		s.f.Add(bytes.Clone(seed))
	}
}

// addLayout adds the struct with all its fields, as argument or result.
func (s seeder) addLayout(newMessage func() message) {
	for _, l := range messageLayouts() {
		if reflect.TypeOf(l.want) == reflect.TypeOf(newMessage()) {
			s.f.Add(wrap("0c0000", content(l.fields), "00"))
		}
	}
}

// verbatim is an argument struct or a result struct as it is, STOP included.
type verbatim []byte

// AppendField ignores the id, which is part of the bytes.
func (v verbatim) AppendField(dst []byte, _ int16) []byte { return append(dst, v...) }

func FuzzParseRequest(f *testing.F) {
	seeds := newSeeder(f)
	for _, e := range recorded(f) {
		seeds.add(e.Request)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var request wire.Request
		var size int
		var err error
		require.Less(t, allocated(func() { size, err = wire.ParseRequest(data, &request) }), allowance(len(data)))
		if err != nil {
			requireDecodeError(t, err, len(data))
			require.Zero(t, size)
			return
		}
		if size == 0 {
			return
		}
		require.LessOrEqual(t, size, len(data))
		var again wire.Request
		sizeAgain, err := wire.ParseRequest(data[:size:size], &again)
		require.NoError(t, err)
		require.Equal(t, size, sizeAgain, "what follows the frame does not matter")
		require.Equal(t, request, again)
		sizeAgain, err = wire.ParseRequest(data[:size-1:size-1], &again)
		require.NoError(t, err)
		require.Zero(t, sizeAgain)

		frame := appendRequest(&request, wire.NewMethod(string(request.Name)), verbatim(request.Arguments))
		_, err = wire.ParseRequest(frame, &again)
		require.NoError(t, err)
		require.Equal(t, request.Header, again.Header)
		require.Equal(t, request.Name, again.Name)
		require.Equal(t, request.Sequence, again.Sequence)
		require.Equal(t, append(bytes.Clone(request.Arguments), 0), again.Arguments)
	})
}

func FuzzParseResponse(f *testing.F) {
	seeds := newSeeder(f)
	for _, e := range recorded(f) {
		seeds.add(e.Response)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var response, again wire.Response
		var err error
		require.Less(t, allocated(func() { err = wire.ParseResponse(frame, &response) }), allowance(len(frame)))
		if err != nil {
			requireDecodeError(t, err, len(frame))
			return
		}
		name, isReply := bytes.CutSuffix(response.Name, []byte("_ACK"))
		if !isReply || len(response.Name) > 47 {
			return
		}
		method := wire.NewMethod(string(name))
		encoded := wire.AppendResponse(nil, response.Error, method, response.Sequence, verbatim(response.Result))
		size, err := wire.ResponseSize(encoded, len(encoded))
		require.NoError(t, err)
		require.Equal(t, len(encoded), size)
		require.NoError(t, wire.ParseResponse(encoded, &again))
		require.Equal(t, response.Error, again.Error)
		require.Equal(t, response.Name, again.Name)
		require.Equal(t, response.Sequence, again.Sequence)
		if len(response.Result) > 0 {
			require.Equal(t, append(bytes.Clone(response.Result), 0), again.Result)
		}
	})
}

// fuzzArguments fuzzes the decoding of a request's argument struct.
func fuzzArguments(f *testing.F, newMessage func() message) {
	seeds, kind := newSeeder(f), reflect.TypeOf(newMessage())
	forRecorded(f, func(_ *exchange, request *wire.Request, _ *wire.Response, c *rpcStructs) {
		if reflect.TypeOf(c.argument()) == kind {
			seeds.add(request.Arguments)
		}
	})
	seeds.addLayout(newMessage)
	f.Fuzz(func(t *testing.T, body []byte) { checkDecoder(t, body, newMessage, wire.DecodeArguments) })
}

// fuzzResult fuzzes the decoding of a response's result struct.
func fuzzResult(f *testing.F, newMessage func() message) {
	seeds, kind := newSeeder(f), reflect.TypeOf(newMessage())
	forRecorded(f, func(_ *exchange, _ *wire.Request, response *wire.Response, c *rpcStructs) {
		if c.result != nil && reflect.TypeOf(c.result()) == kind {
			seeds.add(response.Result)
		}
	})
	seeds.addLayout(newMessage)
	f.Fuzz(func(t *testing.T, body []byte) { checkDecoder(t, body, newMessage, wire.DecodeResult) })
}

// checkDecoder checks that decoding either fails with an orderly error or yields what can be encoded
// and decoded again, and that neither takes more memory than the bytes warrant.
func checkDecoder(t *testing.T, body []byte, newMessage func() message, decode func(*wire.Reader, []byte, wire.Result) error) {
	t.Helper()
	reader, first, second := new(wire.Reader), newMessage(), newMessage()
	var err error
	require.Less(t, allocated(func() { err = decode(reader, body, first) }), allowance(len(body)))
	require.Equal(t, err, reader.Err())
	require.Zero(t, reader.Remaining())
	if err != nil {
		requireDecodeError(t, err, len(body))
		return
	}
	encoded := append(first.AppendField(nil, 0), 0)
	require.NoError(t, decode(reader, encoded, second))
	require.Equal(t, describeJSON(t, first), describeJSON(t, second))
	require.Equal(t, encoded, append(second.AppendField(nil, 0), 0))
}

func requireDecodeError(t *testing.T, err error, size int) {
	t.Helper()
	var decodeError *wire.DecodeError
	require.ErrorAs(t, err, &decodeError)
	require.GreaterOrEqual(t, decodeError.Offset, 0)
	require.LessOrEqual(t, decodeError.Offset, size)
	require.NotEmpty(t, err.Error())
}

func FuzzDecodeBlob(f *testing.F)               { fuzzArguments(f, newOf[wire.Blob]) }
func FuzzDecodeInt64(f *testing.F)              { fuzzArguments(f, newOf[wire.Int64]) }
func FuzzDecodePutRequest(f *testing.F)         { fuzzArguments(f, newOf[wire.PutRequest]) }
func FuzzDecodeQueryConfigRequest(f *testing.F) { fuzzArguments(f, newOf[wire.QueryConfigRequest]) }
func FuzzDecodeMultiGetRequest(f *testing.F)    { fuzzArguments(f, newOf[wire.MultiGetRequest]) }
func FuzzDecodeMultiPutRequest(f *testing.F)    { fuzzArguments(f, newOf[wire.MultiPutRequest]) }
func FuzzDecodeMultiRemoveRequest(f *testing.F) { fuzzArguments(f, newOf[wire.MultiRemoveRequest]) }
func FuzzDecodeBatchGetRequest(f *testing.F)    { fuzzArguments(f, newOf[wire.BatchGetRequest]) }
func FuzzDecodeIncrRequest(f *testing.F)        { fuzzArguments(f, newOf[wire.IncrRequest]) }
func FuzzDecodeCheckAndSetRequest(f *testing.F) { fuzzArguments(f, newOf[wire.CheckAndSetRequest]) }
func FuzzDecodeCheckAndMutateRequest(f *testing.F) {
	fuzzArguments(f, newOf[wire.CheckAndMutateRequest])
}
func FuzzDecodeGetScannerRequest(f *testing.F) { fuzzArguments(f, newOf[wire.GetScannerRequest]) }
func FuzzDecodeScanRequest(f *testing.F)       { fuzzArguments(f, newOf[wire.ScanRequest]) }

func FuzzDecodeGetResponse(f *testing.F)         { fuzzResult(f, newOf[wire.GetResponse]) }
func FuzzDecodeTTLResponse(f *testing.F)         { fuzzResult(f, newOf[wire.TTLResponse]) }
func FuzzDecodeUpdateResponse(f *testing.F)      { fuzzResult(f, newOf[wire.UpdateResponse]) }
func FuzzDecodeQueryConfigResponse(f *testing.F) { fuzzResult(f, newOf[wire.QueryConfigResponse]) }
func FuzzDecodeMultiGetResponse(f *testing.F)    { fuzzResult(f, newOf[wire.MultiGetResponse]) }
func FuzzDecodeMultiRemoveResponse(f *testing.F) { fuzzResult(f, newOf[wire.MultiRemoveResponse]) }
func FuzzDecodeCountResponse(f *testing.F)       { fuzzResult(f, newOf[wire.CountResponse]) }
func FuzzDecodeBatchGetResponse(f *testing.F)    { fuzzResult(f, newOf[wire.BatchGetResponse]) }
func FuzzDecodeIncrResponse(f *testing.F)        { fuzzResult(f, newOf[wire.IncrResponse]) }
func FuzzDecodeCheckResponse(f *testing.F)       { fuzzResult(f, newOf[wire.CheckResponse]) }
func FuzzDecodeScanResponse(f *testing.F)        { fuzzResult(f, newOf[wire.ScanResponse]) }

// Every struct that travels has a fuzz target of its own.
func TestFuzzTargets(t *testing.T) {
	source, err := os.ReadFile("fuzz_test.go")
	require.NoError(t, err)
	for _, newMessage := range newMessages() {
		name := strings.TrimPrefix(fmt.Sprintf("%T", newMessage()), "*wire.")
		require.Contains(t, string(source), "func FuzzDecode"+name+"(f *testing.F)")
	}
}

func FuzzSplitKey(f *testing.F) {
	for _, seed := range []string{"", "0000", "00016873", "0001ffff", "00ff", "ffff", "0002ffffffff"} {
		f.Add(fromHex(seed))
	}
	table := crc64.MakeTable(0x9a6c9329ac4bc9b5)
	f.Fuzz(func(t *testing.T, raw []byte) {
		hashKey, sortKey, err := wire.SplitKey(raw)
		if err != nil {
			require.ErrorIs(t, err, wire.ErrRawKey)
			return
		}
		again, err := wire.AppendKey(nil, hashKey, sortKey)
		require.NoError(t, err)
		require.Equal(t, raw, again)

		hashed := hashKey
		if len(hashKey) == 0 {
			hashed = sortKey
		}
		require.Equal(t, crc64.Checksum(hashed, table), wire.KeyHash(hashKey, sortKey))

		end := wire.NextKey(again)
		require.NotEmpty(t, end)
		require.Positive(t, bytes.Compare(end, raw))
		require.False(t, bytes.HasPrefix(end, raw))
	})
}
