package wire_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// The examples of docs/protocol.md, frames.
const (
	exampleBody = `80010001 00000011 5250435f525244425f525244425f474554 00000001 0c 0001 00000004 00016873 00`
	exampleV0   = `54484654 00000000 00000030 00000000 00000029 00000000 00000002 00000003
		000003e8 00003de1 1122334455667788` + exampleBody
	exampleV1 = `54484654 00000001 00000025 00000029 08000100000002 08000200000003 080003000003e8
		0a00041122334455667788 02000500 00` + exampleBody
	examplePut = `80010001 00000011 5250435f525244425f525244425f505554 00000001
		0c0001  0c0001 00000004 00016873  0c0002 00000001 76  080003 00000000  00  00`
	exampleResponse = `0000005b 00000006 4552525f4f4b
		80010002 00000015 5250435f525244425f525244425f4745545f41434b 00000001
		0c0000 080001 00000000 0c0002 00000001 76 080003 00000002 080004 00000003 0b0006 00000003 683a31 00 00`
	exampleError = `0000003d 00000014 4552525f4f424a4543545f4e4f545f464f554e44
		80010002 00000015 5250435f525244425f525244425f4745545f41434b 00000001`
)

var (
	exampleKey    = wire.Blob("\x00\x01hs")
	exampleHeader = wire.Header{
		GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, TimeoutMillis: 1000, PartitionHash: 0x1122334455667788,
	}
	exampleResult = wire.GetResponse{Value: []byte("v"), Origin: exampleOrigin}
)

func TestExampleRequests(t *testing.T) {
	prefix := []byte("prefix")
	v0 := wire.AppendRequestV0(bytes.Clone(prefix), &exampleHeader, wire.Get, 1, exampleKey)
	require.Equal(t, wrap("", prefix, exampleV0), v0)
	v1 := wire.AppendRequestV1(bytes.Clone(prefix), &exampleHeader, wire.Get, 1, exampleKey)
	require.Equal(t, wrap("", prefix, exampleV1), v1)

	put := wire.PutRequest{Key: exampleKey, Value: []byte("v")}
	v0 = wire.AppendRequestV0(nil, &exampleHeader, wire.Put, 1, &put)
	require.Equal(t, fromHex(examplePut), v0[48:])
	require.Len(t, put.AppendField(nil, 1), 60-wire.RequestOverhead(wire.Put))

	clear := wire.AppendRequestV1(nil, &exampleHeader, wire.ClearScanner, 1, wire.Int64(5))
	require.Equal(t, fromHex("00000001 0a 0001 0000000000000005 00"), clear[len(clear)-16:])
}

func TestExampleRequestIsParsed(t *testing.T) {
	for version, example := range []string{exampleV0, exampleV1} {
		frame := fromHex(example)
		var request wire.Request
		size, err := wire.ParseRequest(append(frame, "the next frame"...), &request)
		require.NoError(t, err)
		require.Equal(t, len(frame), size)
		require.Equal(t, wire.Request{
			Header: exampleHeader, Version: version, ThreadHash: 0x3de1, Name: []byte("RPC_RRDB_RRDB_GET"), Sequence: 1,
			Body: fromHex(exampleBody), Arguments: fromHex("0c 0001 00000004 00016873 00"),
		}, request)
	}
}

func TestIncompleteRequestNeedsMore(t *testing.T) {
	for _, example := range []string{exampleV0, exampleV1} {
		frame := fromHex(example)
		for size := range frame {
			var request wire.Request
			parsed, err := wire.ParseRequest(frame[:size:size], &request)
			require.NoError(t, err)
			require.Zero(t, parsed, "with %d bytes", size)
		}
	}
}

func TestMalformedRequest(t *testing.T) {
	v0, v1 := fromHex(exampleV0), fromHex(exampleV1)
	set := func(frame []byte, at int, b byte) []byte {
		frame = bytes.Clone(frame)
		frame[at] = b
		return frame
	}
	for name, frame := range map[string][]byte{
		"signature":              set(v0, 3, 'X'),
		"signature, first byte":  []byte("R"),
		"version":                set(v1, 7, 2),
		"version, negative":      set(v1, 4, 0xff),
		"length of v0 header":    set(v0, 11, 47),
		"length of v0, at once":  set(v0, 11, 49)[:16],
		"message type REPLY":     set(v0, 48+3, 2),
		"message type EXCEPTION": set(v1, 16+37+3, 3),
		"message version":        set(v0, 48+1, 2),
		"length of the name":     set(v0, 48+4, 0x80),
		"name longer than body":  set(v0, 48+7, 0xff),
		"v1 header without STOP": wrap("54484654 00000001 00000007 0000000d 08000100000002 80010001 00000000 00000001 00", nil, ""),
		"old form, type":         fromHex("54484654 00000001 00000001 0000000a 00 00000001 67 02 00000001"),
	} {
		size, err := wire.ParseRequest(frame, new(wire.Request))
		require.Zero(t, size, name)
		require.True(t, errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTruncated), "%s: %v", name, err)
	}
}

