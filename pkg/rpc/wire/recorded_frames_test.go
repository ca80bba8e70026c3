package wire_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// raw is the argument or the result struct of a recorded frame, as it is.
type raw []byte

// AppendField leaves out the last byte, the STOP of the surrounding struct.
func (b raw) AppendField(dst []byte, _ int16) []byte { return append(dst, b[:len(b)-1]...) }

// unusualFrames are requests that a server takes but that this package does not send, and why.
var unusualFrames = map[string]string{
	"exchanges/framing/oneway":                    "message type ONEWAY",
	"exchanges/framing/unversioned_message_begin": "the old form of message begin",
	"exchanges/framing/v0_crc_nonzero":            "checksums, which are ignored",
	"exchanges/framing/v1_unknown_meta_field":     "a field in the header that is not known",
	"exchanges/get_ttl/get_minimal_meta":          "a header without the backup flag",
	"scripts/get_ttl/get_minimal_meta":            "a header without the backup flag",
	"exchanges/routing/no_meta_fields":            "a header without any field",
}

// unusualArguments are requests with arguments that a server takes but that this package does not
// send, and why.
var unusualArguments = map[string]string{
	"exchanges/framing/argument_field_id_9":   "an argument with another id than 1",
	"exchanges/framing/argument_type_string":  "an argument of another type than the RPC's",
	"exchanges/framing/nested_blob_as_string": "a blob of type STRING, which is skipped",
	"exchanges/framing/unknown_extra_field":   "a field that is not known",
	"exchanges/multi_get/fields_omitted":      "fields left out that this package sends empty",
	"scripts/multi_get/fields_omitted":        "fields left out that this package sends empty",
	"exchanges/put_remove/put_fields_omitted": "fields left out that this package sends empty",
	"scripts/put_remove/put_fields_omitted":   "fields left out that this package sends empty",
	"exchanges/put_remove/put_type_0":         "a field that is reserved for replication",
	"scripts/put_remove/put_type_0":           "a field that is reserved for replication",
	"exchanges/routing/no_meta_fields":        "a field left out that this package sends empty",
}

// unusualResults are results that this package would send otherwise, and why.
var unusualResults = map[string]string{
	"exchanges/failover/query_cfg_one_replica_left": "a primary's name that is there but invalid",
}

var invalidPrimaryName = regexp.MustCompile(`"hp_primary":\s*"",`)

// rpcStructs are an RPC, its structs, and how many of each are recorded.
type rpcStructs struct {
	method            *wire.Method
	argument, result  func() message
	requests, results int
}

// covered are the RPCs whose structs this package has, and the number of recorded requests and
// results of each. A wrong number means that exchanges have come or gone unnoticed.
var covered = []rpcStructs{
	{wire.QueryConfig, newOf[wire.QueryConfigRequest], newOf[wire.QueryConfigResponse], 38, 36},
	{wire.Get, newOf[wire.Blob], newOf[wire.GetResponse], 118, 96},
	{wire.TTL, newOf[wire.Blob], newOf[wire.TTLResponse], 43, 40},
	{wire.Put, newOf[wire.PutRequest], newOf[wire.UpdateResponse], 139, 118},
	{wire.Remove, newOf[wire.Blob], newOf[wire.UpdateResponse], 20, 15},
	{wire.MultiGet, newOf[wire.MultiGetRequest], newOf[wire.MultiGetResponse], 94, 91},
	{wire.BatchGet, newOf[wire.BatchGetRequest], newOf[wire.BatchGetResponse], 15, 12},
	{wire.SortKeyCount, newOf[wire.Blob], newOf[wire.CountResponse], 19, 17},
	{wire.MultiPut, newOf[wire.MultiPutRequest], newOf[wire.UpdateResponse], 87, 80},
	{wire.MultiRemove, newOf[wire.MultiRemoveRequest], newOf[wire.MultiRemoveResponse], 17, 12},
	{wire.Incr, newOf[wire.IncrRequest], newOf[wire.IncrResponse], 68, 62},
	{wire.CheckAndSet, newOf[wire.CheckAndSetRequest], newOf[wire.CheckResponse], 117, 111},
	{wire.CheckAndMutate, newOf[wire.CheckAndMutateRequest], newOf[wire.CheckResponse], 19, 14},
	{wire.GetScanner, newOf[wire.GetScannerRequest], newOf[wire.ScanResponse], 90, 88},
	{wire.Scan, newOf[wire.ScanRequest], newOf[wire.ScanResponse], 61, 56},
	{wire.ClearScanner, newOf[wire.Int64], nil, 11, 0},
}

