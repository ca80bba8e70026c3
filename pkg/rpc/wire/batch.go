package wire

// FullKey names one record in a batch (full_key).
type FullKey struct {
	// HashKey has at most 65534 bytes.
	HashKey []byte
	// SortKey may be empty.
	SortKey []byte
}

func (m *FullKey) fields(c *coder) {
	c.blob(1, &m.HashKey)
	c.blob(2, &m.SortKey)
}

func (m *FullKey) append(dst []byte) []byte {
	c := coder{dst: dst}
	m.fields(&c)
	return c.end()
}

func (m *FullKey) read(r *Reader) {
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// FullData is one record in the answer to a batch (full_data). Decoded bytes point into the frame.
type FullData struct {
	// HashKey and SortKey are those of the request.
	HashKey, SortKey []byte
	// Value may be empty.
	Value []byte
}

func (m *FullData) fields(c *coder) {
	c.blob(1, &m.HashKey)
	c.blob(2, &m.SortKey)
	c.blob(3, &m.Value)
}

func (m *FullData) append(dst []byte) []byte {
	c := coder{dst: dst}
	m.fields(&c)
	return c.end()
}

func (m *FullData) read(r *Reader) {
	if m.decodeUsual(r) {
		return
	}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// decodeUsual is a short cut, see usualBytes.
func (m *FullData) decodeUsual(r *Reader) bool {
	hashKey, rest := usualBytes(r.data[r.offset:], typeStruct<<16|1)
	sortKey, rest := usualBytes(rest, typeStruct<<16|2)
	value, rest := usualBytes(rest, typeStruct<<16|3)
	if len(rest) == 0 || rest[0] != typeStop {
		return false
	}
	m.HashKey, m.SortKey, m.Value = hashKey, sortKey, value
	r.endUsual(rest)
	return true
}

// BatchGetRequest is the argument of BatchGet (batch_get_request). All keys must belong to the
// partition addressed, which servers do not verify.
type BatchGetRequest struct {
	// Keys are the records wanted, at least one.
	Keys []FullKey
}

func (m *BatchGetRequest) fields(c *coder) {
	list(c, 1, &m.Keys, elements[FullKey]{typeStruct, fullKeySize, (*FullKey).append, (*FullKey).read})
}

// AppendField implements Arguments.
func (m *BatchGetRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *BatchGetRequest) Decode(r *Reader) {
	*m = BatchGetRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// BatchGetResponse is the result of BatchGet (batch_get_response).
type BatchGetResponse struct {
	// Status is StatusOK also if no record exists.
	Status Status
	// Records are those that exist, in the order of the request. The bytes point into the frame.
	Records []FullData
	// Origin tells who answered.
	Origin Origin
}

func (m *BatchGetResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	list(c, 2, &m.Records, elements[FullData]{typeStruct, fullDataSize, (*FullData).append, (*FullData).read})
	c.i32(3, &m.Origin.GPID.AppID)
	c.i32(4, &m.Origin.GPID.PartitionIndex)
	c.text(6, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *BatchGetResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *BatchGetResponse) Decode(r *Reader) {
	*m = BatchGetResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}
