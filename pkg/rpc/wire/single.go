package wire

import "encoding/binary"

// Blob is an argument or a value that is nothing but bytes. As an argument, a *Blob that lives
// anyway costs nothing, while Go allocates to put a Blob into an interface.
type Blob []byte

// AppendField implements Arguments.
func (b Blob) AppendField(dst []byte, id int16) []byte { return appendBlobField(dst, id, b) }

// Decode implements Result. The bytes point into the frame.
func (b *Blob) Decode(r *Reader) { *b = r.blob() }

// Int64 is an argument that is nothing but a number.
type Int64 int64

// AppendField implements Arguments.
func (n Int64) AppendField(dst []byte, id int16) []byte { return appendI64Field(dst, id, int64(n)) }

// Decode implements Result.
func (n *Int64) Decode(r *Reader) { *n = Int64(r.i64()) }

// Origin is the part of every data response that tells who answered. It is informative only.
type Origin struct {
	// GPID is the partition that answered.
	GPID GPID
	// Server is the "host:port" of the replica server. The bytes point into the frame.
	Server []byte
}

// GetResponse is the result of Get (read_response).
type GetResponse struct {
	// Status is StatusOK, or StatusNotFound for a record that is absent or expired.
	Status Status
	// Value may be empty for a record that exists. The bytes point into the frame.
	Value []byte
	// Origin tells who answered.
	Origin Origin
}

func (m *GetResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.blob(2, &m.Value)
	c.i32(3, &m.Origin.GPID.AppID)
	c.i32(4, &m.Origin.GPID.PartitionIndex)
	c.text(6, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *GetResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *GetResponse) Decode(r *Reader) {
	*m = GetResponse{}
	if m.decodeUsual(r) {
		return
	}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// decodeUsual is a short cut, see usualBytes.
func (m *GetResponse) decodeUsual(r *Reader) bool {
	data := r.data[r.offset:]
	if len(data) < i32FieldSize || headerAt(data, 0) != typeI32<<16|1 {
		return false
	}
	value, rest := usualBytes(data[i32FieldSize:], typeStruct<<16|2)
	if len(rest) < 2*i32FieldSize || headerAt(rest, 0) != typeI32<<16|3 || headerAt(rest, i32FieldSize) != typeI32<<16|4 {
		return false
	}
	server, end := usualBytes(rest[2*i32FieldSize:], typeString<<16|6)
	if len(end) == 0 || end[0] != typeStop {
		return false
	}
	m.Status, m.Value = Status(numberAt(data, 0)), value
	m.Origin.GPID = GPID{AppID: int32(numberAt(rest, 0)), PartitionIndex: int32(numberAt(rest, i32FieldSize))}
	m.Origin.Server = server
	r.endUsual(end)
	return true
}

// TTLResponse is the result of TTL (ttl_response).
type TTLResponse struct {
	// Status is StatusOK, or StatusNotFound for a record that is absent or expired.
	Status Status
	// Seconds is the remaining life; -1 means that the record does not expire, any other negative
	// number that it expires far in the future (docs/protocol.md, TTL).
	Seconds int32
	// Origin tells who answered.
	Origin Origin
}

func (m *TTLResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.i32(2, &m.Seconds)
	c.i32(3, &m.Origin.GPID.AppID)
	c.i32(4, &m.Origin.GPID.PartitionIndex)
	c.text(6, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *TTLResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *TTLResponse) Decode(r *Reader) {
	*m = TTLResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// PutRequest is the argument of Put (update_request). The fields 4 to 7 of that struct are for
// replication between servers and are never sent (docs/protocol.md, put and remove).
type PutRequest struct {
	// Key is the raw key, see AppendKey. Decoded bytes point into the frame.
	Key []byte
	// Value may be empty. Decoded bytes point into the frame.
	Value []byte
	// ExpireSeconds is the expiry in seconds since ExpireEpoch; 0 means never.
	ExpireSeconds int32
	// Internal tells, after Decode, that a field reserved for replication was present.
	Internal bool
}

func (m *PutRequest) fields(c *coder) {
	c.blob(1, &m.Key)
	c.blob(2, &m.Value)
	c.i32(3, &m.ExpireSeconds)
	c.reserved(4, typeI32, &m.Internal)
	c.reserved(5, typeBool, &m.Internal)
	c.reserved(6, typeBool, &m.Internal)
	c.reserved(7, typeStruct, &m.Internal)
}

// AppendField implements Arguments. It writes what fields would write, with fewer than half the
// instructions.
func (m *PutRequest) AppendField(dst []byte, id int16) []byte {
	dst = appendFieldHeader(dst, id, typeStruct)
	dst = appendBlobField(dst, 1, m.Key)
	dst = appendBlobField(dst, 2, m.Value)
	dst = appendI32Field(dst, 3, m.ExpireSeconds)
	return append(dst, typeStop)
}

// Decode implements Result.
func (m *PutRequest) Decode(r *Reader) {
	*m = PutRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// UpdateResponse is the result of Put and Remove (update_response).
type UpdateResponse struct {
	// Status is StatusOK also for the removal of an absent record.
	Status Status
	// Decree is the position of the write in the partition's log.
	Decree int64
	// Origin tells who answered.
	Origin Origin
}

func (m *UpdateResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.i32(2, &m.Origin.GPID.AppID)
	c.i32(3, &m.Origin.GPID.PartitionIndex)
	c.i64(4, &m.Decree)
	c.text(5, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *UpdateResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *UpdateResponse) Decode(r *Reader) {
	*m = UpdateResponse{}
	if m.decodeUsual(r) {
		return
	}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// decodeUsual is a short cut, see usualBytes.
func (m *UpdateResponse) decodeUsual(r *Reader) bool {
	const appID, index, decree, server = i32FieldSize, 2 * i32FieldSize, 3 * i32FieldSize, 3*i32FieldSize + i64FieldSize
	data := r.data[r.offset:]
	if len(data) < server || headerAt(data, 0) != typeI32<<16|1 || headerAt(data, appID) != typeI32<<16|2 ||
		headerAt(data, index) != typeI32<<16|3 || headerAt(data, decree) != typeI64<<16|4 {
		return false
	}
	name, end := usualBytes(data[server:], typeString<<16|5)
	if len(end) == 0 || end[0] != typeStop {
		return false
	}
	m.Status = Status(numberAt(data, 0))
	m.Decree = int64(binary.BigEndian.Uint64(data[decree+fieldHeaderSize:]))
	m.Origin = Origin{GPID{int32(numberAt(data, appID)), int32(numberAt(data, index))}, name}
	r.endUsual(end)
	return true
}
