package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// coder passes over the fields of one struct, either to write or to read them, so that a struct
// lists its fields once, in the order of their ids, and both directions agree.
//
// Writing takes one pass. Reading takes one as well if the data has the fields in that order, as
// servers send them: each call of a field method takes its field if it is the one that comes next.
// What a pass leaves is out of order, and taken by a further pass, or unknown, and skipped by more.
//
// Each struct repeats the few lines that make a coder and call its method fields. One function for all,
// which would call that method through an interface or a type parameter, lets the coder escape to the
// heap: one allocation to write a message and two to read it, and three times the time.
type coder struct {
	reader *Reader // nil when writing
	dst    []byte  // writing: what there is so far
	passed int     // reading: where the last pass began
}

// writeStruct begins to write a struct as field id of the surrounding one.
func writeStruct(dst []byte, id int16) coder {
	return coder{dst: appendFieldHeader(dst, id, typeStruct)}
}

// end finishes the struct being written and returns the bytes.
func (c *coder) end() []byte { return append(c.dst, typeStop) }

// readStruct begins to read the content of a struct.
func readStruct(r *Reader) coder {
	r.nextField()
	return coder{reader: r, passed: -1}
}

// more says whether another pass is due. It is false after STOP and after a fault.
func (c *coder) more() bool {
	r := c.reader
	if r.offset == c.passed { // nobody took the field
		r.skipField()
		r.nextField()
	}
	c.passed = r.offset
	return r.field != noField
}

// The methods below are one kind of field each. They write the field, or take it if it comes next.

func (c *coder) bool(id int16, value *bool) {
	if c.reader == nil {
		c.dst = appendBoolField(c.dst, id, *value)
	} else if c.reader.at(id, typeBool) {
		*value = c.reader.bool()
		c.reader.nextField()
	}
}

func (c *coder) i32(id int16, value *int32) {
	if c.reader == nil {
		c.dst = appendI32Field(c.dst, id, *value)
	} else if c.reader.at(id, typeI32) {
		*value = c.reader.i32()
		c.reader.nextField()
	}
}

func (c *coder) i64(id int16, value *int64) {
	if c.reader == nil {
		c.dst = appendI64Field(c.dst, id, *value)
	} else if c.reader.at(id, typeI64) {
		*value = c.reader.i64()
		c.reader.nextField()
	}
}

// optionalI32 is left out unless present.
func (c *coder) optionalI32(id int16, value *int32, present *bool) {
	if c.reader == nil {
		if *present {
			c.dst = appendI32Field(c.dst, id, *value)
		}
	} else if c.reader.at(id, typeI32) {
		*value, *present = c.reader.i32(), true
		c.reader.nextField()
	}
}

// optionalBool is left out if it is Absent.
func (c *coder) optionalBool(id int16, value *OptionalBool) {
	if c.reader == nil {
		if *value != Absent {
			c.dst = appendBoolField(c.dst, id, *value == Yes)
		}
	} else if c.reader.at(id, typeBool) {
		*value = No
		if c.reader.bool() {
			*value = Yes
		}
		c.reader.nextField()
	}
}

// u64 travels as an I64 of the same bits.
func (c *coder) u64(id int16, value *uint64) {
	if c.reader == nil {
		c.dst = appendI64Field(c.dst, id, int64(*value))
	} else if c.reader.at(id, typeI64) {
		*value = uint64(c.reader.i64())
		c.reader.nextField()
	}
}

// text is a field of type STRING that is read in place, without a copy.
func (c *coder) text(id int16, value *[]byte) {
	if c.reader == nil {
		c.dst = appendStringField(c.dst, id, *value)
	} else if c.reader.at(id, typeString) {
		*value = c.reader.blob()
		c.reader.nextField()
	}
}

func (c *coder) string(id int16, value *string) {
	if c.reader == nil {
		c.dst = appendStringField(c.dst, id, *value)
	} else if c.reader.at(id, typeString) {
		*value = string(c.reader.blob())
		c.reader.nextField()
	}
}

func (c *coder) blob(id int16, value *[]byte) {
	if c.reader == nil {
		c.dst = appendBlobField(c.dst, id, *value)
	} else if c.reader.at(id, typeStruct) {
		*value = c.reader.blob()
		c.reader.nextField()
	}
}

