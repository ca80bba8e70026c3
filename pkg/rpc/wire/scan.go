package wire

// OptionalBool is a flag that may be absent. The zero value is.
type OptionalBool int8

// The states of an OptionalBool.
const (
	// Absent leaves the choice to the server.
	Absent OptionalBool = iota
	// No is false.
	No
	// Yes is true.
	Yes
)

// Context ids of scans that mean something else (docs/protocol.md, scans). Any other number, also a
// negative one, is a context that the server keeps.
const (
	// ScanComplete says that there is nothing more to come.
	ScanComplete int64 = -1
	// ScanNoContext is what servers leave in answers that keep no context: empty ranges and failures.
	ScanNoContext int64 = 0
)

// GetScannerRequest is the argument of GetScanner (get_scanner_request), which is answered with a
// ScanResponse.
type GetScannerRequest struct {
	// StartKey is a raw key. A server aborts on an empty one.
	StartKey []byte
	// StopKey is a raw key.
	StopKey []byte
	// StartInclusive says whether the start belongs to the range.
	StartInclusive bool
	// StopInclusive says whether the stop belongs to the range.
	StopInclusive bool
	// BatchSize bounds the records of an answer; 0 and anything above means 1000.
	BatchSize int32
	// NoValue leaves the values out.
	NoValue bool
	// HashKeyFilter selects hash keys. A server aborts on some uses (docs/protocol.md, requests that
	// abort a server).
	HashKeyFilter FilterType
	// HashKeyPattern is what HashKeyFilter compares with.
	HashKeyPattern []byte
	// SortKeyFilter selects sort keys.
	SortKeyFilter FilterType
	// SortKeyPattern is what SortKeyFilter compares with.
	SortKeyPattern []byte
	// ValidatePartitionHash drops records that belong to another partition; absent means Yes.
	ValidatePartitionHash OptionalBool
	// ReturnExpiry adds each record's expiry; absent means No.
	ReturnExpiry OptionalBool
	// FullScan says that the range spans hash keys: without it a server ends at the end of the first;
	// absent means No.
	FullScan OptionalBool
	// OnlyCount returns numbers of records instead of records; absent means No.
	OnlyCount OptionalBool
}

func (m *GetScannerRequest) fields(c *coder) {
	c.blob(1, &m.StartKey)
	c.blob(2, &m.StopKey)
	c.bool(3, &m.StartInclusive)
	c.bool(4, &m.StopInclusive)
	c.i32(5, &m.BatchSize)
	c.bool(6, &m.NoValue)
	c.i32(7, (*int32)(&m.HashKeyFilter))
	c.blob(8, &m.HashKeyPattern)
	c.i32(9, (*int32)(&m.SortKeyFilter))
	c.blob(10, &m.SortKeyPattern)
	c.optionalBool(11, &m.ValidatePartitionHash)
	c.optionalBool(12, &m.ReturnExpiry)
	c.optionalBool(13, &m.FullScan)
	c.optionalBool(14, &m.OnlyCount)
}

// AppendField implements Arguments.
func (m *GetScannerRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *GetScannerRequest) Decode(r *Reader) {
	*m = GetScannerRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// ScanRequest is the argument of Scan (scan_request), which is answered with a ScanResponse.
type ScanRequest struct {
	// ContextID is that of the last answer; the request uses it up.
	ContextID int64
}

func (m *ScanRequest) fields(c *coder) {
	c.i64(1, &m.ContextID)
}

// AppendField implements Arguments.
func (m *ScanRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *ScanRequest) Decode(r *Reader) {
	*m = ScanRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// ScanResponse is the result of GetScanner and Scan (scan_response).
type ScanResponse struct {
	// Status is StatusOK; StatusIncomplete if the server ran out of time and keeps no context;
	// StatusNotFound if the context is gone.
	Status Status
	// Records have raw keys. The list may be empty before the end. The bytes point into the frame.
	Records []KeyValue
	// ContextID continues the scan, see ScanComplete.
	ContextID int64
	// Origin tells who answered.
	Origin Origin
	// Count is the number of records in place of the records, if the scan asked for that.
	Count int32
	// HasCount says whether Count is present.
	HasCount bool
}

func (m *ScanResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.keyValues(2, &m.Records)
	c.i64(3, &m.ContextID)
	c.i32(4, &m.Origin.GPID.AppID)
	c.i32(5, &m.Origin.GPID.PartitionIndex)
	c.text(6, &m.Origin.Server)
	c.optionalI32(7, &m.Count, &m.HasCount)
}

// AppendField implements Arguments.
func (m *ScanResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *ScanResponse) Decode(r *Reader) {
	*m = ScanResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}
