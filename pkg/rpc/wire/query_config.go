package wire

import "net/netip"

// QueryConfigRequest is the argument of QueryConfig (query_cfg_request).
type QueryConfigRequest struct {
	// Table is the table's name.
	Table string
	// Partitions lists the partitions asked for; empty means all. Indices that do not exist are
	// ignored by the server, and if none is left it sends all.
	Partitions []int32
}

func (m *QueryConfigRequest) fields(c *coder) {
	c.string(1, &m.Table)
	c.i32s(2, &m.Partitions)
}

// AppendField implements Arguments.
func (m *QueryConfigRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *QueryConfigRequest) Decode(r *Reader) {
	*m = QueryConfigRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// QueryConfigResponse is the result of QueryConfig (query_cfg_response). It owns its memory.
type QueryConfigResponse struct {
	// Error is the meta server's verdict; see docs/protocol.md, routing query. With
	// ErrForwardToOthers, Partitions holds at most one element whose primary is the meta leader. It
	// is empty, and so not ErrOK, if the server sent none.
	Error ErrorName
	// AppID is the table's number. A table created anew under an old name has another.
	AppID int32
	// PartitionCount is the number of partitions of the table, also when fewer were asked for.
	PartitionCount int32
	// Stateful is true for every Pegasus table.
	Stateful bool
	// Partitions are the configurations asked for, in index order when all were.
	Partitions []PartitionConfiguration
}

func (m *QueryConfigResponse) fields(c *coder) {
	c.errorName(1, &m.Error)
	c.i32(2, &m.AppID)
	c.i32(3, &m.PartitionCount)
	c.bool(4, &m.Stateful)
	list(c, 5, &m.Partitions, elements[PartitionConfiguration]{typeStruct, minPartitionSize, (*PartitionConfiguration).append, (*PartitionConfiguration).read})
}

// AppendField implements Arguments.
func (m *QueryConfigResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *QueryConfigResponse) Decode(r *Reader) {
	*m = QueryConfigResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// PartitionConfiguration tells who serves a partition (partition_configuration).
type PartitionConfiguration struct {
	// GPID is the partition.
	GPID GPID
	// Ballot grows with every change of the configuration. It is 0 for a partition that never had a
	// primary and negative for a child of a split that does not serve yet.
	Ballot int64
	// MaxReplicaCount is the number of replicas the partition should have.
	MaxReplicaCount int32
	// Primary is the zero value if the partition has no primary, or if the meta server could not
	// resolve PrimaryName.
	Primary netip.AddrPort
	// Secondaries are the other replicas.
	Secondaries []netip.AddrPort
	// LastDrops names nodes that were removed lately.
	LastDrops []netip.AddrPort
	// LastCommittedDecree is not current.
	LastCommittedDecree int64
	// PartitionFlags is not used by clients.
	PartitionFlags int32
	// PrimaryName is the primary by name; the zero value if the partition has no primary or the
	// server did not send it.
	PrimaryName HostPort
	// SecondaryNames are the secondaries by name; nil if the server did not send them.
	SecondaryNames []HostPort
	// LastDropNames are the nodes removed lately by name; nil if the server did not send them.
	LastDropNames []HostPort
}

// minPartitionSize is the size of a partition_configuration without its optional fields and with
// empty lists.
const minPartitionSize = 75

func (m *PartitionConfiguration) fields(c *coder) {
	c.gpid(1, &m.GPID)
	c.i64(2, &m.Ballot)
	c.i32(3, &m.MaxReplicaCount)
	c.address(4, &m.Primary)
	c.addresses(5, &m.Secondaries)
	c.addresses(6, &m.LastDrops)
	c.i64(7, &m.LastCommittedDecree)
	c.i32(8, &m.PartitionFlags)
	c.optionalHostPort(9, &m.PrimaryName)
	c.optionalHostPorts(10, &m.SecondaryNames)
	c.optionalHostPorts(11, &m.LastDropNames)
}

func (m *PartitionConfiguration) append(dst []byte) []byte {
	c := coder{dst: dst}
	m.fields(&c)
	return c.end()
}

func (m *PartitionConfiguration) read(r *Reader) {
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}
