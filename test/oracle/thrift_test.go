package oracle_test

import (
	"context"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

var background = context.Background()

// nestingLimit is the depth of unknown values that package wire accepts.
const nestingLimit = 17

// protocol is thrift's binary protocol over bytes in memory.
type protocol struct {
	*thrift.TBinaryProtocol
	memory *thrift.TMemoryBuffer
	uuid   bool // whether a UUID was read, a type that package wire does not know
}

func newProtocol(data []byte) *protocol {
	memory := thrift.NewTMemoryBuffer()
	_, _ = memory.Write(data) // to memory, which does not fail
	return &protocol{TBinaryProtocol: thrift.NewTBinaryProtocolConf(memory, nil), memory: memory}
}

// ReadUUID notes that there was one.
func (p *protocol) ReadUUID(ctx context.Context) (thrift.Tuuid, error) {
	p.uuid = true
	return p.TBinaryProtocol.ReadUUID(ctx)
}

// ReadBool reads a bool as the C++ library does.
func (p *protocol) ReadBool(ctx context.Context) (bool, error) {
	b, err := p.ReadByte(ctx)
	return b != 0, err
}

// key is how thrift's generated code recognizes a field.
type key struct {
	id       int16
	wireType thrift.TType
}

// readStruct reads the fields of a struct and the STOP, as thrift's generated code does: a field that
// is known is read by the given function, any other is skipped.
func (p *protocol) readStruct(known map[key]func() error) error {
	for {
		_, wireType, id, err := p.ReadFieldBegin(background)
		if err != nil || wireType == thrift.STOP {
			return err
		}
		read, ok := known[key{id, wireType}]
		if !ok {
			read = func() error { return thrift.Skip(background, p, wireType, nestingLimit) }
		}
		if err := read(); err != nil {
			return err
		}
	}
}

// into returns a function that reads a value to where it belongs.
func into[T any](read func(context.Context) (T, error), value *T) func() error {
	return func() (err error) {
		*value, err = read(background)
		return err
	}
}

// intoOptionalI32 returns a function that reads a number and notes that it is there.
func (p *protocol) intoOptionalI32(value *int32, present *bool) func() error {
	return func() (err error) {
		*value, err = p.ReadI32(background)
		*present = true
		return err
	}
}

// readOptionalBool reads a bool that is there.
func (p *protocol) readOptionalBool(ctx context.Context) (wire.OptionalBool, error) {
	value, err := p.ReadBool(ctx)
	if value {
		return wire.Yes, err
	}
	return wire.No, err
}

// unquestionedCount is the number of elements in a list of which package wire takes even the emptiest.
const unquestionedCount = 1024

// intoList returns a function that reads a list, with the demands of package wire: a list comes once,
// its elements are of the type expected, and many of them need room for all their fields.
func intoList[T any](p *protocol, elementType thrift.TType, minSize int, list *[]T, read func(p *protocol) (T, error)) func() error {
	return func() error {
		got, count, err := p.ReadListBegin(background)
		if err != nil {
			return err
		}
		if *list != nil || count > 0 && got != elementType || count > unquestionedCount && count*minSize > p.memory.Len() {
			return errUnexpected
		}
		*list = make([]T, min(count, p.memory.Len()))
		for i := range *list {
			if (*list)[i], err = read(p); err != nil {
				return err
			}
		}
		if len(*list) < count {
			return errUnexpected // an element takes a byte at least
		}
		return nil
	}
}

// field is a field for thrift to write.
type field struct {
	key
	write func(p *protocol) error
}

func i32(id int16, value int32) field {
	return field{key{id, thrift.I32}, func(p *protocol) error { return p.WriteI32(background, value) }}
}

func i64(id int16, value int64) field {
	return field{key{id, thrift.I64}, func(p *protocol) error { return p.WriteI64(background, value) }}
}

func boolean(id int16, value bool) field {
	return field{key{id, thrift.BOOL}, func(p *protocol) error { return p.WriteBool(background, value) }}
}

func text(id int16, value string) field {
	return field{key{id, thrift.STRING}, func(p *protocol) error { return p.WriteString(background, value) }}
}

// listField is a list whose elements are written by the given function.
func listField[T any](id int16, elementType thrift.TType, elements []T, write func(p *protocol, element *T) error) field {
	return field{key{id, thrift.LIST}, func(p *protocol) error {
		if err := p.WriteListBegin(background, elementType, len(elements)); err != nil {
			return err
		}
		for i := range elements {
			if err := write(p, &elements[i]); err != nil {
				return err
			}
		}
		return p.WriteListEnd(background)
	}}
}

// structs is a list of structs, each with fields between its own that package wire does not know.
func structs[T any](t *rapid.T, id int16, elements []T, s structure[T]) field {
	return listField(id, thrift.STRUCT, elements, func(p *protocol, element *T) error {
		p.writeStruct(t, s.fields(t, element)...)
		return nil
	})
}

// blob is marked as a struct but is bare length and bytes.
func blob(id int16, value []byte) field {
	return field{key{id, thrift.STRUCT}, func(p *protocol) error { return p.WriteBinary(background, value) }}
}

// irregular is a field of one of Pegasus's irregular types, of which thrift writes the header only.
func irregular(id int16, content ...byte) field {
	return field{key{id, thrift.STRUCT}, func(p *protocol) error {
		_, err := p.memory.Write(content)
		return err
	}}
}

// writeStruct makes thrift write a struct with the given fields and, between them, fields that package
// wire does not know.
func (p *protocol) writeStruct(t *rapid.T, fields ...field) {
	for _, f := range fields {
		p.writeUnknown(t)
		p.writeField(t, f)
	}
	p.writeUnknown(t)
	require.NoError(t, p.WriteFieldStop(background))
}

func (p *protocol) writeField(t require.TestingT, f field) {
	require.NoError(t, p.WriteFieldBegin(background, "", f.wireType, f.id))
	require.NoError(t, f.write(p))
	require.NoError(t, p.WriteFieldEnd(background))
}

// ordinary are the types that can be skipped without knowing the field.
var ordinary = []thrift.TType{
	thrift.BOOL, thrift.BYTE, thrift.DOUBLE, thrift.I16, thrift.I32, thrift.I64, thrift.STRING,
	thrift.MAP, thrift.SET, thrift.LIST,
}

func (p *protocol) writeUnknown(t *rapid.T) {
	for range rapid.IntRange(0, 2).Draw(t, "unknown fields") {
		wireType := rapid.SampledFrom(ordinary).Draw(t, "type")
		id := rapid.SampledFrom([]int16{0, 99, 32767, -1}).Draw(t, "id")
		p.writeField(t, field{key{id, wireType}, func(p *protocol) error { return p.writeAny(t, wireType, 1) }})
	}
}

// writeAny writes an arbitrary value of a type, nested no deeper than package wire accepts.
func (p *protocol) writeAny(t *rapid.T, wireType thrift.TType, depth int) error {
	switch wireType {
	case thrift.BOOL:
		return p.WriteBool(background, rapid.Bool().Draw(t, "bool"))
	case thrift.BYTE:
		return p.WriteByte(background, rapid.Int8().Draw(t, "byte"))
	case thrift.DOUBLE:
		return p.WriteDouble(background, rapid.Float64().Draw(t, "double"))
	case thrift.I16:
		return p.WriteI16(background, rapid.Int16().Draw(t, "i16"))
	case thrift.I32:
		return p.WriteI32(background, rapid.Int32().Draw(t, "i32"))
	case thrift.I64:
		return p.WriteI64(background, rapid.Int64().Draw(t, "i64"))
	case thrift.STRING:
		return p.WriteString(background, rapid.String().Draw(t, "string"))
	}
	return p.writeContainer(t, wireType, depth)
}

func (p *protocol) writeContainer(t *rapid.T, wireType thrift.TType, depth int) error {
	inner := ordinary
	if depth == nestingLimit-1 {
		inner = ordinary[:7] // no containers
	}
	elements := []thrift.TType{rapid.SampledFrom(inner).Draw(t, "element type")}
	count := rapid.IntRange(0, 2).Draw(t, "count")
	switch wireType {
	case thrift.SET:
		require.NoError(t, p.WriteSetBegin(background, elements[0], count))
	case thrift.LIST:
		require.NoError(t, p.WriteListBegin(background, elements[0], count))
	default:
		elements = append(elements, rapid.SampledFrom(inner).Draw(t, "value type"))
		require.NoError(t, p.WriteMapBegin(background, elements[0], elements[1], count))
	}
	for range count {
		for _, element := range elements {
			require.NoError(t, p.writeAny(t, element, depth+1))
		}
	}
	return nil
}

// Thrift's skipper takes the first byte of a host_port, the highest of a length, for a STOP.
func TestThriftLosesItsWay(t *testing.T) {
	p := newProtocol(nil)
	p.writeField(t, irregular(9, 0, 0, 0, 5, 'h', 'o', 's', 't', '1', 0x87, 0xf1, 1))
	p.writeField(t, i32(10, 7))
	require.NoError(t, p.WriteFieldStop(background))

	var number int32
	err := p.readStruct(map[key]func() error{{10, thrift.I32}: into(p.ReadI32, &number)})
	require.True(t, err != nil || number != 7, "were this possible, wire could do it too")
}
