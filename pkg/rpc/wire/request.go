package wire

import (
	"encoding/binary"
	"fmt"
)

// Sizes of the parts of a request frame (docs/protocol.md, frames).
const (
	headerV0Size       = 48
	headerV1PrefixSize = 16
	headerV1MetaSize   = 37
	headerV1Size       = headerV1PrefixSize + headerV1MetaSize
)

// Where the numbers stand in a version 1 header, all of whose fields have a fixed size.
const (
	bodySizeAt       = 12
	appIDAt          = headerV1PrefixSize + fieldHeaderSize
	partitionIndexAt = appIDAt + i32FieldSize
	timeoutAt        = partitionIndexAt + i32FieldSize
	partitionHashAt  = timeoutAt + i32FieldSize
	backupAt         = partitionHashAt + i64FieldSize
)

const signature = "THFT"

// Header is what a request frame says besides the RPC and its arguments.
type Header struct {
	// GPID is the partition addressed; the zero value for meta servers, which abort on another.
	GPID GPID
	// TimeoutMillis is the time the client will wait, in milliseconds, at least 1; see the function
	// of that name.
	TimeoutMillis int32
	// PartitionHash is the hash of the key, see KeyHash; 0 for meta servers.
	PartitionHash uint64
	// Backup lets a secondary answer a read, possibly with stale data. Version 0 frames cannot carry
	// it.
	Backup bool
}

// Arguments is the argument of an RPC, or its result on the server's side.
type Arguments interface {
	// AppendField appends the value as field id of the surrounding struct, header included.
	AppendField(dst []byte, id int16) []byte
}

// fields are those of the struct in a version 1 header (request_meta).
func (h *Header) fields(c *coder) {
	c.i32(1, &h.GPID.AppID)
	c.i32(2, &h.GPID.PartitionIndex)
	c.i32(3, &h.TimeoutMillis)
	c.u64(4, &h.PartitionHash)
	c.bool(5, &h.Backup)
}

// headerV1 is a version 1 header in which all numbers are 0. Every request begins with a copy: to put the
// numbers into it takes a fraction of what it takes to write field by field.
var headerV1 = func() (header [headerV1Size]byte) {
	c := coder{dst: append([]byte(signature), 0, 0, 0, 1, 0, 0, 0, headerV1MetaSize, 0, 0, 0, 0)}
	new(Header).fields(&c)
	copy(header[:], c.end())
	return header
}()

// put writes the numbers into a copy of headerV1.
func (h *Header) put(header *[headerV1Size]byte, bodySize int) {
	binary.BigEndian.PutUint32(header[bodySizeAt:], uint32(bodySize))
	binary.BigEndian.PutUint32(header[appIDAt:], uint32(h.GPID.AppID))
	binary.BigEndian.PutUint32(header[partitionIndexAt:], uint32(h.GPID.PartitionIndex))
	binary.BigEndian.PutUint32(header[timeoutAt:], uint32(h.TimeoutMillis))
	binary.BigEndian.PutUint64(header[partitionHashAt:], h.PartitionHash)
	if h.Backup {
		header[backupAt] = 1
	}
}

// AppendRequestV1 appends a whole request frame with a version 1 header. seq comes back unchanged in
// the reply. It allocates nothing but what dst needs to grow.
func AppendRequestV1(dst []byte, header *Header, method *Method, seq int32, args Arguments) []byte {
	start := len(dst)
	dst = append(dst, headerV1[:]...)
	body := len(dst)
	dst = appendRequestBody(dst, method, seq, args)
	header.put((*[headerV1Size]byte)(dst[start:body]), len(dst)-body)
	return dst
}

// AppendRequestV0 appends a whole request frame with a version 0 header, for servers that know no
// other. The backup flag is lost.
func AppendRequestV0(dst []byte, header *Header, method *Method, seq int32, args Arguments) []byte {
	start := len(dst)
	dst = append(dst, signature...)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, headerV0Size)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // checksums, which servers ignore, and length
	dst = binary.BigEndian.AppendUint32(dst, uint32(header.GPID.AppID))
	dst = binary.BigEndian.AppendUint32(dst, uint32(header.GPID.PartitionIndex))
	dst = binary.BigEndian.AppendUint32(dst, uint32(header.TimeoutMillis))
	dst = binary.BigEndian.AppendUint32(dst, uint32(header.GPID.ThreadHash()))
	dst = binary.BigEndian.AppendUint64(dst, header.PartitionHash)
	body := len(dst)
	dst = appendRequestBody(dst, method, seq, args)
	binary.BigEndian.PutUint32(dst[start+16:], uint32(len(dst)-body))
	return dst
}

func appendRequestBody(dst []byte, method *Method, seq int32, args Arguments) []byte {
	dst = append(dst, method.begin...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(seq))
	dst = args.AppendField(dst, 1)
	return append(dst, typeStop)
}

