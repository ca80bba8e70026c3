package wire

// Sizes of the parts of an argument struct.
const (
	fieldHeaderSize = 3
	lengthSize      = 4
	blobFieldSize   = fieldHeaderSize + lengthSize
	i32FieldSize    = fieldHeaderSize + 4
	stopSize        = 1
)

// PutBodySize returns the size of the body of a Put with a raw key and a value of the given lengths,
// which is what the server's limit on writes is about.
func PutBodySize(key, value int) int {
	return RequestOverhead(Put) + fieldHeaderSize + blobFieldSize + key + blobFieldSize + value + i32FieldSize + stopSize
}
