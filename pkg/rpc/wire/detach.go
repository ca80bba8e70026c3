package wire

import "bytes"

// Detach is for Decode methods that leave the work to another goroutine than the one that reads a
// connection. It copies all that is left of the result, which is then taken for read, and which
// belongs to the caller; [DecodeDetached] decodes it.
func (r *Reader) Detach() []byte {
	rest := bytes.Clone(r.data[r.offset:])
	r.offset = max(r.offset, len(r.data)-1) // the last byte ends the struct around the result
	return rest
}

// DecodeDetached decodes what [Reader.Detach] took out of a response, using r for the work. What is
// decoded points into detached.
func DecodeDetached(r *Reader, detached []byte, result Result) error {
	r.Reset(detached)
	result.Decode(r)
	return r.finish()
}

// DetachedStatus returns the storage engine's status in what [Reader.Detach] took out of the response to a
// read or a write, without decoding the rest. It is false if that does not begin with one, as all of
// them do.
func DetachedStatus(detached []byte) (status Status, ok bool) {
	r := Reader{data: detached}
	if r.nextField(); !r.at(1, typeI32) {
		return 0, false
	}
	status = Status(r.i32())
	return status, r.err == nil
}
