package wire

import "math"

// Sizes of the parts of an argument struct.
const (
	fieldHeaderSize = 3
	lengthSize      = 4
	blobFieldSize   = fieldHeaderSize + lengthSize
	boolFieldSize   = fieldHeaderSize + 1
	i32FieldSize    = fieldHeaderSize + 4
	i64FieldSize    = fieldHeaderSize + 8
	listFieldSize   = fieldHeaderSize + 1 + 4
	stopSize        = 1
)

// Sizes of elements of lists without the bytes of their keys and values and without what is optional.
const (
	keyValueSize = 2*blobFieldSize + stopSize
	fullKeySize  = 2*blobFieldSize + stopSize
	fullDataSize = 3*blobFieldSize + stopSize
	mutateSize   = 2*i32FieldSize + 2*blobFieldSize + stopSize
)

// The sizes below are those of the bodies of writes, which the server's limit is about: they are known
// before anything is encoded. A request that could not even be held in memory, because it has the same
// bytes again and again, has the size math.MaxInt.

// PutBodySize returns the size of the body of a Put with a raw key and a value of the given lengths.
func PutBodySize(key, value int) int {
	return bodySize(Put, 2*blobFieldSize+i32FieldSize, int64(key)+int64(value))
}

// BodySize returns the size of the body of a MultiPut.
func (m *MultiPutRequest) BodySize() int {
	content := int64(len(m.HashKey))
	for i := range m.Records {
		record := &m.Records[i]
		content += keyValueSize + int64(len(record.Key)) + int64(len(record.Value))
		if record.HasExpiry {
			content += i32FieldSize
		}
	}
	return bodySize(MultiPut, blobFieldSize+listFieldSize+i32FieldSize, content)
}

// BodySize returns the size of the body of a MultiRemove.
func (m *MultiRemoveRequest) BodySize() int {
	content := int64(len(m.HashKey))
	for _, sortKey := range m.SortKeys {
		content += lengthSize + int64(len(sortKey))
	}
	return bodySize(MultiRemove, blobFieldSize+listFieldSize+i64FieldSize, content)
}

// BodySize returns the size of the body of an Incr.
func (m *IncrRequest) BodySize() int {
	return bodySize(Incr, blobFieldSize+i64FieldSize+i32FieldSize, int64(len(m.Key)))
}

// BodySize returns the size of the body of a CheckAndSet.
func (m *CheckAndSetRequest) BodySize() int {
	content := int64(len(m.HashKey)) + int64(len(m.CheckSortKey)) + int64(len(m.CheckOperand)) +
		int64(len(m.SetSortKey)) + int64(len(m.SetValue))
	return bodySize(CheckAndSet, 5*blobFieldSize+2*i32FieldSize+2*boolFieldSize, content)
}

// BodySize returns the size of the body of a CheckAndMutate.
func (m *CheckAndMutateRequest) BodySize() int {
	content := int64(len(m.HashKey)) + int64(len(m.CheckSortKey)) + int64(len(m.CheckOperand))
	for i := range m.Mutations {
		content += mutateSize + int64(len(m.Mutations[i].SortKey)) + int64(len(m.Mutations[i].Value))
	}
	return bodySize(CheckAndMutate, 3*blobFieldSize+i32FieldSize+listFieldSize+boolFieldSize, content)
}

// bodySize adds up a method's message begin, the fixed parts of its argument's fields, and the rest.
func bodySize(method *Method, fields int, content int64) int {
	size := content + int64(RequestOverhead(method)+fieldHeaderSize+fields+stopSize)
	return int(min(size, math.MaxInt))
}
