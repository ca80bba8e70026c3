package wire_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

var (
	anyBytes  = rapid.Custom(func(t *rapid.T) []byte { return append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")...) })
	anyStatus = rapid.Custom(func(t *rapid.T) wire.Status { return wire.Status(rapid.Int32().Draw(t, "status")) })
	anyGPID   = rapid.Custom(func(t *rapid.T) wire.GPID {
		return wire.GPID{AppID: anyInt32.Draw(t, "app"), PartitionIndex: anyInt32.Draw(t, "index")}
	})
	anyInt32   = rapid.Int32()
	anyInt64   = rapid.Int64()
	anyAddress = rapid.Custom(func(t *rapid.T) netip.AddrPort {
		if rapid.Bool().Draw(t, "none") {
			return netip.AddrPort{}
		}
		octets := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "octets"))
		return netip.AddrPortFrom(netip.AddrFrom4(octets), rapid.Uint16().Draw(t, "port"))
	})
	anyNode = rapid.Custom(func(t *rapid.T) wire.HostPort {
		host := rapid.String().Draw(t, "host")
		if host == "" {
			return wire.HostPort{}
		}
		return wire.HostPort{Host: host, Port: rapid.Uint16().Draw(t, "port")}
	})
	anyErrorName = rapid.Custom(func(t *rapid.T) wire.ErrorName {
		known := rapid.SampledFrom([]wire.ErrorName{wire.ErrOK, wire.ErrForwardToOthers, ""})
		return rapid.OneOf(known, rapid.Map(rapid.StringN(0, 200, 1024), func(s string) wire.ErrorName { return wire.ErrorName(s) })).Draw(t, "error")
	})
	anyOrigin = rapid.Custom(func(t *rapid.T) wire.Origin {
		return wire.Origin{GPID: anyGPID.Draw(t, "gpid"), Server: anyBytes.Draw(t, "server")}
	})
	anyPartition = rapid.Custom(func(t *rapid.T) wire.PartitionConfiguration {
		return wire.PartitionConfiguration{
			GPID: anyGPID.Draw(t, "gpid"), Ballot: anyInt64.Draw(t, "ballot"), MaxReplicaCount: anyInt32.Draw(t, "replicas"),
			Primary: anyAddress.Draw(t, "primary"), Secondaries: listOf(t, anyAddress), LastDrops: listOf(t, anyAddress),
			LastCommittedDecree: anyInt64.Draw(t, "decree"), PartitionFlags: anyInt32.Draw(t, "flags"),
			PrimaryName: anyNode.Draw(t, "name"), SecondaryNames: optionalListOf(t, anyNode), LastDropNames: optionalListOf(t, anyNode),
		}
	})
	anyBool     = rapid.Bool()
	anyOptional = rapid.SampledFrom([]wire.OptionalBool{wire.Absent, wire.No, wire.Yes})
	anyFilter   = rapid.Custom(func(t *rapid.T) wire.FilterType { return wire.FilterType(anyInt32.Draw(t, "filter")) })
	anyCheck    = rapid.Custom(func(t *rapid.T) wire.CheckType { return wire.CheckType(anyInt32.Draw(t, "check")) })
	anyKeyValue = rapid.Custom(func(t *rapid.T) wire.KeyValue {
		m := wire.KeyValue{Key: anyBytes.Draw(t, "key"), Value: anyBytes.Draw(t, "value")}
		m.ExpireSeconds, m.HasExpiry = optionalInt32(t)
		return m
	})
	anyFullKey = rapid.Custom(func(t *rapid.T) wire.FullKey {
		return wire.FullKey{HashKey: anyBytes.Draw(t, "hash key"), SortKey: anyBytes.Draw(t, "sort key")}
	})
	anyFullData = rapid.Custom(func(t *rapid.T) wire.FullData {
		return wire.FullData{
			HashKey: anyBytes.Draw(t, "hash key"), SortKey: anyBytes.Draw(t, "sort key"), Value: anyBytes.Draw(t, "value"),
		}
	})
	anyMutate = rapid.Custom(func(t *rapid.T) wire.Mutate {
		return wire.Mutate{
			Operation: wire.MutateOperation(anyInt32.Draw(t, "operation")), SortKey: anyBytes.Draw(t, "sort key"),
			Value: anyBytes.Draw(t, "value"), ExpireSeconds: anyInt32.Draw(t, "expiry"),
		}
	})
)

