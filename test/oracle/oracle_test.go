package oracle_test

import (
	"errors"
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

// TestThriftWritesWireReads is about results and arguments with fields that wire does not know.
func TestThriftWritesWireReads(t *testing.T) {
	t.Run("TTLResponse", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			want, p := drawTTL(t), newProtocol(nil)
			p.writeStruct(t, i32(1, int32(want.Status)), i32(2, want.Seconds), i32(3, want.Origin.GPID.AppID),
				i32(4, want.Origin.GPID.PartitionIndex), text(6, string(want.Origin.Server)))
			var got wire.TTLResponse
			require.NoError(t, wire.DecodeResult(new(wire.Reader), asResult(p.memory.Bytes()), &got))
			require.Equal(t, want, got)
		})
	})
	t.Run("UpdateResponse", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			want, p := wire.UpdateResponse{Decree: rapid.Int64().Draw(t, "decree")}, newProtocol(nil)
			p.writeStruct(t, i64(4, want.Decree))
			var got wire.UpdateResponse
			require.NoError(t, wire.DecodeResult(new(wire.Reader), asResult(p.memory.Bytes()), &got))
			require.Equal(t, want, got)
		})
	})
	t.Run("QueryConfigRequest", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			want, p := drawQuery(t), newProtocol(nil)
			p.writeStruct(t, text(1, want.Table), i32List(2, want.Partitions))
			var got wire.QueryConfigRequest
			require.NoError(t, wire.DecodeArguments(new(wire.Reader), asResult(p.memory.Bytes()), &got))
			require.Equal(t, want, got)
		})
	})
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

func TestWireWritesThriftReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		header, ttl, query := drawHeader(t), drawTTL(t), drawQuery(t)
		frame := wire.AppendRequestV1(nil, &header, wire.QueryConfig, 7, &query)
		meta, err := readHeader(newProtocol(frame[16 : 16+37]))
		require.NoError(t, err)
		require.Equal(t, header, meta)

		p := newProtocol(frame[16+37:])
		requireMessageBegin(t, p, wire.QueryConfig.Name(), thrift.CALL)
		gotQuery, err := readWrapped(p, 1, readQuery)
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
		gotTTL, err := readWrapped(p, 0, readTTL)
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

func drawTTL(t *rapid.T) wire.TTLResponse {
	return wire.TTLResponse{
		Status: wire.Status(rapid.Int32().Draw(t, "status")), Seconds: rapid.Int32().Draw(t, "seconds"),
		Origin: wire.Origin{
			GPID:   wire.GPID{AppID: rapid.Int32().Draw(t, "app"), PartitionIndex: rapid.Int32().Draw(t, "index")},
			Server: append([]byte{}, rapid.String().Draw(t, "server")...),
		},
	}
}

func drawQuery(t *rapid.T) wire.QueryConfigRequest {
	return wire.QueryConfigRequest{
		Table:      rapid.String().Draw(t, "table"),
		Partitions: append([]int32{}, rapid.SliceOfN(rapid.Int32(), 0, 5).Draw(t, "partitions")...),
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

func readTTL(p *protocol) (m wire.TTLResponse, err error) {
	err = p.readStruct(map[key]func() error{
		{1, thrift.I32}:    into(p.ReadI32, (*int32)(&m.Status)),
		{2, thrift.I32}:    into(p.ReadI32, &m.Seconds),
		{3, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.AppID),
		{4, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.PartitionIndex),
		{6, thrift.STRING}: into(p.ReadBinary, &m.Origin.Server),
	})
	return m, err
}

func readQuery(p *protocol) (m wire.QueryConfigRequest, err error) {
	err = p.readStruct(map[key]func() error{
		{1, thrift.STRING}: into(p.ReadString, &m.Table),
		{2, thrift.LIST}: func() error {
			elementType, count, err := p.ReadListBegin(background)
			if err != nil {
				return err
			}
			if m.Partitions != nil || count > 0 && elementType != thrift.I32 {
				return errUnexpected
			}
			m.Partitions = make([]int32, count)
			for i := range m.Partitions {
				if m.Partitions[i], err = p.ReadI32(background); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return m, err
}