func (c *coder) errorName(id int16, value *ErrorName) {
	if c.reader == nil {
		c.dst = appendBlobField(c.dst, id, *value)
	} else if c.reader.at(id, typeStruct) {
		*value = c.reader.errorName()
		c.reader.nextField()
	}
}

func (c *coder) gpid(id int16, value *GPID) {
	if c.reader == nil {
		c.dst = appendGPID(appendFieldHeader(c.dst, id, typeStruct), *value)
	} else if c.reader.at(id, typeStruct) {
		*value = c.reader.gpid()
		c.reader.nextField()
	}
}

func (c *coder) address(id int16, value *netip.AddrPort) {
	if c.reader == nil {
		c.dst = appendAddress(appendFieldHeader(c.dst, id, typeStruct), *value)
	} else if c.reader.at(id, typeStruct) {
		*value = c.reader.address()
		c.reader.nextField()
	}
}

// optionalHostPort is left out if it is the zero value.
func (c *coder) optionalHostPort(id int16, value *HostPort) {
	if c.reader == nil {
		if value.IsValid() {
			c.dst = appendHostPort(appendFieldHeader(c.dst, id, typeStruct), *value)
		}
	} else if c.reader.at(id, typeStruct) {
		*value = c.reader.hostPort()
		c.reader.nextField()
	}
}

// reserved is a field that is never written and whose value does not matter. A field of struct type
// is taken for a blob.
func (c *coder) reserved(id int16, fieldType byte, present *bool) {
	if c.reader == nil || !c.reader.at(id, fieldType) {
		return
	}
	*present = true
	if fieldType == typeStruct {
		c.reader.blob()
	} else {
		c.reader.skipField()
	}
	c.reader.nextField()
}

// Sizes of the elements of lists, the smallest where they vary.
const (
	i32Size         = 4
	addressSize     = 8
	minHostPortSize = 7
)

// elements tells how the elements of a list travel. They are written and read in place: copies of
// structs would cost more than the work itself.
type elements[T any] struct {
	wireType byte
	minSize  int // see Reader.list
	append   func(element *T, dst []byte) []byte
	read     func(element *T, r *Reader)
}

// list is a field of type LIST. It may be there once only: were each list of many read in the place of
// the last, a frame could cost a multiple of its size over and over.
func list[T any](c *coder, id int16, value *[]T, of elements[T]) {
	if c.reader == nil {
		c.dst = appendListHeader(c.dst, id, of.wireType, len(*value))
		for i := range *value {
			c.dst = of.append(&(*value)[i], c.dst)
		}
	} else if r := c.reader; r.at(id, typeList) {
		if *value != nil {
			r.Fail(fmt.Errorf("%w: list %d twice", ErrMalformed, id))
		}
		list := make([]T, r.list(of.wireType, of.minSize))
		for i := 0; i < len(list) && r.err == nil; i++ {
			of.read(&list[i], r)
		}
		*value = list
		r.nextField()
	}
}

// The lists of elements that are no structs of their own.

func (c *coder) i32s(id int16, value *[]int32) {
	list(c, id, value, elements[int32]{
		typeI32, i32Size,
		func(element *int32, dst []byte) []byte { return binary.BigEndian.AppendUint32(dst, uint32(*element)) },
		func(element *int32, r *Reader) { *element = r.i32() },
	})
}

func (c *coder) blobs(id int16, value *[][]byte) {
	list(c, id, value, elements[[]byte]{
		typeStruct, lengthSize,
		func(element *[]byte, dst []byte) []byte { return appendBytes(dst, *element) },
		func(element *[]byte, r *Reader) { *element = r.blob() },
	})
}

func (c *coder) addresses(id int16, value *[]netip.AddrPort) {
	list(c, id, value, elements[netip.AddrPort]{
		typeStruct, addressSize,
		func(element *netip.AddrPort, dst []byte) []byte { return appendAddress(dst, *element) },
		func(element *netip.AddrPort, r *Reader) { *element = r.address() },
	})
}

// optionalHostPorts is left out if it is nil; present but empty, it is read as not nil.
func (c *coder) optionalHostPorts(id int16, value *[]HostPort) {
	if c.reader != nil || *value != nil {
		list(c, id, value, elements[HostPort]{
			typeStruct, minHostPortSize,
			func(element *HostPort, dst []byte) []byte { return appendHostPort(dst, *element) },
			func(element *HostPort, r *Reader) { *element = r.hostPort() },
		})
	}
}
