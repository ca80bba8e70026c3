package wire

import (
	"encoding/binary"
	"fmt"
)

// ResponseSizePrefix is the number of bytes at the start of a response frame that tell its size.
const ResponseSizePrefix = 4

// minResponseSize is the smallest frame a server can send: size, empty error name, message begin
// with an empty name, sequence id.
const minResponseSize = 4 + 4 + 4 + 4 + sequenceSize

const sequenceSize = 4

// Result is the result of an RPC, on the client's side.
type Result interface {
	// Decode reads the content of the response struct. It runs on the goroutine that reads the
	// connection, so it must not block, and must copy what has to outlive the call: byte slices
	// from the Reader point into the connection's buffer. Faults are reported by the Reader; what
	// was decoded before one must not be used.
	Decode(r *Reader)
}

// Response is a response frame. Its slices point into the frame.
type Response struct {
	// Error is the frame error: ErrOK, or why the request was not executed.
	Error ErrorName
	// Name is the reply's name, see Method.ReplyName.
	Name []byte
	// Sequence is the sequence id of the request.
	Sequence int32
	// Result holds the result struct for DecodeResult; it is empty if the server sent none, which
	// happens with ErrOK too and means that the request was not executed (docs/protocol.md, the disk
	// check quirk).
	Result []byte
}

// ResponseSize returns the size of the whole frame that starts with prefix, which must hold at least
// ResponseSizePrefix bytes. The size counts the prefix itself. A size below that of the smallest
// frame, or above limit, is an error; the connection is of no use then.
func ResponseSize(prefix []byte, limit int) (int, error) {
	size := binary.BigEndian.Uint32(prefix)
	if size < minResponseSize || int64(size) > int64(limit) {
		return 0, &DecodeError{Err: fmt.Errorf("%w: response of %d bytes, want %d to %d", ErrMalformed, size, minResponseSize, limit)}
	}
	return int(size), nil
}

// ParseResponse reads a whole response frame, size prefix included. Of a frame of which the end is
// missing it reads everything but the result.
func ParseResponse(frame []byte, response *Response) error {
	if response.parseUsual(frame) {
		return nil
	}
	return response.parse(frame)
}

func (p *Response) parse(frame []byte) error {
	r := NewReader(frame)
	r.i32()
	p.Error = r.errorName()
	if begin := uint32(r.i32()); begin != strictVersion|messageReply {
		r.Fail(fmt.Errorf("%w: message begin %#x in a reply", ErrMalformed, begin))
	}
	p.Name = r.blob()
	p.Sequence = r.i32()
	p.Result = frame[r.offset:]
	p.dropEmptyResult()
	return r.err
}

// dropEmptyResult forgets a result struct without any result.
func (p *Response) dropEmptyResult() {
	if len(p.Result) == 1 && p.Result[0] == typeStop {
		p.Result = nil
	}
}

// usualBegin is how nearly all responses go on after their size: no error, and the begin of a reply up
// to its name.
const usualBegin = "\x00\x00\x00\x06" + string(ErrOK) + "\x80\x01\x00\x02"

// parseUsual is a short cut for responses that begin like that, see usualBytes.
func (p *Response) parseUsual(frame []byte) bool {
	const begin, nameAt = ResponseSizePrefix + len(usualBegin), ResponseSizePrefix + len(usualBegin) + lengthSize
	if len(frame) < nameAt || string(frame[ResponseSizePrefix:begin]) != usualBegin {
		return false
	}
	end := int64(nameAt) + int64(binary.BigEndian.Uint32(frame[begin:]))
	if end+sequenceSize > int64(len(frame)) {
		return false
	}
	p.Error, p.Name = ErrOK, frame[nameAt:end:end]
	p.Sequence = int32(binary.BigEndian.Uint32(frame[end:]))
	p.Result = frame[end+sequenceSize:]
	p.dropEmptyResult()
	return true
}

// DecodeResult decodes a response's result struct, using r for the work: a caller that decodes many
// keeps one Reader and so allocates none.
func DecodeResult(r *Reader, body []byte, result Result) error {
	r.Reset(body)
	if r.nextField(); !r.at(0, typeStruct) {
		r.Fail(fmt.Errorf("%w: no result struct", ErrMalformed))
		return r.Err()
	}
	result.Decode(r)
	return r.finish()
}

// DecodeArguments decodes a request's argument struct on the server's side. Like servers it does not
// look at the argument's id and type.
func DecodeArguments(r *Reader, body []byte, arguments Result) error {
	r.Reset(body)
	if r.nextField(); r.field == noField {
		r.Fail(fmt.Errorf("%w: no argument", ErrMalformed))
		return r.Err()
	}
	arguments.Decode(r)
	return r.finish()
}

// finish reads the STOP of a struct with a single field, which must be the end of the data.
func (r *Reader) finish() error {
	if rest := r.data[r.offset:]; len(rest) == stopSize && rest[0] == typeStop { // so there was no fault
		r.endUsual(rest)
		return nil
	}
	if r.nextField(); r.Remaining() > 0 { // a second field would leave its value
		r.Fail(fmt.Errorf("%w: bytes after the end", ErrMalformed))
	}
	return r.err
}

// AppendResponse appends a whole response frame, as a server sends it. A nil result leaves the result
// struct out.
func AppendResponse(dst []byte, name ErrorName, method *Method, seq int32, result Arguments) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = appendBytes(dst, name)
	dst = append(dst, method.ackBegin...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(seq))
	if result != nil {
		dst = result.AppendField(dst, 0)
		dst = append(dst, typeStop)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	return dst
}
