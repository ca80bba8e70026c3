package oracle_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// asResult wraps the fields of a struct in the struct that has the result as its field 0.
func asResult(fields []byte) []byte {
	return append(append([]byte{thrift.STRUCT, 0, 0}, fields...), thrift.STOP)
}

// message is a struct of package wire.
type message[T any] interface {
	*T
	wire.Arguments
	wire.Result
}

// bothWays checks that wire reads what thrift writes, fields that wire does not know included, and that
// thrift reads what wire writes.
func bothWays[T any, P message[T]](t *testing.T, s structure[T]) {
	t.Run(fmt.Sprintf("%T", *new(T)), func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			want, p := s.draw(t), newProtocol(nil)
			p.writeStruct(t, s.fields(t, &want)...)
			var got T
			require.NoError(t, wire.DecodeResult(new(wire.Reader), asResult(p.memory.Bytes()), P(&got)))
			require.Equal(t, want, got)

			got, err := readWrapped(newProtocol(append(P(&want).AppendField(nil, 1), thrift.STOP)), 1, s.read)
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	})
}

func TestBothWays(t *testing.T) {
	bothWays(t, ttlResponse)
	bothWays(t, queryConfigRequest)
	bothWays(t, getScannerRequest)
	bothWays(t, scanResponse)
	bothWays(t, checkAndMutateRequest)
	bothWays(t, checkResponse)
}

// The fields of the irregular types are written by hand, all around them is thrift's.
func TestThriftWritesRoutingWireReads(t *testing.T) {
	want := wire.QueryConfigResponse{
		Error: wire.ErrBusy, AppID: 2, PartitionCount: 8, Stateful: true,
		Partitions: []wire.PartitionConfiguration{{
			GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, Ballot: -1,
			Primary:     netip.MustParseAddrPort("10.0.0.1:34801"),
			PrimaryName: wire.HostPort{Host: "host1", Port: 34801},
		}},
	}
	rapid.Check(t, func(t *rapid.T) {
		partition := newProtocol(nil)
		partition.writeStruct(t, irregular(1, 0, 0, 0, 3, 0, 0, 0, 2), i64(2, -1),
			irregular(4, 10, 0, 0, 1, 0x87, 0xf1, 0, 1),
			irregular(9, 0, 0, 0, 5, 'h', 'o', 's', 't', '1', 0x87, 0xf1, 1))
		p := newProtocol(nil)
		p.writeStruct(t, irregular(1, 0, 0, 0, 8, 'E', 'R', 'R', '_', 'B', 'U', 'S', 'Y'), i32(2, 2), i32(3, 8), boolean(4, true),
			field{key{5, thrift.LIST}, func(p *protocol) error {
				require.NoError(t, p.WriteListBegin(background, thrift.STRUCT, 1))
				_, err := p.memory.Write(partition.memory.Bytes())
				return err
			}})
		var got wire.QueryConfigResponse
		require.NoError(t, wire.DecodeResult(new(wire.Reader), asResult(p.memory.Bytes()), &got))
		require.Equal(t, want, got)
	})
}

// TestThriftWritesFrameWireReads is about what surrounds arguments and results.
func TestThriftWritesFrameWireReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, seq := drawHeader(t), rapid.Int32().Draw(t, "sequence")
		meta, body := newProtocol(nil), newProtocol(nil)
		meta.writeStruct(t, i32(1, want.GPID.AppID), i32(2, want.GPID.PartitionIndex), i32(3, want.TimeoutMillis),
			i64(4, int64(want.PartitionHash)), boolean(5, want.Backup))
		require.NoError(t, body.WriteMessageBegin(background, wire.ClearScanner.Name(), thrift.CALL, seq))
		body.writeField(t, i64(1, 5))
		require.NoError(t, body.WriteFieldStop(background))

		var request wire.Request
		_, err := wire.ParseRequest(frameOf(meta.memory.Bytes(), body.memory.Bytes()), &request)
		require.NoError(t, err)
		require.Equal(t, want, request.Header)
		require.Equal(t, wire.ClearScanner.Name(), string(request.Name))
		require.Equal(t, seq, request.Sequence)
		var argument wire.Int64
		require.NoError(t, wire.DecodeArguments(new(wire.Reader), request.Arguments, &argument))
		require.EqualValues(t, 5, argument)

		ours := wire.AppendRequestV1(nil, &want, wire.ClearScanner, seq, argument)
		require.Equal(t, body.memory.Bytes(), ours[16+37:], "both write the same body")
	})
}