// optionalInt32 returns a number and whether it is present.
func optionalInt32(t *rapid.T) (value int32, present bool) {
	if anyBool.Draw(t, "present") {
		return anyInt32.Draw(t, "number"), true
	}
	return 0, false
}

// What writes send.
var (
	anyPut = rapid.Custom(func(t *rapid.T) wire.PutRequest {
		return wire.PutRequest{Key: anyBytes.Draw(t, "key"), Value: anyBytes.Draw(t, "value"), ExpireSeconds: anyInt32.Draw(t, "expiry")}
	})
	anyMultiPut = rapid.Custom(func(t *rapid.T) wire.MultiPutRequest {
		return wire.MultiPutRequest{
			HashKey: anyBytes.Draw(t, "hash key"), Records: listOf(t, anyKeyValue), ExpireSeconds: anyInt32.Draw(t, "expiry"),
		}
	})
	anyMultiRemove = rapid.Custom(func(t *rapid.T) wire.MultiRemoveRequest {
		return wire.MultiRemoveRequest{
			HashKey: anyBytes.Draw(t, "hash key"), SortKeys: listOf(t, anyBytes), MaxCount: anyInt64.Draw(t, "count"),
		}
	})
	anyIncr = rapid.Custom(func(t *rapid.T) wire.IncrRequest {
		return wire.IncrRequest{Key: anyBytes.Draw(t, "key"), Increment: anyInt64.Draw(t, "increment"), ExpireSeconds: anyInt32.Draw(t, "expiry")}
	})
	anyCheckAndSet = rapid.Custom(func(t *rapid.T) wire.CheckAndSetRequest {
		return wire.CheckAndSetRequest{
			HashKey: anyBytes.Draw(t, "hash key"), CheckSortKey: anyBytes.Draw(t, "check sort key"),
			CheckType: anyCheck.Draw(t, "check type"), CheckOperand: anyBytes.Draw(t, "operand"),
			SetOther: anyBool.Draw(t, "other"), SetSortKey: anyBytes.Draw(t, "set sort key"), SetValue: anyBytes.Draw(t, "value"),
			SetExpireSeconds: anyInt32.Draw(t, "expiry"), ReturnCheckValue: anyBool.Draw(t, "return"),
		}
	})
	anyCheckAndMutate = rapid.Custom(func(t *rapid.T) wire.CheckAndMutateRequest {
		return wire.CheckAndMutateRequest{
			HashKey: anyBytes.Draw(t, "hash key"), CheckSortKey: anyBytes.Draw(t, "check sort key"),
			CheckType: anyCheck.Draw(t, "check type"), CheckOperand: anyBytes.Draw(t, "operand"),
			Mutations: listOf(t, anyMutate), ReturnCheckValue: anyBool.Draw(t, "return"),
		}
	})
)

// listOf never returns nil, which is not told apart from empty on the wire.
func listOf[T any](t *rapid.T, element *rapid.Generator[T]) []T {
	return append([]T{}, rapid.SliceOfN(element, 0, 5).Draw(t, "list")...)
}

func optionalListOf[T any](t *rapid.T, element *rapid.Generator[T]) []T {
	if rapid.Bool().Draw(t, "absent") {
		return nil
	}
	return listOf(t, element)
}

// roundTrip checks that what is written is read back equal and whole, as argument and as result.
func roundTrip[T any, P interface {
	*T
	message
}](t *testing.T, draw func(t *rapid.T) T) {
	t.Run(fmt.Sprintf("%T", *new(T)), func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			want, seq := draw(t), anyInt32.Draw(t, "sequence")
			var got T
			frame := wire.AppendRequestV0(nil, &exampleHeader, wire.Put, seq, P(&want))
			var request wire.Request
			_, err := wire.ParseRequest(frame, &request)
			require.NoError(t, err)
			require.Equal(t, seq, request.Sequence)
			require.NoError(t, wire.DecodeArguments(new(wire.Reader), request.Arguments, P(&got)))
			require.Equal(t, want, got)

			name := anyErrorName.Draw(t, "frame error")
			frame = wire.AppendResponse(nil, name, wire.Put, seq, P(&want))
			var response wire.Response
			require.NoError(t, wire.ParseResponse(frame, &response))
			require.Equal(t, name, response.Error)
			require.Equal(t, seq, response.Sequence)
			require.NoError(t, wire.DecodeResult(new(wire.Reader), resultOf(&response), P(&got)))
			require.Equal(t, want, got)
		})
	})
}

