package wire

import "encoding/binary"

// maxNameLength is the number of bytes to which servers cut the name of an RPC in replies
// (docs/protocol.md, frames).
const maxNameLength = 47

// Message types of a message begin.
const (
	messageCall   = 1
	messageReply  = 2
	messageOneway = 4

	strictVersion = 0x80010000
)

// Method is one RPC by name, with everything about its frames that never changes made ready. Methods
// are shared and immutable.
type Method struct {
	name     string
	replyTo  string
	begin    []byte // strict message begin of the request, up to the sequence id
	ackBegin []byte // strict message begin of the reply, up to the sequence id
	read     bool
}

// NewMethod returns the RPC of the given name, at most 47 bytes long.
func NewMethod(name string) *Method {
	ack := name + "_ACK"
	ack = ack[:min(len(ack), maxNameLength)]
	return &Method{
		name: name, replyTo: ack,
		begin:    appendBytes(binary.BigEndian.AppendUint32(nil, strictVersion|messageCall), name),
		ackBegin: appendBytes(binary.BigEndian.AppendUint32(nil, strictVersion|messageReply), ack),
	}
}

// newReadMethod is NewMethod for an RPC that changes no data.
func newReadMethod(name string) *Method {
	m := NewMethod(name)
	m.read = true
	return m
}

// IsRead says whether the RPC is known to change no data, so that it may be given up and repeated at
// any time.
func (m *Method) IsRead() bool { return m.read }

// Name returns the RPC's name, for example "RPC_RRDB_RRDB_GET".
func (m *Method) Name() string { return m.name }

// ReplyName returns the name that replies carry: the RPC's name and "_ACK", cut to 47 bytes.
func (m *Method) ReplyName() string { return m.replyTo }

// The RPCs of this client (docs/protocol.md, dispatch). Data RPCs go to replica servers with the
// partition's GPID; QueryConfig goes to meta servers with the zero GPID.
var (
	// QueryConfig asks a meta server for the routing of a table: QueryConfigRequest, QueryConfigResponse.
	QueryConfig = newReadMethod("RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX")
	// Get reads one record: Blob (the raw key), GetResponse.
	Get = newReadMethod("RPC_RRDB_RRDB_GET")
	// TTL reads the remaining life of one record: Blob (the raw key), TTLResponse.
	TTL = newReadMethod("RPC_RRDB_RRDB_TTL")
	// Put writes one record: PutRequest, UpdateResponse.
	Put = NewMethod("RPC_RRDB_RRDB_PUT")
	// Remove deletes one record: Blob (the raw key), UpdateResponse.
	Remove = NewMethod("RPC_RRDB_RRDB_REMOVE")
	// MultiGet reads records of one hash key: MultiGetRequest, MultiGetResponse.
	MultiGet = newReadMethod("RPC_RRDB_RRDB_MULTI_GET")
	// BatchGet reads records of one partition: BatchGetRequest, BatchGetResponse.
	BatchGet = newReadMethod("RPC_RRDB_RRDB_BATCH_GET")
	// SortKeyCount counts the records of one hash key: Blob (the hash key), CountResponse.
	SortKeyCount = newReadMethod("RPC_RRDB_RRDB_SORTKEY_COUNT")
	// MultiPut writes records of one hash key: MultiPutRequest, UpdateResponse.
	MultiPut = NewMethod("RPC_RRDB_RRDB_MULTI_PUT")
	// MultiRemove deletes records of one hash key: MultiRemoveRequest, MultiRemoveResponse.
	MultiRemove = NewMethod("RPC_RRDB_RRDB_MULTI_REMOVE")
	// Incr adds to a number in one record: IncrRequest, IncrResponse.
	Incr = NewMethod("RPC_RRDB_RRDB_INCR")
	// CheckAndSet writes a record on a condition: CheckAndSetRequest, CheckResponse.
	CheckAndSet = NewMethod("RPC_RRDB_RRDB_CHECK_AND_SET")
	// CheckAndMutate changes records of one hash key on a condition: CheckAndMutateRequest,
	// CheckResponse.
	CheckAndMutate = NewMethod("RPC_RRDB_RRDB_CHECK_AND_MUTATE")
	// GetScanner begins a scan: GetScannerRequest, ScanResponse.
	GetScanner = newReadMethod("RPC_RRDB_RRDB_GET_SCANNER")
	// Scan continues a scan: ScanRequest, ScanResponse.
	Scan = newReadMethod("RPC_RRDB_RRDB_SCAN")
	// ClearScanner frees a scan context: Int64 (the context id). It has no reply.
	ClearScanner = NewMethod("RPC_RRDB_RRDB_CLEAR_SCANNER")
)
