package wire

// MultiGetRequest is the argument of MultiGet (multi_get_request). With sort keys it reads those and
// ignores range, filter and direction; without, it reads a range (docs/protocol.md, multi_get).
type MultiGetRequest struct {
	// HashKey has at most 65534 bytes.
	HashKey []byte
	// SortKeys are the records wanted, in the order of the answer.
	SortKeys [][]byte
	// MaxCount bounds the records of the answer; 0 and anything above means 3000.
	MaxCount int32
	// MaxSize bounds the bytes of the answer's keys and values, which it may exceed by one record; 0
	// means no limit, in a range 30 MiB.
	MaxSize int32
	// NoValue leaves the values out.
	NoValue bool
	// StartSortKey begins the range.
	StartSortKey []byte
	// StopSortKey ends the range; empty means the end of the hash key.
	StopSortKey []byte
	// StartInclusive says whether the start belongs to the range.
	StartInclusive bool
	// StopInclusive says whether the stop belongs to the range.
	StopInclusive bool
	// Filter selects sort keys within the range.
	Filter FilterType
	// FilterPattern is what the filter compares with.
	FilterPattern []byte
	// Reverse reads from the end, so that limits keep the last records; the answer is in ascending
	// order nevertheless.
	Reverse bool
}

func (m *MultiGetRequest) fields(c *coder) {
	c.blob(1, &m.HashKey)
	c.blobs(2, &m.SortKeys)
	c.i32(3, &m.MaxCount)
	c.i32(4, &m.MaxSize)
	c.bool(5, &m.NoValue)
	c.blob(6, &m.StartSortKey)
	c.blob(7, &m.StopSortKey)
	c.bool(8, &m.StartInclusive)
	c.bool(9, &m.StopInclusive)
	c.i32(10, (*int32)(&m.Filter))
	c.blob(11, &m.FilterPattern)
	c.bool(12, &m.Reverse)
}

// AppendField implements Arguments.
func (m *MultiGetRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *MultiGetRequest) Decode(r *Reader) {
	*m = MultiGetRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// MultiGetResponse is the result of MultiGet (multi_get_response).
type MultiGetResponse struct {
	// Status is StatusOK, or StatusIncomplete if a limit ended the reading, perhaps before the first
	// record.
	Status Status
	// Records have sort keys for keys. The bytes point into the frame.
	Records []KeyValue
	// Origin tells who answered.
	Origin Origin
}

func (m *MultiGetResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.keyValues(2, &m.Records)
	c.i32(3, &m.Origin.GPID.AppID)
	c.i32(4, &m.Origin.GPID.PartitionIndex)
	c.text(6, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *MultiGetResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *MultiGetResponse) Decode(r *Reader) {
	*m = MultiGetResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// MultiPutRequest is the argument of MultiPut (multi_put_request), which is answered with an
// UpdateResponse. It is atomic.
type MultiPutRequest struct {
	// HashKey has at most 65534 bytes.
	HashKey []byte
	// Records have sort keys for keys. Servers refuse an empty list; of duplicates the last one wins.
	Records []KeyValue
	// ExpireSeconds is the expiry of all records in seconds since ExpireEpoch; 0 means never.
	ExpireSeconds int32
}

func (m *MultiPutRequest) fields(c *coder) {
	c.blob(1, &m.HashKey)
	c.keyValues(2, &m.Records)
	c.i32(3, &m.ExpireSeconds)
}

// AppendField implements Arguments.
func (m *MultiPutRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *MultiPutRequest) Decode(r *Reader) {
	*m = MultiPutRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// MultiRemoveRequest is the argument of MultiRemove (multi_remove_request). It is atomic.
type MultiRemoveRequest struct {
	// HashKey has at most 65534 bytes.
	HashKey []byte
	// SortKeys are the records to delete. Servers refuse an empty list.
	SortKeys [][]byte
	// MaxCount is ignored by servers.
	MaxCount int64
}

func (m *MultiRemoveRequest) fields(c *coder) {
	c.blob(1, &m.HashKey)
	c.blobs(2, &m.SortKeys)
	c.i64(3, &m.MaxCount)
}

// AppendField implements Arguments.
func (m *MultiRemoveRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *MultiRemoveRequest) Decode(r *Reader) {
	*m = MultiRemoveRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// MultiRemoveResponse is the result of MultiRemove (multi_remove_response).
type MultiRemoveResponse struct {
	// Status is StatusOK also if none of the records existed.
	Status Status
	// Count is the number of sort keys in the request.
	Count int64
	// Origin tells who answered.
	Origin Origin
	// Decree is the position of the write in the partition's log.
	Decree int64
}

func (m *MultiRemoveResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.i64(2, &m.Count)
	c.i32(3, &m.Origin.GPID.AppID)
	c.i32(4, &m.Origin.GPID.PartitionIndex)
	c.i64(5, &m.Decree)
	c.text(6, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *MultiRemoveResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *MultiRemoveResponse) Decode(r *Reader) {
	*m = MultiRemoveResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// CountResponse is the result of SortKeyCount (count_response).
type CountResponse struct {
	// Status is StatusOK also if there are no records.
	Status Status
	// Count is the number of live records of the hash key; -1 if counting took the server too long.
	Count int64
	// Origin tells who answered.
	Origin Origin
}

func (m *CountResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.i64(2, &m.Count)
	c.i32(3, &m.Origin.GPID.AppID)
	c.i32(4, &m.Origin.GPID.PartitionIndex)
	c.text(6, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *CountResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *CountResponse) Decode(r *Reader) {
	*m = CountResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}
