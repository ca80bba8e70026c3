package wire

import "encoding/binary"

// Some structs are read so often that they have a short cut, decodeUsual. It reads the struct in one go
// if it has exactly the fields that servers send, in their order, up to the STOP; otherwise it reads
// nothing, leaves the struct as it is and is false. It takes a third of the time of the general way or
// less. That is the reference: tests compare the two. The functions below are what short cuts are made
// of.

// usualBytes returns the bytes of the field that data begins with, and what follows it, of which there
// must be something. It returns nil if data begins with anything else than the given header, type and
// id in one number.
func usualBytes(data []byte, header uint64) (value, rest []byte) {
	if len(data) < fieldHeaderSize+lengthSize+stopSize {
		return nil, nil
	}
	bits := binary.BigEndian.Uint64(data) // header, length and the byte after it
	end := fieldHeaderSize + lengthSize + int64(uint32(bits>>8))
	if bits>>40 != header || end >= int64(len(data)) {
		return nil, nil
	}
	return data[fieldHeaderSize+lengthSize : end : end], data[end:]
}

// headerAt returns the field header at offset, type and id in one number.
func headerAt(data []byte, offset int) uint32 { return binary.BigEndian.Uint32(data[offset:]) >> 8 }

// numberAt returns the number in the field whose header is at offset.
func numberAt(data []byte, offset int) uint32 {
	return binary.BigEndian.Uint32(data[offset+fieldHeaderSize:])
}

// endUsual moves the Reader behind the STOP that rest, the end of its data, begins with.
func (r *Reader) endUsual(rest []byte) {
	r.offset = len(r.data) - len(rest) + stopSize
	r.field = noField
}
