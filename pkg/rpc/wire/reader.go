package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Errors that a decoder reports, inside a *[DecodeError].
var (
	// ErrTruncated means that the bytes ended before the value did.
	ErrTruncated = errors.New("truncated")
	// ErrMalformed means that the bytes cannot be what they should be.
	ErrMalformed = errors.New("malformed")
	// ErrUnskippable means that a field of struct type is unknown to this client. Pegasus encodes
	// some structs without the marks that would allow to skip them, so what follows cannot be read
	// (docs/protocol.md, thrift profile).
	ErrUnskippable = errors.New("unknown field of struct type")
)

// DecodeError tells where and why bytes could not be decoded.
type DecodeError struct {
	// Offset counts the bytes from the start of what was decoded to the fault.
	Offset int
	// Err is the cause, one of the errors above, possibly wrapped with details.
	Err error
}

// Error implements error.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("wire: cannot decode at byte %d: %v", e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// maxSkipDepth bounds the nesting of unknown containers, so that hostile bytes cannot exhaust the
// stack.
const maxSkipDepth = 16

// Reader decodes thrift values from bytes that the caller owns. The first fault sticks: every later
// read returns a zero value, and [Reader.Err] reports the fault. Not for concurrent use.
type Reader struct {
	data   []byte
	offset int
	err    error
	field  uint32 // id<<8 | type of the field whose header was read last, or noField
}

// NewReader returns a Reader over data, which it does not copy.
func NewReader(data []byte) Reader { return Reader{data: data} }

// Reset makes the Reader start anew over data, which it does not copy.
func (r *Reader) Reset(data []byte) { *r = Reader{data: data} }

// Own copies the bytes, so that what is decoded after it belongs to the caller and outlives the frame.
// It is one piece of memory, which stays as long as any part of it is referred to.
func (r *Reader) Own() { r.data = bytes.Clone(r.data) }

// Err returns the first fault, a *[DecodeError], or nil.
func (r *Reader) Err() error { return r.err }

// Remaining returns the number of bytes not yet read; 0 after a fault.
func (r *Reader) Remaining() int { return len(r.data) - r.offset }

// Fail records err as the fault, unless there is one already. Decode methods outside this package
// use it for values that are well-formed but make no sense.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = &DecodeError{Offset: r.offset, Err: err}
	}
	// With no bytes left, every later read finds out by itself and none has to ask for r.err.
	r.data = r.data[:r.offset]
}

// take returns the next n bytes, at least 0, which stay part of the data. It returns nil if there are
// not as many.
func (r *Reader) take(n int) []byte {
	rest := r.data[r.offset:]
	if n > len(rest) {
		return r.truncated()
	}
	r.offset += n
	return rest[:n:n]
}

// truncated is apart from take so that the compiler inlines take.
func (r *Reader) truncated() []byte {
	r.Fail(ErrTruncated)
	return nil
}

// noField is the current field after STOP and after a fault.
const noField = 0

// nextField reads a field header. The current field is then the one it announces, or noField.
func (r *Reader) nextField() {
	if rest := r.data[r.offset:]; len(rest) > 3 && rest[0] != typeStop { // a value has at least a byte
		r.field = binary.BigEndian.Uint32(rest) >> 8
		r.offset += 3
	} else {
		r.endFields()
	}
}

// endFields reads a STOP; anything else that is not a field is the rest of one.
func (r *Reader) endFields() {
	r.field = noField
	if r.byte() != typeStop {
		r.Fail(ErrTruncated)
	}
}

// at says whether the current field is the given one. A known id with another type is thereby an
// unknown field, as it is for thrift's own code.
func (r *Reader) at(id int16, fieldType byte) bool {
	return r.field == uint32(fieldType)<<16|uint32(uint16(id))
}

// skipField skips the value of the current field, of which only the type is known.
func (r *Reader) skipField() { r.skip(byte(r.field>>16), 0) }

func (r *Reader) skip(valueType byte, depth int) {
	if depth > maxSkipDepth {
		r.Fail(fmt.Errorf("%w: containers nested too deeply", ErrMalformed))
		return
	}
	switch valueType {
	case typeBool, typeByte:
		r.take(1)
	case typeI16:
		r.take(2)
	case typeI32:
		r.take(4)
	case typeI64, typeDouble:
		r.take(8)
	case typeString:
		r.blob()
	case typeStruct:
		r.Fail(ErrUnskippable)
	case typeList, typeSet:
		elementType := r.byte()
		r.skipElements(r.count(), depth, elementType)
	case typeMap:
		keyType, valueType := r.byte(), r.byte()
		r.skipElements(r.count(), depth, keyType, valueType)
	default:
		r.Fail(fmt.Errorf("%w: type code %d", ErrMalformed, valueType))
	}
}