// resultOf gives a result the type that only a struct has, so that Blob and Int64 can be read as one.
func resultOf(response *wire.Response) []byte {
	return append([]byte{12}, response.Result[1:]...)
}

func TestRoundTrip(t *testing.T) {
	roundTrip(t, func(t *rapid.T) wire.Blob { return anyBytes.Draw(t, "blob") })
	roundTrip(t, func(t *rapid.T) wire.Int64 { return wire.Int64(anyInt64.Draw(t, "number")) })
	roundTrip(t, func(t *rapid.T) wire.GetResponse {
		return wire.GetResponse{Status: anyStatus.Draw(t, "status"), Value: anyBytes.Draw(t, "value"), Origin: anyOrigin.Draw(t, "origin")}
	})
	roundTrip(t, func(t *rapid.T) wire.TTLResponse {
		return wire.TTLResponse{Status: anyStatus.Draw(t, "status"), Seconds: anyInt32.Draw(t, "seconds"), Origin: anyOrigin.Draw(t, "origin")}
	})
	roundTrip(t, func(t *rapid.T) wire.UpdateResponse {
		return wire.UpdateResponse{Status: anyStatus.Draw(t, "status"), Decree: anyInt64.Draw(t, "decree"), Origin: anyOrigin.Draw(t, "origin")}
	})
	roundTrip(t, func(t *rapid.T) wire.QueryConfigRequest {
		return wire.QueryConfigRequest{Table: rapid.String().Draw(t, "table"), Partitions: listOf(t, anyInt32)}
	})
	roundTrip(t, func(t *rapid.T) wire.QueryConfigResponse {
		return wire.QueryConfigResponse{
			Error: anyErrorName.Draw(t, "error"), AppID: anyInt32.Draw(t, "app"), PartitionCount: anyInt32.Draw(t, "count"),
			Stateful: rapid.Bool().Draw(t, "stateful"), Partitions: listOf(t, anyPartition),
		}
	})
}

// draw makes a function of a generator.
func draw[T any](generator *rapid.Generator[T]) func(t *rapid.T) T {
	return func(t *rapid.T) T { return generator.Draw(t, "message") }
}

func TestWriteRoundTrip(t *testing.T) {
	roundTrip(t, draw(anyPut))
	roundTrip(t, draw(anyMultiPut))
	roundTrip(t, draw(anyMultiRemove))
	roundTrip(t, draw(anyIncr))
	roundTrip(t, draw(anyCheckAndSet))
	roundTrip(t, draw(anyCheckAndMutate))
	roundTrip(t, func(t *rapid.T) wire.MultiRemoveResponse {
		return wire.MultiRemoveResponse{
			Status: anyStatus.Draw(t, "status"), Count: anyInt64.Draw(t, "count"), Origin: anyOrigin.Draw(t, "origin"),
			Decree: anyInt64.Draw(t, "decree"),
		}
	})
	roundTrip(t, func(t *rapid.T) wire.IncrResponse {
		return wire.IncrResponse{
			Status: anyStatus.Draw(t, "status"), NewValue: anyInt64.Draw(t, "value"), Origin: anyOrigin.Draw(t, "origin"),
			Decree: anyInt64.Draw(t, "decree"),
		}
	})
	roundTrip(t, func(t *rapid.T) wire.CheckResponse {
		return wire.CheckResponse{
			Status: anyStatus.Draw(t, "status"), Returned: anyBool.Draw(t, "returned"), Exists: anyBool.Draw(t, "exists"),
			CheckValue: anyBytes.Draw(t, "value"), Origin: anyOrigin.Draw(t, "origin"), Decree: anyInt64.Draw(t, "decree"),
		}
	})
}

