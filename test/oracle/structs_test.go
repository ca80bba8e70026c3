package oracle_test

import (
	"github.com/apache/thrift/lib/go/thrift"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// structure is a struct as thrift knows it.
type structure[T any] struct {
	draw   func(t *rapid.T) T
	fields func(t *rapid.T, m *T) []field
	read   func(p *protocol) (T, error)
}

// known are the fields that a struct has, and how each is read.
type known = map[key]func() error

// structureOf makes a structure of a function that lists the fields.
func structureOf[T any](draw func(t *rapid.T) T, fields func(t *rapid.T, m *T) []field, read func(p *protocol, m *T) known) structure[T] {
	return structure[T]{draw, fields, func(p *protocol) (m T, err error) {
		err = p.readStruct(read(p, &m))
		return m, err
	}}
}

var (
	anyInt32 = rapid.Int32()
	anyInt64 = rapid.Int64()
	anyBool  = rapid.Bool()
	anyBytes = rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) []byte { return append([]byte{}, b...) })
)

// listOf draws a list that is never nil, which is not told apart from empty on the wire.
func listOf[T any](t *rapid.T, draw func(t *rapid.T) T) []T {
	return append([]T{}, rapid.SliceOfN(rapid.Custom(draw), 0, 4).Draw(t, "list")...)
}

func drawOrigin(t *rapid.T) wire.Origin {
	return wire.Origin{
		GPID:   wire.GPID{AppID: anyInt32.Draw(t, "app"), PartitionIndex: anyInt32.Draw(t, "index")},
		Server: anyBytes.Draw(t, "server"),
	}
}

var ttlResponse = structureOf(
	func(t *rapid.T) wire.TTLResponse {
		return wire.TTLResponse{
			Status: wire.Status(anyInt32.Draw(t, "status")), Seconds: anyInt32.Draw(t, "seconds"), Origin: drawOrigin(t),
		}
	},
	func(_ *rapid.T, m *wire.TTLResponse) []field {
		return []field{
			i32(1, int32(m.Status)), i32(2, m.Seconds), i32(3, m.Origin.GPID.AppID), i32(4, m.Origin.GPID.PartitionIndex),
			text(6, string(m.Origin.Server)),
		}
	},
	func(p *protocol, m *wire.TTLResponse) known {
		return known{
			{1, thrift.I32}:    into(p.ReadI32, (*int32)(&m.Status)),
			{2, thrift.I32}:    into(p.ReadI32, &m.Seconds),
			{3, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.AppID),
			{4, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.PartitionIndex),
			{6, thrift.STRING}: into(p.ReadBinary, &m.Origin.Server),
		}
	})

var queryConfigRequest = structureOf(
	func(t *rapid.T) wire.QueryConfigRequest {
		return wire.QueryConfigRequest{
			Table:      rapid.String().Draw(t, "table"),
			Partitions: listOf(t, func(t *rapid.T) int32 { return anyInt32.Draw(t, "partition") }),
		}
	},
	func(_ *rapid.T, m *wire.QueryConfigRequest) []field {
		return []field{text(1, m.Table), listField(2, thrift.I32, m.Partitions, func(p *protocol, e *int32) error {
			return p.WriteI32(background, *e)
		})}
	},
	func(p *protocol, m *wire.QueryConfigRequest) known {
		return known{
			{1, thrift.STRING}: into(p.ReadString, &m.Table),
			{2, thrift.LIST}: intoList(p, thrift.I32, 4, &m.Partitions, func(p *protocol) (int32, error) {
				return p.ReadI32(background)
			}),
		}
	})