// frameOf returns a version 1 frame.
func frameOf(meta, body []byte) []byte {
	p := newProtocol([]byte("THFT"))
	for _, number := range []int{1, len(meta), len(body)} {
		_ = p.WriteI32(background, int32(number)) // to memory, which does not fail
	}
	return append(append(p.memory.Bytes(), meta...), body...)
}

func TestWireWritesFrameThriftReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		header, ttl, query := drawHeader(t), ttlResponse.draw(t), queryConfigRequest.draw(t)
		frame := wire.AppendRequestV1(nil, &header, wire.QueryConfig, 7, &query)
		meta, err := readHeader(newProtocol(frame[16 : 16+37]))
		require.NoError(t, err)
		require.Equal(t, header, meta)

		p := newProtocol(frame[16+37:])
		requireMessageBegin(t, p, wire.QueryConfig.Name(), thrift.CALL)
		gotQuery, err := readWrapped(p, 1, queryConfigRequest.read)
		require.NoError(t, err)
		require.Equal(t, query, gotQuery)

		frame = wire.AppendResponse(nil, wire.ErrOK, wire.TTL, 7, &ttl)
		p = newProtocol(frame)
		size, err := p.ReadI32(background)
		require.NoError(t, err)
		require.EqualValues(t, len(frame), size)
		name, err := p.ReadString(background)
		require.NoError(t, err)
		require.Equal(t, "ERR_OK", name)
		requireMessageBegin(t, p, wire.TTL.ReplyName(), thrift.REPLY)
		gotTTL, err := readWrapped(p, 0, ttlResponse.read)
		require.NoError(t, err)
		require.Equal(t, ttl, gotTTL)
	})
}

func requireMessageBegin(t *rapid.T, p *protocol, want string, wantType thrift.TMessageType) {
	name, messageType, seq, err := p.ReadMessageBegin(background)
	require.NoError(t, err)
	require.Equal(t, want, name)
	require.Equal(t, wantType, messageType)
	require.EqualValues(t, 7, seq)
}

func drawHeader(t *rapid.T) wire.Header {
	return wire.Header{
		GPID:          wire.GPID{AppID: rapid.Int32().Draw(t, "app"), PartitionIndex: rapid.Int32().Draw(t, "index")},
		TimeoutMillis: rapid.Int32().Draw(t, "timeout"), PartitionHash: rapid.Uint64().Draw(t, "hash"),
		Backup: rapid.Bool().Draw(t, "backup"),
	}
}

// errUnexpected is the verdict on what thrift's code would take but a reader of Pegasus's need not.
var errUnexpected = errors.New("unexpected")

// readWrapped reads the struct around an argument or a result.
func readWrapped[T any](p *protocol, id int16, read func(p *protocol) (T, error)) (value T, err error) {
	_, wireType, got, err := p.ReadFieldBegin(background)
	if err != nil {
		return value, err
	}
	if got != id || wireType != thrift.STRUCT {
		return value, errUnexpected
	}
	if value, err = read(p); err != nil {
		return value, err
	}
	if _, wireType, _, err = p.ReadFieldBegin(background); err != nil {
		return value, err
	}
	if wireType != thrift.STOP || p.memory.Len() > 0 {
		return value, errUnexpected
	}
	return value, nil
}

func readHeader(p *protocol) (h wire.Header, err error) {
	var hash int64
	err = p.readStruct(map[key]func() error{
		{1, thrift.I32}:  into(p.ReadI32, &h.GPID.AppID),
		{2, thrift.I32}:  into(p.ReadI32, &h.GPID.PartitionIndex),
		{3, thrift.I32}:  into(p.ReadI32, &h.TimeoutMillis),
		{4, thrift.I64}:  into(p.ReadI64, &hash),
		{5, thrift.BOOL}: into(p.ReadBool, &h.Backup),
	})
	h.PartitionHash = uint64(hash)
	return h, err
}