// A size that cannot be reached is no fault as long as it is only declared, and costs nothing.
func TestHugeDeclaredRequest(t *testing.T) {
	for name, prefix := range map[string]string{
		"v1 header": "54484654 00000001 ffffffff 00000000",
		"v1 body":   "54484654 00000001 00000001 ffffffff 00",
		"v1 both":   "54484654 00000001 ffffffff ffffffff",
		"v0 body":   "54484654 00000000 00000030 00000000 ffffffff" + strings.Repeat("00", 28),
	} {
		size, err := wire.ParseRequest(fromHex(prefix), new(wire.Request))
		require.NoError(t, err, name)
		require.Zero(t, size, name)
	}
}

func TestMethodNames(t *testing.T) {
	for _, test := range []struct{ name, reply string }{
		{"RPC_RRDB_RRDB_GET", "RPC_RRDB_RRDB_GET_ACK"},
		{"RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX_ACK"},
		{strings.Repeat("X", 43), strings.Repeat("X", 43) + "_ACK"},
		{strings.Repeat("X", 45), strings.Repeat("X", 45) + "_A"},
		{strings.Repeat("X", 47), strings.Repeat("X", 47)},
		{strings.Repeat("X", 60), strings.Repeat("X", 47)},
	} {
		method := wire.NewMethod(test.name)
		require.Equal(t, test.name, method.Name())
		require.Equal(t, test.reply, method.ReplyName())

		var request wire.Request
		_, err := wire.ParseRequest(wire.AppendRequestV1(nil, &exampleHeader, method, 1, exampleKey), &request)
		require.NoError(t, err)
		require.Equal(t, test.name[:min(len(test.name), 47)], string(request.Name))

		var response wire.Response
		require.NoError(t, wire.ParseResponse(wire.AppendResponse(nil, wire.ErrOK, method, 1, nil), &response))
		require.Equal(t, test.reply, string(response.Name))
	}
}

func TestExampleResponses(t *testing.T) {
	for _, test := range []struct {
		frame    string
		response wire.Response
		result   wire.Arguments
	}{
		{exampleResponse, wire.Response{Error: wire.ErrOK}, &exampleResult},
		{exampleError, wire.Response{Error: wire.ErrObjectNotFound}, nil},
	} {
		frame := fromHex(test.frame)
		encoded := wire.AppendResponse([]byte("prefix"), test.response.Error, wire.Get, 1, test.result)
		require.Equal(t, wrap("", []byte("prefix"), test.frame), encoded)

		size, err := wire.ResponseSize(frame, 1<<20)
		require.NoError(t, err)
		require.Equal(t, len(frame), size)
		var response wire.Response
		require.NoError(t, wire.ParseResponse(frame, &response))
		require.Equal(t, test.response.Error, response.Error)
		require.Equal(t, "RPC_RRDB_RRDB_GET_ACK", string(response.Name))
		require.Equal(t, int32(1), response.Sequence)
		if test.result == nil {
			require.Empty(t, response.Result)
			continue
		}
		var result wire.GetResponse
		require.NoError(t, wire.DecodeResult(new(wire.Reader), response.Result, &result))
		require.Equal(t, exampleResult, result)
	}
}

func TestResponseSize(t *testing.T) {
	for _, test := range []struct {
		prefix string
		limit  int
		want   int
	}{
		{"00000014", 20, 20},
		{"00000013", 20, 0},
		{"00000015", 20, 0},
		{"00000000", math.MaxInt, 0},
		{"80000000", math.MaxInt32, 0},
		{"ffffffff", math.MaxInt32, 0},
		{"7fffffff", math.MaxInt32, math.MaxInt32},
		{"00000014", 0, 0},
		{"00000014", -1, 0},
	} {
		size, err := wire.ResponseSize(fromHex(test.prefix), test.limit)
		require.Equal(t, test.want, size, test.prefix)
		if test.want == 0 {
			require.ErrorIs(t, err, wire.ErrMalformed, test.prefix)
		} else {
			require.NoError(t, err, test.prefix)
		}
	}
}

func TestMalformedResponse(t *testing.T) {
	for name, test := range map[string]struct {
		frame string
		want  error
	}{
		"error name, negative":       {"00000000 ffffffff", wire.ErrMalformed},
		"error name, cut":            {"00000000 00000007 4552525f4f4b", wire.ErrTruncated},
		"error name, long":           {"00000000 00000401" + strings.Repeat("45", 1025), wire.ErrMalformed},
		"type CALL":                  {"00000000 00000000 80010001 00000000 00000001", wire.ErrMalformed},
		"type EXCEPTION":             {"00000000 00000000 80010003 00000000 00000001", wire.ErrMalformed},
		"another version":            {"00000000 00000000 80020002 00000000 00000001", wire.ErrMalformed},
		"the old form":               {"00000000 00000000 00000001 67 02 00000001 000000", wire.ErrMalformed},
		"name, huge":                 {"00000000 00000000 80010002 7fffffff 00000001", wire.ErrTruncated},
		"name, negative":             {"00000000 00000000 80010002 80000000 00000001", wire.ErrMalformed},
		"no sequence id":             {"00000000 00000000 80010002 00000000 000000", wire.ErrTruncated},
		"not even a size of its own": {"000000", wire.ErrTruncated},
	} {
		var response wire.Response
		require.ErrorIs(t, wire.ParseResponse(fromHex(test.frame), &response), test.want, name)
	}
}