var getScannerRequest = structureOf(
	func(t *rapid.T) wire.GetScannerRequest {
		optional := rapid.SampledFrom([]wire.OptionalBool{wire.Absent, wire.No, wire.Yes})
		return wire.GetScannerRequest{
			StartKey: anyBytes.Draw(t, "start"), StopKey: anyBytes.Draw(t, "stop"),
			StartInclusive: anyBool.Draw(t, "start inclusive"), StopInclusive: anyBool.Draw(t, "stop inclusive"),
			BatchSize: anyInt32.Draw(t, "batch"), NoValue: anyBool.Draw(t, "no value"),
			HashKeyFilter: wire.FilterType(anyInt32.Draw(t, "hash key filter")), HashKeyPattern: anyBytes.Draw(t, "hash key pattern"),
			SortKeyFilter: wire.FilterType(anyInt32.Draw(t, "sort key filter")), SortKeyPattern: anyBytes.Draw(t, "sort key pattern"),
			ValidatePartitionHash: optional.Draw(t, "validate"), ReturnExpiry: optional.Draw(t, "expiry"),
			FullScan: optional.Draw(t, "full scan"), OnlyCount: optional.Draw(t, "only count"),
		}
	},
	func(_ *rapid.T, m *wire.GetScannerRequest) []field {
		fields := []field{
			blob(1, m.StartKey), blob(2, m.StopKey), boolean(3, m.StartInclusive), boolean(4, m.StopInclusive),
			i32(5, m.BatchSize), boolean(6, m.NoValue), i32(7, int32(m.HashKeyFilter)), blob(8, m.HashKeyPattern),
			i32(9, int32(m.SortKeyFilter)), blob(10, m.SortKeyPattern),
		}
		for i, value := range []wire.OptionalBool{m.ValidatePartitionHash, m.ReturnExpiry, m.FullScan, m.OnlyCount} {
			if value != wire.Absent {
				fields = append(fields, boolean(int16(11+i), value == wire.Yes))
			}
		}
		return fields
	},
	func(p *protocol, m *wire.GetScannerRequest) known {
		return known{
			{1, thrift.STRUCT}:  into(p.ReadBinary, &m.StartKey),
			{2, thrift.STRUCT}:  into(p.ReadBinary, &m.StopKey),
			{3, thrift.BOOL}:    into(p.ReadBool, &m.StartInclusive),
			{4, thrift.BOOL}:    into(p.ReadBool, &m.StopInclusive),
			{5, thrift.I32}:     into(p.ReadI32, &m.BatchSize),
			{6, thrift.BOOL}:    into(p.ReadBool, &m.NoValue),
			{7, thrift.I32}:     into(p.ReadI32, (*int32)(&m.HashKeyFilter)),
			{8, thrift.STRUCT}:  into(p.ReadBinary, &m.HashKeyPattern),
			{9, thrift.I32}:     into(p.ReadI32, (*int32)(&m.SortKeyFilter)),
			{10, thrift.STRUCT}: into(p.ReadBinary, &m.SortKeyPattern),
			{11, thrift.BOOL}:   into(p.readOptionalBool, &m.ValidatePartitionHash),
			{12, thrift.BOOL}:   into(p.readOptionalBool, &m.ReturnExpiry),
			{13, thrift.BOOL}:   into(p.readOptionalBool, &m.FullScan),
			{14, thrift.BOOL}:   into(p.readOptionalBool, &m.OnlyCount),
		}
	})

var keyValue = structureOf(
	func(t *rapid.T) wire.KeyValue {
		m := wire.KeyValue{Key: anyBytes.Draw(t, "key"), Value: anyBytes.Draw(t, "value"), HasExpiry: anyBool.Draw(t, "has expiry")}
		if m.HasExpiry {
			m.ExpireSeconds = anyInt32.Draw(t, "expiry")
		}
		return m
	},
	func(_ *rapid.T, m *wire.KeyValue) []field {
		fields := []field{blob(1, m.Key), blob(2, m.Value)}
		if m.HasExpiry {
			fields = append(fields, i32(3, m.ExpireSeconds))
		}
		return fields
	},
	func(p *protocol, m *wire.KeyValue) known {
		return known{
			{1, thrift.STRUCT}: into(p.ReadBinary, &m.Key),
			{2, thrift.STRUCT}: into(p.ReadBinary, &m.Value),
			{3, thrift.I32}:    p.intoOptionalI32(&m.ExpireSeconds, &m.HasExpiry),
		}
	})

var scanResponse = structureOf(
	func(t *rapid.T) wire.ScanResponse {
		m := wire.ScanResponse{
			Status: wire.Status(anyInt32.Draw(t, "status")), Records: listOf(t, keyValue.draw),
			ContextID: anyInt64.Draw(t, "context"), Origin: drawOrigin(t), HasCount: anyBool.Draw(t, "has count"),
		}
		if m.HasCount {
			m.Count = anyInt32.Draw(t, "count")
		}
		return m
	},
	func(t *rapid.T, m *wire.ScanResponse) []field {
		fields := []field{
			i32(1, int32(m.Status)), structs(t, 2, m.Records, keyValue), i64(3, m.ContextID),
			i32(4, m.Origin.GPID.AppID), i32(5, m.Origin.GPID.PartitionIndex), text(6, string(m.Origin.Server)),
		}
		if m.HasCount {
			fields = append(fields, i32(7, m.Count))
		}
		return fields
	},
	func(p *protocol, m *wire.ScanResponse) known {
		return known{
			{1, thrift.I32}:    into(p.ReadI32, (*int32)(&m.Status)),
			{2, thrift.LIST}:   intoList(p, thrift.STRUCT, 15, &m.Records, keyValue.read),
			{3, thrift.I64}:    into(p.ReadI64, &m.ContextID),
			{4, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.AppID),
			{5, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.PartitionIndex),
			{6, thrift.STRING}: into(p.ReadBinary, &m.Origin.Server),
			{7, thrift.I32}:    p.intoOptionalI32(&m.Count, &m.HasCount),
		}
	})