// forRecorded calls f for each recorded exchange of a covered RPC, with its parsed frames. The response
// is empty if there was none.
func forRecorded(tb testing.TB, f func(e *exchange, request *wire.Request, response *wire.Response, c *rpcStructs)) {
	tb.Helper()
	exchanges := recorded(tb)
	for i := range covered {
		for j := range exchanges {
			c, e := &covered[i], &exchanges[j]
			if e.RPC != c.method.Name() || e.ClosedByServer {
				continue
			}
			var request wire.Request
			_, err := wire.ParseRequest(e.Request, &request)
			require.NoError(tb, err, "%v", e)
			var response wire.Response
			if len(e.Response) > 0 {
				require.NoError(tb, wire.ParseResponse(e.Response, &response), "%v", e)
			}
			f(e, &request, &response, c)
		}
	}
}

func newOf[T any, P interface {
	*T
	message
}]() message {
	return P(new(T))
}

func TestRecordedRequestFrames(t *testing.T) {
	refused, unusual, identical := 0, 0, 0
	for _, e := range recorded(t) {
		var request wire.Request
		size, err := wire.ParseRequest(e.Request, &request)
		if e.ClosedByServer {
			require.ErrorIs(t, err, wire.ErrMalformed, "%v", &e)
			refused++
			continue
		}
		require.NoError(t, err, "%v", &e)
		require.Equal(t, len(e.Request), size, "%v", &e)
		requireHeader(t, &e, &request)

		again := appendRequest(&request, wire.NewMethod(e.RPC), raw(request.Arguments))
		if _, ok := unusualFrames[e.String()]; ok {
			require.NotEqual(t, []byte(e.Request), again, "%v", &e)
			unusual++
		} else {
			require.Equal(t, []byte(e.Request), again, "%v", &e)
			identical++
		}
	}
	require.Equal(t, 3, refused)
	require.Equal(t, len(unusualFrames), unusual)
	require.Equal(t, recordedCount-3-len(unusualFrames), identical)
}

func requireHeader(t *testing.T, e *exchange, request *wire.Request) {
	t.Helper()
	want := &e.Decoded.Header
	hash, err := strconv.ParseUint(want.PartitionHash, 16, 64)
	require.NoError(t, err)
	require.Equal(t, wire.Header{
		GPID:          wire.GPID{AppID: want.AppID, PartitionIndex: want.PartitionIndex},
		TimeoutMillis: want.ClientTimeout,
		PartitionHash: hash,
		Backup:        want.Backup,
	}, request.Header, "%v", e)
	require.Equal(t, e.HeaderVersion, request.Version, "%v", e)
	require.Equal(t, e.Decoded.Sequence, request.Sequence, "%v", e)
	require.Equal(t, e.RPC[:min(len(e.RPC), 47)], string(request.Name), "%v", e)
	require.Equal(t, e.String() == "exchanges/framing/oneway", request.Oneway, "%v", e)
	threadHash := want.ThreadHash
	if request.Version == 1 {
		threadHash = request.Header.GPID.ThreadHash()
	}
	require.Equal(t, threadHash, request.ThreadHash, "%v", e)
}

func appendRequest(request *wire.Request, method *wire.Method, argument wire.Arguments) []byte {
	if request.Version == 0 {
		return wire.AppendRequestV0(nil, &request.Header, method, request.Sequence, argument)
	}
	return wire.AppendRequestV1(nil, &request.Header, method, request.Sequence, argument)
}

func TestRecordedResponseFrames(t *testing.T) {
	responses, withoutResult, refusedWithResult, okWithoutResult := 0, 0, 0, 0
	for _, e := range recorded(t) {
		if len(e.Response) == 0 {
			continue
		}
		responses++
		size, err := wire.ResponseSize(e.Response, len(e.Response))
		require.NoError(t, err, "%v", &e)
		require.Equal(t, len(e.Response), size, "%v", &e)

		var response wire.Response
		require.NoError(t, wire.ParseResponse(e.Response, &response), "%v", &e)
		require.Equal(t, e.Decoded.FrameError, response.Error, "%v", &e)
		require.Equal(t, e.Decoded.ResponseName, string(response.Name), "%v", &e)
		require.Equal(t, e.Decoded.Sequence, response.Sequence, "%v", &e)
		require.Equal(t, e.hasBody(), len(response.Result) > 0, "%v", &e)

		method := wire.NewMethod(e.RPC)
		require.Equal(t, method.ReplyName(), string(response.Name), "%v", &e)
		var result wire.Arguments
		if e.hasBody() {
			result = raw(response.Result)
		} else {
			withoutResult++
		}
		require.Equal(t, []byte(e.Response),
			wire.AppendResponse(nil, response.Error, method, response.Sequence, result), "%v", &e)

		if e.hasBody() && response.Error != wire.ErrOK {
			refusedWithResult++
		}
		if !e.hasBody() && response.Error == wire.ErrOK {
			okWithoutResult++
		}
	}
	require.Equal(t, 1060, responses)
	require.Equal(t, 103, withoutResult)
	require.Equal(t, 6, refusedWithResult, "the frame error counts, result or not")
	require.Equal(t, 7, okWithoutResult, "the disk check quirk")
}