// What is decoded points into the frame, but appending to it must not reach what follows there.
func TestDecodedBytesAreBounded(t *testing.T) {
	body := append(exampleResult.AppendField(nil, 0), 0)
	kept := bytes.Clone(body)
	var result wire.GetResponse
	require.NoError(t, wire.DecodeResult(new(wire.Reader), body, &result))
	_ = append(result.Value, "overflow"...)
	_ = append(result.Origin.Server, "overflow"...)
	require.Equal(t, kept, body)
	body[len(body)-3] = '2'
	require.Equal(t, "h:2", string(result.Origin.Server))
}

func TestLongestErrorName(t *testing.T) {
	name := wire.ErrorName(strings.Repeat("E", 1024))
	var response wire.Response
	require.NoError(t, wire.ParseResponse(wire.AppendResponse(nil, name, wire.Get, 1, nil), &response))
	require.Equal(t, name, response.Error)

	var result wire.QueryConfigResponse
	long := wire.QueryConfigResponse{Error: name + "E"}
	err := wire.DecodeResult(new(wire.Reader), append(long.AppendField(nil, 0), 0), &result)
	require.ErrorIs(t, err, wire.ErrMalformed)
}

// A reply can say ERR_OK and yet have no result, in two ways.
func TestAbsentResult(t *testing.T) {
	frame := wire.AppendResponse(nil, wire.ErrOK, wire.Put, 1, nil)
	for _, frame := range [][]byte{frame, append(bytes.Clone(frame), 0)} {
		var response wire.Response
		require.NoError(t, wire.ParseResponse(frame, &response))
		require.Equal(t, wire.ErrOK, response.Error)
		require.Empty(t, response.Result)
		require.Error(t, wire.DecodeResult(new(wire.Reader), response.Result, new(wire.UpdateResponse)))
	}
}

func TestMalformedResult(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":               "",
		"no field":              "00",
		"no field, but more":    "00 0c0000 00 00",
		"id 1":                  "0c0001 00 00",
		"no struct":             "080000 00000001 00",
		"a second field":        "0c0000 00 080001 00000000 00",
		"bytes after the end":   "0c0000 00 00 00",
		"no STOP of the second": "0c0000 00",
	} {
		err := wire.DecodeResult(new(wire.Reader), fromHex(body), new(wire.GetResponse))
		require.True(t, errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTruncated), "%s: %v", name, err)
	}
	require.NoError(t, wire.DecodeResult(new(wire.Reader), fromHex("0c0000 00 00"), new(wire.GetResponse)))
}

func TestMalformedArguments(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":             "",
		"no field":            "00",
		"a second field":      "0c0001 00000000 080001 00000000 00",
		"bytes after the end": "0c0001 00000000 00 00",
	} {
		err := wire.DecodeArguments(new(wire.Reader), fromHex(body), new(wire.Blob))
		require.True(t, errors.Is(err, wire.ErrMalformed) || errors.Is(err, wire.ErrTruncated), "%s: %v", name, err)
	}
	var blob wire.Blob
	require.NoError(t, wire.DecodeArguments(new(wire.Reader), fromHex("08ffff 00000001 78 00"), &blob))
	require.Equal(t, wire.Blob("x"), blob, "neither id nor type of the argument count")
}

// strict is a Result from outside the package, which finds a value unacceptable.
type strict struct {
	wire.GetResponse
	err error
}

func (s *strict) Decode(r *wire.Reader) {
	s.GetResponse.Decode(r)
	r.Fail(s.err)
	r.Fail(errors.New("a second fault"))
}

func TestFailFromOutside(t *testing.T) {
	result := strict{err: errors.New("not acceptable")}
	body := append(exampleResult.AppendField(nil, 0), 0)
	reader := wire.NewReader(nil)
	err := wire.DecodeResult(&reader, body, &result)
	require.ErrorIs(t, err, result.err)
	require.ErrorIs(t, reader.Err(), result.err, "the first fault sticks")
	require.Zero(t, reader.Remaining())
	var decodeError *wire.DecodeError
	require.ErrorAs(t, err, &decodeError)
	require.Equal(t, len(body)-1, decodeError.Offset)
	require.Equal(t, "wire: cannot decode at byte 43: not acceptable", err.Error())

	require.NoError(t, wire.DecodeResult(&reader, body, &result.GetResponse), "a Reader can be used again")
	require.Equal(t, exampleResult, result.GetResponse)
}
