package conformance

import (
	"encoding/binary"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// RPCs that create and drop tables (docs/protocol.md, administration).
var (
	createApp = wire.NewMethod("RPC_CM_CREATE_APP")
	dropApp   = wire.NewMethod("RPC_CM_DROP_APP")
)

// createAppRequest is configuration_create_app_request, as far as these tests need it.
type createAppRequest struct {
	name                 string
	partitions, replicas int32
}

// dropAppRequest is configuration_drop_app_request, as far as these tests need it.
type dropAppRequest struct {
	name           string
	reserveSeconds int64 // how long the data is kept
}

// Thrift type codes.
const (
	thriftStop   = 0
	thriftBool   = 2
	thriftI32    = 8
	thriftI64    = 10
	thriftString = 11
	thriftStruct = 12
	thriftMap    = 13
)

// AppendField implements wire.Arguments.
func (r createAppRequest) AppendField(dst []byte, id int16) []byte {
	dst = appendText(appendHeader(dst, thriftStruct, id), 1, r.name)
	dst = appendHeader(dst, thriftStruct, 2)
	dst = appendI32(dst, 1, r.partitions)
	dst = appendI32(dst, 2, r.replicas)
	dst = append(appendHeader(dst, thriftBool, 3), 0) // success_if_exist
	dst = appendText(dst, 4, "pegasus")
	dst = append(appendHeader(dst, thriftBool, 5), 1) // is_stateful
	dst = append(appendHeader(dst, thriftMap, 6), thriftString, thriftString, 0, 0, 0, 0)
	return append(dst, thriftStop, thriftStop)
}

// AppendField implements wire.Arguments.
func (r dropAppRequest) AppendField(dst []byte, id int16) []byte {
	dst = appendText(appendHeader(dst, thriftStruct, id), 1, r.name)
	dst = appendHeader(dst, thriftStruct, 2)
	dst = append(appendHeader(dst, thriftBool, 1), 0) // success_if_not_exist
	dst = binary.BigEndian.AppendUint64(appendHeader(dst, thriftI64, 2), uint64(r.reserveSeconds))
	return append(dst, thriftStop, thriftStop)
}

func appendHeader(dst []byte, fieldType byte, id int16) []byte {
	return append(dst, fieldType, byte(id>>8), byte(id))
}

func appendI32(dst []byte, id int16, value int32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(dst, thriftI32, id), uint32(value))
}

func appendText(dst []byte, id int16, value string) []byte {
	dst = binary.BigEndian.AppendUint32(appendHeader(dst, thriftString, id), uint32(len(value)))
	return append(dst, value...)
}

// adminResponse is the part of the answers that is the same in both: 1 err, and 2 appid when creating. A routing
// answer begins with the same fields.
type adminResponse = wire.QueryConfigResponse

func TestAdminRequestsAreTheRecordedOnes(t *testing.T) {
	for name, row := range map[string]struct {
		method    *wire.Method
		arguments wire.Arguments
	}{
		"create_3_partitions": {createApp, createAppRequest{name: "gold_adm3_82106", partitions: 3, replicas: 3}},
		"create_odd_name":     {createApp, createAppRequest{name: "gold adm! 82106", partitions: 1, replicas: 3}},
		"drop_ok":             {dropApp, dropAppRequest{name: "gold_adm_82106_r", reserveSeconds: 900}},
	} {
		e := recorded(t).find(t, exchanges, "admin", name)
		var request wire.Request
		_, err := wire.ParseRequest(e.Request, &request)
		require.NoError(t, err, "%v", e)
		again := wire.AppendRequestV0(nil, &request.Header, row.method, request.Sequence, row.arguments)
		require.Equal(t, []byte(e.Request), again, "%v", e)
	}
}

func TestAdminAnswersAreUnderstood(t *testing.T) {
	for name, want := range map[string]adminResponse{
		"create_3_partitions": {Error: wire.ErrOK, AppID: 17},
		"frozen_create":       {Error: wire.ErrStateFreezed},
		"drop_ok":             {Error: wire.ErrOK},
		"drop_again":          {Error: wire.ErrAppNotExist},
	} {
		e := recorded(t).find(t, exchanges, "admin", name)
		var response wire.Response
		require.NoError(t, wire.ParseResponse(e.Response, &response), "%v", e)
		var got adminResponse
		require.NoError(t, wire.DecodeResult(new(wire.Reader), response.Result, &got), "%v", e)
		require.Equal(t, want, got, "%v", e)
	}
}