func TestRecordedArguments(t *testing.T) {
	requests, unusual := map[*wire.Method]int{}, 0
	forRecorded(t, func(e *exchange, request *wire.Request, _ *wire.Response, c *rpcStructs) {
		requests[c.method]++
		argument := c.argument()
		require.NoError(t, wire.DecodeArguments(new(wire.Reader), request.Arguments, argument), "%v", e)
		again := append(argument.AppendField(nil, 1), 0)
		if _, ok := unusualArguments[e.String()]; ok {
			require.NotEqual(t, request.Arguments, again, "%v", e)
			unusual++
			return
		}
		require.Equal(t, request.Arguments, again, "%v", e)
		if e.String() != "exchanges/framing/unversioned_message_begin" { // was not decoded when it was recorded
			require.JSONEq(t, string(e.Decoded.Arguments), describeJSON(t, argument), "%v", e)
		}
	})
	for _, c := range covered {
		require.Equal(t, c.requests, requests[c.method], c.method.Name())
	}
	require.Equal(t, len(unusualArguments), unusual)
}

// What the server made of unusual arguments is known from its answers and from what it stored.
func TestRecordedUnusualArguments(t *testing.T) {
	key := wire.Blob("\x00\x02gts")
	want := map[string]message{
		"argument_field_id_9":       &key,
		"argument_type_string":      &key,
		"unversioned_message_begin": &key,
		"nested_blob_as_string":     &wire.PutRequest{Key: []byte("\x00\x02gtnbs")},
		"unknown_extra_field":       &wire.PutRequest{Key: []byte("\x00\x02gtxf"), Value: []byte("v")},
		"put_fields_omitted":        &wire.PutRequest{Key: []byte("\x00\x02prom")},
		"put_type_0":                &wire.PutRequest{Key: []byte("\x00\x02prt0"), Value: []byte("v"), Internal: true},
		"fields_omitted":            &wire.MultiGetRequest{HashKey: []byte("mg"), StartInclusive: true},
		"no_meta_fields":            &wire.QueryConfigRequest{Table: "gold_data"},
	}
	found := 0
	forRecorded(t, func(e *exchange, request *wire.Request, _ *wire.Response, c *rpcStructs) {
		if expected, ok := want[e.Name]; ok {
			got := c.argument()
			require.NoError(t, wire.DecodeArguments(new(wire.Reader), request.Arguments, got), "%v", e)
			require.Equal(t, expected, got, "%v", e)
			found++
		}
	})
	require.Equal(t, len(unusualArguments)+1, found)
}

func TestRecordedResults(t *testing.T) {
	results, unusual := map[*wire.Method]int{}, 0
	forRecorded(t, func(e *exchange, _ *wire.Request, response *wire.Response, c *rpcStructs) {
		if !e.hasBody() {
			return
		}
		results[c.method]++
		result := c.result()
		require.NoError(t, wire.DecodeResult(new(wire.Reader), response.Result, result), "%v", e)
		body := invalidPrimaryName.ReplaceAllString(string(e.Decoded.Body), "")
		require.JSONEq(t, body, describeJSON(t, result), "%v", e)
		again := wire.AppendResponse(nil, response.Error, c.method, response.Sequence, result)
		if _, ok := unusualResults[e.String()]; ok {
			require.NotEqual(t, []byte(e.Response), again, "%v", e)
			unusual++
		} else {
			require.Equal(t, []byte(e.Response), again, "%v", e)
		}
	})
	for _, c := range covered {
		require.Equal(t, c.results, results[c.method], c.method.Name())
	}
	require.Equal(t, len(unusualResults), unusual)
}

func TestRecordedBodySize(t *testing.T) {
	writes := 0
	forRecorded(t, func(e *exchange, request *wire.Request, _ *wire.Response, c *rpcStructs) {
		argument := c.argument()
		if _, ok := argument.(*wire.PutRequest); ok {
			argument = new(put)
		}
		write, ok := argument.(sized)
		if _, unusual := unusualArguments[e.String()]; unusual || !ok {
			return
		}
		require.NoError(t, wire.DecodeArguments(new(wire.Reader), request.Arguments, argument))
		require.Equal(t, len(request.Body), write.BodySize(), "%v", e)
		writes++
	})
	require.Equal(t, 441, writes)
}
