package wire

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Thrift type codes, as they stand in field headers (docs/protocol.md, thrift profile).
const (
	typeStop   = 0
	typeBool   = 2
	typeByte   = 3
	typeDouble = 4
	typeI16    = 6
	typeI32    = 8
	typeI64    = 10
	typeString = 11
	typeStruct = 12
	typeMap    = 13
	typeSet    = 14
	typeList   = 15
)

// GPID names one partition of one table. The zero value addresses the server itself, which is what
// every request to a meta server must carry.
type GPID struct {
	// AppID is the table's number, at least 1; 0 in requests to meta servers.
	AppID int32
	// PartitionIndex counts from 0.
	PartitionIndex int32
}

// String returns the form that Pegasus's own tools print, for example "2.3".
func (g GPID) String() string {
	return strconv.Itoa(int(g.AppID)) + "." + strconv.Itoa(int(g.PartitionIndex))
}

// ThreadHash is the number by which a server picks the thread of a partition. Version 0 frames carry
// it, and a server aborts on a wrong one (docs/protocol.md, dispatch).
func (g GPID) ThreadHash() int32 { return g.AppID*7919 + g.PartitionIndex }

// HostPort is a node by name. The zero value means "none".
type HostPort struct {
	// Host is a DNS name or the text of an address, without brackets.
	Host string
	// Port is 1 to 65535.
	Port uint16
}

// IsValid says whether the value names a node.
func (h HostPort) IsValid() bool { return h.Host != "" }

// String returns "host:port", with brackets around an IPv6 address; "" for the zero value.
func (h HostPort) String() string {
	if !h.IsValid() {
		return ""
	}
	return net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port)))
}

// Kinds of rpc_address and host_port. Only these two may be sent: a server aborts on others
// (docs/protocol.md, requests that abort a server).
const (
	addressInvalid = 0
	addressValid   = 1
)

// ExpireEpoch is the origin of expiry times on the wire, 2016-01-01 00:00:00 UTC, in seconds since
// the Unix epoch (docs/protocol.md, TTL).
const ExpireEpoch = 1451606400

// TimeoutMillis converts the time that is left for a request into the header's field: whole
// milliseconds rounded up, at least 1, since 0 can mean "drop always" to a server, and at most what
// 32 bits hold (docs/protocol.md, dispatch).
func TimeoutMillis(left time.Duration) int32 {
	millis := int64(left / time.Millisecond)
	if left%time.Millisecond > 0 {
		millis++
	}
	return int32(min(max(millis, 1), math.MaxInt32))
}

// The helpers below append the parts of a thrift struct. A field is appended whole, header included.

func appendFieldHeader(dst []byte, id int16, fieldType byte) []byte {
	return append(dst, fieldType, byte(id>>8), byte(id))
}

func appendBoolField(dst []byte, id int16, value bool) []byte {
	dst = appendFieldHeader(dst, id, typeBool)
	if value {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendI32Field(dst []byte, id int16, value int32) []byte {
	return binary.BigEndian.AppendUint32(appendFieldHeader(dst, id, typeI32), uint32(value))
}

func appendI64Field(dst []byte, id int16, value int64) []byte {
	return binary.BigEndian.AppendUint64(appendFieldHeader(dst, id, typeI64), uint64(value))
}

func appendStringField[S ~string | ~[]byte](dst []byte, id int16, value S) []byte {
	return appendBytes(appendFieldHeader(dst, id, typeString), value)
}

// appendBlobField appends a field of one of the types that are declared as structs but are bare
// length and bytes on the wire: blob and error_code.
func appendBlobField[S ~string | ~[]byte](dst []byte, id int16, value S) []byte {
	return appendBytes(appendFieldHeader(dst, id, typeStruct), value)
}

func appendListHeader(dst []byte, id int16, elementType byte, count int) []byte {
	dst = append(appendFieldHeader(dst, id, typeList), elementType)
	return binary.BigEndian.AppendUint32(dst, uint32(count))
}

func appendBytes[S ~string | ~[]byte](dst []byte, value S) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(value))), value...)
}

func appendGPID(dst []byte, gpid GPID) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(uint32(gpid.PartitionIndex))<<32|uint64(uint32(gpid.AppID)))
}

// appendAddress appends an rpc_address. What is not an IPv4 address and port becomes the invalid
// address, as on servers, which know no other.
func appendAddress(dst []byte, address netip.AddrPort) []byte {
	ip := address.Addr().Unmap()
	if !ip.Is4() {
		return binary.BigEndian.AppendUint64(dst, addressInvalid)
	}
	octets := ip.As4()
	bits := uint64(binary.BigEndian.Uint32(octets[:]))<<32 | uint64(address.Port())<<16 | addressValid
	return binary.BigEndian.AppendUint64(dst, bits)
}

func appendHostPort(dst []byte, node HostPort) []byte {
	if !node.IsValid() {
		return append(dst, 0, 0, 0, 0, 0, 0, addressInvalid)
	}
	dst = binary.BigEndian.AppendUint16(appendBytes(dst, node.Host), node.Port)
	return append(dst, addressValid)
}