func (r *Reader) skipElements(count, depth int, types ...byte) {
	for i := 0; i < count && r.err == nil; i++ {
		for _, elementType := range types {
			r.skip(elementType, depth+1)
		}
	}
}

func (r *Reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *Reader) bool() bool { return r.byte() != 0 }

func (r *Reader) i16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *Reader) i32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *Reader) i64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// blob reads a length and that many bytes, which stay part of the data.
func (r *Reader) blob() []byte {
	length := r.i32()
	if length < 0 {
		r.Fail(fmt.Errorf("%w: negative length %d", ErrMalformed, length))
		return nil
	}
	return r.take(int(length))
}

// maxErrorNameLength bounds the names of errors, of which the longest known has 36 bytes. Names
// outlive the frame, so an unbounded one would cost memory of its own.
const maxErrorNameLength = 1024

func (r *Reader) errorName() ErrorName {
	name := r.blob()
	if len(name) > maxErrorNameLength {
		r.Fail(fmt.Errorf("%w: error name of %d bytes", ErrMalformed, len(name)))
		return ""
	}
	return InternErrorName(name)
}

// count reads the number of elements of a container. Each takes at least a byte, so a number that
// the remaining bytes cannot hold is refused before anybody allocates for it.
func (r *Reader) count() int {
	count := int(r.i32())
	if count < 0 || count > r.Remaining() {
		r.Fail(fmt.Errorf("%w: %d elements in %d bytes", ErrMalformed, count, r.Remaining()))
		return 0
	}
	return count
}

// unquestionedCount is the number of elements that list lets pass if there is a byte for each.
const unquestionedCount = 1024

// list reads the header of a list whose elements must be of the given type, and returns their number
// for the caller to allocate. An empty list may declare any element type.
//
// minSize is the size of an element of which nothing is absent. A long list must have room for as
// many of those, since an element in memory can be two hundred times as large as the least that a
// struct takes on the wire, a STOP. In a short list fields may be absent. So a list takes at most six
// times the memory of its bytes, that of blobs, a list of records four times; or, if it is short, a
// fifth of a MiB.
func (r *Reader) list(elementType byte, minSize int) int {
	declared := r.byte()
	count := r.count()
	if count > 0 && declared != elementType {
		r.Fail(fmt.Errorf("%w: list of type %d, want %d", ErrMalformed, declared, elementType))
		return 0
	}
	if count > unquestionedCount && int64(count)*int64(minSize) > int64(r.Remaining()) {
		r.Fail(fmt.Errorf("%w: list of %d elements in %d bytes", ErrMalformed, count, r.Remaining()))
		return 0
	}
	return count
}

func (r *Reader) gpid() GPID {
	bits := uint64(r.i64())
	return GPID{AppID: int32(uint32(bits)), PartitionIndex: int32(uint32(bits >> 32))}
}

// address reads an rpc_address; the zero value stands for the invalid one.
func (r *Reader) address() netip.AddrPort {
	bits := uint64(r.i64())
	switch bits & 3 {
	case addressInvalid:
		return netip.AddrPort{}
	case addressValid:
		var octets [4]byte
		binary.BigEndian.PutUint32(octets[:], uint32(bits>>32))
		return netip.AddrPortFrom(netip.AddrFrom4(octets), uint16(bits>>16))
	}
	r.Fail(fmt.Errorf("%w: address of kind %d", ErrMalformed, bits&3))
	return netip.AddrPort{}
}

// hostPort reads a host_port; the zero value stands for the invalid one.
func (r *Reader) hostPort() HostPort {
	node := HostPort{Host: string(r.blob()), Port: uint16(r.i16())}
	kind := r.byte()
	if kind != addressInvalid && kind != addressValid {
		r.Fail(fmt.Errorf("%w: host_port of kind %d", ErrMalformed, kind))
	}
	if kind != addressValid || !node.IsValid() {
		return HostPort{}
	}
	return node
}