var mutate = structureOf(
	func(t *rapid.T) wire.Mutate {
		return wire.Mutate{
			Operation: wire.MutateOperation(anyInt32.Draw(t, "operation")), SortKey: anyBytes.Draw(t, "sort key"),
			Value: anyBytes.Draw(t, "value"), ExpireSeconds: anyInt32.Draw(t, "expiry"),
		}
	},
	func(_ *rapid.T, m *wire.Mutate) []field {
		return []field{i32(1, int32(m.Operation)), blob(2, m.SortKey), blob(3, m.Value), i32(4, m.ExpireSeconds)}
	},
	func(p *protocol, m *wire.Mutate) known {
		return known{
			{1, thrift.I32}:    into(p.ReadI32, (*int32)(&m.Operation)),
			{2, thrift.STRUCT}: into(p.ReadBinary, &m.SortKey),
			{3, thrift.STRUCT}: into(p.ReadBinary, &m.Value),
			{4, thrift.I32}:    into(p.ReadI32, &m.ExpireSeconds),
		}
	})

var checkAndMutateRequest = structureOf(
	func(t *rapid.T) wire.CheckAndMutateRequest {
		return wire.CheckAndMutateRequest{
			HashKey: anyBytes.Draw(t, "hash key"), CheckSortKey: anyBytes.Draw(t, "sort key"),
			CheckType: wire.CheckType(anyInt32.Draw(t, "check")), CheckOperand: anyBytes.Draw(t, "operand"),
			Mutations: listOf(t, mutate.draw), ReturnCheckValue: anyBool.Draw(t, "return"),
		}
	},
	func(t *rapid.T, m *wire.CheckAndMutateRequest) []field {
		return []field{
			blob(1, m.HashKey), blob(2, m.CheckSortKey), i32(3, int32(m.CheckType)), blob(4, m.CheckOperand),
			structs(t, 5, m.Mutations, mutate), boolean(6, m.ReturnCheckValue),
		}
	},
	func(p *protocol, m *wire.CheckAndMutateRequest) known {
		return known{
			{1, thrift.STRUCT}: into(p.ReadBinary, &m.HashKey),
			{2, thrift.STRUCT}: into(p.ReadBinary, &m.CheckSortKey),
			{3, thrift.I32}:    into(p.ReadI32, (*int32)(&m.CheckType)),
			{4, thrift.STRUCT}: into(p.ReadBinary, &m.CheckOperand),
			{5, thrift.LIST}:   intoList(p, thrift.STRUCT, 29, &m.Mutations, mutate.read),
			{6, thrift.BOOL}:   into(p.ReadBool, &m.ReturnCheckValue),
		}
	})

var checkResponse = structureOf(
	func(t *rapid.T) wire.CheckResponse {
		return wire.CheckResponse{
			Status: wire.Status(anyInt32.Draw(t, "status")), Returned: anyBool.Draw(t, "returned"), Exists: anyBool.Draw(t, "exists"),
			CheckValue: anyBytes.Draw(t, "value"), Origin: drawOrigin(t), Decree: anyInt64.Draw(t, "decree"),
		}
	},
	func(_ *rapid.T, m *wire.CheckResponse) []field {
		return []field{
			i32(1, int32(m.Status)), boolean(2, m.Returned), boolean(3, m.Exists), blob(4, m.CheckValue),
			i32(5, m.Origin.GPID.AppID), i32(6, m.Origin.GPID.PartitionIndex), i64(7, m.Decree), text(8, string(m.Origin.Server)),
		}
	},
	func(p *protocol, m *wire.CheckResponse) known {
		return known{
			{1, thrift.I32}:    into(p.ReadI32, (*int32)(&m.Status)),
			{2, thrift.BOOL}:   into(p.ReadBool, &m.Returned),
			{3, thrift.BOOL}:   into(p.ReadBool, &m.Exists),
			{4, thrift.STRUCT}: into(p.ReadBinary, &m.CheckValue),
			{5, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.AppID),
			{6, thrift.I32}:    into(p.ReadI32, &m.Origin.GPID.PartitionIndex),
			{7, thrift.I64}:    into(p.ReadI64, &m.Decree),
			{8, thrift.STRING}: into(p.ReadBinary, &m.Origin.Server),
		}
	})