// RequestOverhead returns the number of bytes of a request's body that are not its arguments. The
// server's limit on writes counts the body: message begin and arguments (docs/protocol.md, what a
// replica server checks).
func RequestOverhead(method *Method) int { return len(method.begin) + 4 + 1 }

// Request is a request frame as a server reads it. Its slices point into the frame.
type Request struct {
	// Header is the frame's header, version 0 or 1.
	Header Header
	// Version is 0 or 1.
	Version int
	// ThreadHash is the one sent in a version 0 header, the right one for version 1.
	ThreadHash int32
	// Oneway tells that the message type was ONEWAY. Servers treat it like any other.
	Oneway bool
	// Name is the RPC's name, cut to the 47 bytes that are significant.
	Name []byte
	// Sequence is the sequence id, which the reply repeats.
	Sequence int32
	// Body is the part after the header: message begin and arguments. Limits on writes count it.
	Body []byte
	// Arguments is the argument struct; read it with DecodeArguments.
	Arguments []byte

	reader Reader // of the header; a local one would be an allocation for each request
}

// ParseRequest reads the request frame at the start of data, of which a connection may not have
// delivered all yet: it returns the frame's size, or 0 if more bytes are needed. After an error the
// connection is of no use (docs/protocol.md, connections). A caller that keeps one Request for many
// frames makes it allocate nothing.
func ParseRequest(data []byte, request *Request) (size int, err error) {
	*request = Request{}
	if n := min(len(data), len(signature)); string(data[:n]) != signature[:n] {
		return 0, &DecodeError{Err: fmt.Errorf("%w: signature %q", ErrMalformed, data[:n])}
	}
	if len(data) < headerV1PrefixSize {
		return 0, nil
	}
	request.Version = int(int32(binary.BigEndian.Uint32(data[4:])))
	header, body, err := request.sizes(data)
	if err != nil || int64(len(data)) < header+body {
		return 0, err
	}
	size = int(header + body)
	request.Body = data[header:size:size]
	if err := request.parseHeader(data[:header]); err != nil {
		return 0, err
	}
	if err := request.parseBody(); err != nil {
		return 0, err
	}
	return size, nil
}

// sizes returns the sizes of header and body, which are 32 bits each and so can add up to more. data
// begins with the fixed part of a version 1 header, or as many bytes of a version 0 header.
func (q *Request) sizes(data []byte) (header, body int64, err error) {
	length := binary.BigEndian.Uint32(data[8:])
	switch q.Version {
	case 0:
		if length != headerV0Size {
			return 0, 0, &DecodeError{Offset: 8, Err: fmt.Errorf("%w: header length %d", ErrMalformed, length)}
		}
		if len(data) < headerV0Size {
			return headerV0Size, 0, nil
		}
		return headerV0Size, int64(binary.BigEndian.Uint32(data[16:])), nil
	case 1:
		return headerV1PrefixSize + int64(length), int64(binary.BigEndian.Uint32(data[12:])), nil
	}
	return 0, 0, &DecodeError{Offset: 4, Err: fmt.Errorf("%w: header version %d", ErrMalformed, q.Version)}
}

func (q *Request) parseHeader(header []byte) error {
	if q.Version == 0 {
		q.Header = Header{
			GPID: GPID{
				AppID:          int32(binary.BigEndian.Uint32(header[24:])),
				PartitionIndex: int32(binary.BigEndian.Uint32(header[28:])),
			},
			TimeoutMillis: int32(binary.BigEndian.Uint32(header[32:])),
			PartitionHash: binary.BigEndian.Uint64(header[40:]),
		}
		q.ThreadHash = int32(binary.BigEndian.Uint32(header[36:]))
		return nil
	}
	q.reader.Reset(header[headerV1PrefixSize:])
	for c := readStruct(&q.reader); c.more(); {
		q.Header.fields(&c)
	}
	q.ThreadHash = q.Header.GPID.ThreadHash()
	err := q.reader.err
	q.reader = Reader{}
	return err
}

func (q *Request) parseBody() error {
	r := NewReader(q.Body)
	messageType := r.messageBegin(q)
	if messageType != messageCall && messageType != messageOneway {
		r.Fail(fmt.Errorf("%w: message type %d", ErrMalformed, messageType))
	}
	q.Name = q.Name[:min(len(q.Name), maxNameLength)]
	q.Oneway = messageType == messageOneway
	q.Arguments = q.Body[r.offset:]
	return r.err
}

// messageBegin reads name and sequence id, in the strict or the old, unversioned form, and returns
// the message type.
func (r *Reader) messageBegin(q *Request) (messageType byte) {
	first := r.i32()
	if first < 0 {
		if uint32(first)&0xffff0000 != strictVersion {
			r.Fail(fmt.Errorf("%w: message version %#x", ErrMalformed, uint32(first)))
		}
		messageType = byte(first)
		q.Name = r.blob()
	} else {
		q.Name = r.take(int(first))
		messageType = r.byte()
	}
	q.Sequence = r.i32()
	return messageType
}