func TestReadRoundTrip(t *testing.T) {
	roundTrip(t, func(t *rapid.T) wire.MultiGetRequest {
		return wire.MultiGetRequest{
			HashKey: anyBytes.Draw(t, "hash key"), SortKeys: listOf(t, anyBytes), MaxCount: anyInt32.Draw(t, "count"),
			MaxSize: anyInt32.Draw(t, "size"), NoValue: anyBool.Draw(t, "no value"), StartSortKey: anyBytes.Draw(t, "start"),
			StopSortKey: anyBytes.Draw(t, "stop"), StartInclusive: anyBool.Draw(t, "start inclusive"),
			StopInclusive: anyBool.Draw(t, "stop inclusive"), Filter: anyFilter.Draw(t, "filter"),
			FilterPattern: anyBytes.Draw(t, "pattern"), Reverse: anyBool.Draw(t, "reverse"),
		}
	})
	roundTrip(t, func(t *rapid.T) wire.MultiGetResponse {
		return wire.MultiGetResponse{Status: anyStatus.Draw(t, "status"), Records: listOf(t, anyKeyValue), Origin: anyOrigin.Draw(t, "origin")}
	})
	roundTrip(t, func(t *rapid.T) wire.CountResponse {
		return wire.CountResponse{Status: anyStatus.Draw(t, "status"), Count: anyInt64.Draw(t, "count"), Origin: anyOrigin.Draw(t, "origin")}
	})
	roundTrip(t, func(t *rapid.T) wire.BatchGetRequest { return wire.BatchGetRequest{Keys: listOf(t, anyFullKey)} })
	roundTrip(t, func(t *rapid.T) wire.BatchGetResponse {
		return wire.BatchGetResponse{Status: anyStatus.Draw(t, "status"), Records: listOf(t, anyFullData), Origin: anyOrigin.Draw(t, "origin")}
	})
	roundTrip(t, func(t *rapid.T) wire.GetScannerRequest {
		return wire.GetScannerRequest{
			StartKey: anyBytes.Draw(t, "start"), StopKey: anyBytes.Draw(t, "stop"),
			StartInclusive: anyBool.Draw(t, "start inclusive"), StopInclusive: anyBool.Draw(t, "stop inclusive"),
			BatchSize: anyInt32.Draw(t, "batch"), NoValue: anyBool.Draw(t, "no value"),
			HashKeyFilter: anyFilter.Draw(t, "hash key filter"), HashKeyPattern: anyBytes.Draw(t, "hash key pattern"),
			SortKeyFilter: anyFilter.Draw(t, "sort key filter"), SortKeyPattern: anyBytes.Draw(t, "sort key pattern"),
			ValidatePartitionHash: anyOptional.Draw(t, "validate"), ReturnExpiry: anyOptional.Draw(t, "expiry"),
			FullScan: anyOptional.Draw(t, "full scan"), OnlyCount: anyOptional.Draw(t, "only count"),
		}
	})
	roundTrip(t, func(t *rapid.T) wire.ScanRequest { return wire.ScanRequest{ContextID: anyInt64.Draw(t, "context")} })
	roundTrip(t, func(t *rapid.T) wire.ScanResponse {
		m := wire.ScanResponse{
			Status: anyStatus.Draw(t, "status"), Records: listOf(t, anyKeyValue), ContextID: anyInt64.Draw(t, "context"),
			Origin: anyOrigin.Draw(t, "origin"),
		}
		m.Count, m.HasCount = optionalInt32(t)
		return m
	})
}

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := wire.Header{
			GPID: anyGPID.Draw(t, "gpid"), TimeoutMillis: anyInt32.Draw(t, "timeout"),
			PartitionHash: rapid.Uint64().Draw(t, "hash"), Backup: rapid.Bool().Draw(t, "backup"),
		}
		var request wire.Request
		size, err := wire.ParseRequest(wire.AppendRequestV1(nil, &want, wire.Get, 1, exampleKey), &request)
		require.NoError(t, err)
		require.NotZero(t, size)
		require.Equal(t, want, request.Header)
		require.Equal(t, want.GPID.ThreadHash(), request.ThreadHash)

		_, err = wire.ParseRequest(wire.AppendRequestV0(nil, &want, wire.Get, 1, exampleKey), &request)
		require.NoError(t, err)
		want.Backup = false
		require.Equal(t, want, request.Header)
		require.Equal(t, want.GPID.ThreadHash(), request.ThreadHash)
	})
}
