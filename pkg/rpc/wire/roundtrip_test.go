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
	roundTrip(t, func(t *rapid.T) wire.PutRequest {
		return wire.PutRequest{Key: anyBytes.Draw(t, "key"), Value: anyBytes.Draw(t, "value"), ExpireSeconds: anyInt32.Draw(t, "expiry")}
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
