package conformance

import (
	"bytes"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// message is a result struct, which can be read and written.
type message interface {
	wire.Arguments
	wire.Result
}

// newResult maps each RPC to its result struct. Answers of others must be the recorded ones as they are.
var newResult = map[string]func() message{
	wire.QueryConfig.Name():    resultOf[wire.QueryConfigResponse],
	wire.Get.Name():            resultOf[wire.GetResponse],
	wire.TTL.Name():            resultOf[wire.TTLResponse],
	wire.Put.Name():            resultOf[wire.UpdateResponse],
	wire.Remove.Name():         resultOf[wire.UpdateResponse],
	wire.MultiGet.Name():       resultOf[wire.MultiGetResponse],
	wire.BatchGet.Name():       resultOf[wire.BatchGetResponse],
	wire.SortKeyCount.Name():   resultOf[wire.CountResponse],
	wire.MultiPut.Name():       resultOf[wire.UpdateResponse],
	wire.MultiRemove.Name():    resultOf[wire.MultiRemoveResponse],
	wire.Incr.Name():           resultOf[wire.IncrResponse],
	wire.CheckAndSet.Name():    resultOf[wire.CheckResponse],
	wire.CheckAndMutate.Name(): resultOf[wire.CheckResponse],
	wire.GetScanner.Name():     resultOf[wire.ScanResponse],
	wire.Scan.Name():           resultOf[wire.ScanResponse],
}

func resultOf[T any, P interface {
	*T
	message
}]() message {
	return P(new(T))
}

// answer is a response frame with its result decoded.
type answer struct {
	frame    []byte
	response wire.Response
	result   message // nil: none, or of an RPC without a struct in this module
}

func decodeAnswer(t require.TestingT, e *exchange, frame []byte) answer {
	a := answer{frame: frame}
	require.NoError(t, wire.ParseResponse(frame, &a.response), "%v", e)
	if newOne, ok := newResult[e.RPC]; ok && len(a.response.Result) > 0 {
		a.result = newOne()
		require.NoError(t, wire.DecodeResult(new(wire.Reader), a.response.Result, a.result), "%v", e)
	}
	return a
}

// requireAnswer compares an answer with the recorded one, which is first translated, and then given the values
// of the fields that are free. What remains must agree byte for byte; decoded results are compared before
// that because they tell more about a difference.
func (tr *translation) requireAnswer(t require.TestingT, e *exchange, frame []byte, slack int32) {
	want, got := decodeAnswer(t, e, e.Response), decodeAnswer(t, e, frame)
	require.Equal(t, string(want.response.Error), string(got.response.Error), "%v: frame error", e)
	require.Equal(t, string(want.response.Name), string(got.response.Name), "%v: name", e)
	require.Equal(t, want.response.Sequence, got.response.Sequence, "%v: sequence id", e)
	require.Equal(t, len(want.response.Result) == 0, len(got.response.Result) == 0, "%v: has a result", e)
	if want.result == nil {
		require.Equal(t, []byte(e.Response), frame, "%v", e)
		return
	}
	tr.result(want.result)
	free(t, e, want.result, got.result)
	allow(want.result, got.result, slack)
	require.Equal(t, want.result, got.result, "%v", e)
	again := wire.AppendResponse(nil, want.response.Error, wire.NewMethod(e.RPC), want.response.Sequence, want.result)
	if _, ok := unusualEncodings[e.String()]; !ok && !bytes.Equal(again, frame) {
		require.Fail(t, "the results agree, but not their encodings", "%v\nwant %x\ngot  %x", e, again, frame)
	}
}

// unusualEncodings are answers of which package wire would encode the result otherwise, and why.
var unusualEncodings = map[string]string{
	"exchanges/failover/query_cfg_one_replica_left": "a primary's name that is there but invalid",
}

// result translates a recorded result to the cluster that is played against.
func (tr *translation) result(result message) {
	if origin := originOf(result); origin != nil {
		origin.GPID.AppID = tr.table(origin.GPID.AppID)
	}
	switch r := result.(type) {
	case *wire.QueryConfigResponse:
		r.AppID = tr.table(r.AppID)
		for i := range r.Partitions {
			r.Partitions[i].GPID.AppID = tr.table(r.Partitions[i].GPID.AppID)
		}
	case *wire.TTLResponse:
		if r.Seconds < -1 { // the difference to a fixed time, such as one stored as a negative number
			r.Seconds -= tr.shift
		}
	case *wire.ScanResponse:
		for i := range r.Records {
			if r.Records[i].ExpireSeconds > 0 {
				r.Records[i].ExpireSeconds += tr.shift
			}
		}
	}
}

func (tr *translation) table(appID int32) int32 {
	if translated, ok := tr.apps[appID]; ok {
		return translated
	}
	return appID
}

// originOf returns the part of a result that tells who answered; nil if there is none.
func originOf(result message) *wire.Origin {
	switch r := result.(type) {
	case *wire.GetResponse:
		return &r.Origin
	case *wire.TTLResponse:
		return &r.Origin
	case *wire.UpdateResponse:
		return &r.Origin
	case *wire.MultiGetResponse:
		return &r.Origin
	case *wire.BatchGetResponse:
		return &r.Origin
	case *wire.CountResponse:
		return &r.Origin
	case *wire.MultiRemoveResponse:
		return &r.Origin
	case *wire.IncrResponse:
		return &r.Origin
	case *wire.CheckResponse:
		return &r.Origin
	case *wire.ScanResponse:
		return &r.Origin
	}
	return nil
}

// allow takes over a remaining life that differs by no more than the slack, in seconds.
func allow(want, got message, slack int32) {
	w, ok := want.(*wire.TTLResponse)
	g, too := got.(*wire.TTLResponse)
	if ok && too && max(w.Seconds-g.Seconds, g.Seconds-w.Seconds) <= slack {
		w.Seconds = g.Seconds
	}
}

// learn keeps the id under which the cluster has a scan context that the recording knows under another.
func (tr *translation) learn(t require.TestingT, e *exchange, frame []byte) {
	want, ok := decodeAnswer(t, e, e.Response).result.(*wire.ScanResponse)
	got, too := decodeAnswer(t, e, frame).result.(*wire.ScanResponse)
	if ok && too {
		tr.contexts[want.ContextID] = got.ContextID
	}
}

// A recorded answer conforms to itself, and no longer if any bit of a field that is not free is turned.
func TestAnswersConformToThemselves(t *testing.T) {
	tr := translation{contexts: map[int64]int64{}}
	compared := 0
	for _, topics := range recorded(t) {
		for _, list := range topics {
			for _, e := range list {
				if len(e.Response) > 0 {
					tr.requireAnswer(t, e, e.Response, 0)
					compared++
				}
			}
		}
	}
	require.Greater(t, compared, 900)
}

// failure collects what require reports.
type failure struct{ failed bool }

func (f *failure) Errorf(string, ...any) { f.failed = true }

func (f *failure) FailNow() { panic(f) }

// rejects says whether an answer is found not to be the recorded one.
func rejects(e *exchange, frame []byte) bool {
	f := &failure{}
	func() {
		defer func() {
			if r := recover(); r != nil && r != any(f) {
				panic(r)
			}
		}()
		new(translation).requireAnswer(f, e, frame, 0)
	}()
	return f.failed
}

func TestWrongAnswersAreRejected(t *testing.T) {
	for _, row := range []struct {
		kind, topic, name string
		result            message // nil: none
	}{
		{scripts, "get_ttl", "get_present_v0", &wire.GetResponse{Value: []byte("other")}},
		{scripts, "get_ttl", "get_present_v0", &wire.GetResponse{Status: wire.StatusNotFound, Value: []byte("value")}},
		{scripts, "get_ttl", "get_present_v0", nil},
		{scripts, "get_ttl", "ttl_none_v1", &wire.TTLResponse{}},
		{scripts, "scan", "one_batch_v0", &wire.ScanResponse{ContextID: wire.ScanComplete}},
		{exchanges, "routing", "leader_all_v0", &wire.QueryConfigResponse{Error: wire.ErrOK, AppID: 4, PartitionCount: 4, Stateful: true}},
		{exchanges, "min_replicas_and_disk", "secondary_disk_insufficient_put_v0", &wire.UpdateResponse{}},
	} {
		e := recorded(t).find(t, row.kind, row.topic, row.name)
		var result wire.Arguments
		if row.result != nil {
			if origin := originOf(row.result); origin != nil {
				*origin = wire.Origin{GPID: e.gpid(), Server: []byte("anybody:1")}
			}
			result = row.result
		}
		frame := wire.AppendResponse(nil, wire.ErrOK, wire.NewMethod(e.RPC), e.Decoded.Sequence, result)
		require.True(t, rejects(e, frame), "%v", e)
		require.False(t, rejects(e, e.Response), "%v", e)
	}
	e := recorded(t).find(t, exchanges, "gates", "wrong_gpid_get")
	require.True(t, rejects(e, wire.AppendResponse(nil, wire.ErrInvalidState, wire.Get, e.Decoded.Sequence, nil)))
	require.True(t, rejects(e, wire.AppendResponse(nil, wire.ErrObjectNotFound, wire.Get, e.Decoded.Sequence+1, nil)))
	require.True(t, rejects(e, wire.AppendResponse(nil, wire.ErrObjectNotFound, wire.Put, e.Decoded.Sequence, nil)))
}
