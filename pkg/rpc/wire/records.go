package wire

// KeyValue is one record in a list (key_value). In answers to scans the key is the raw key, elsewhere
// the sort key. Decoded bytes point into the frame.
type KeyValue struct {
	// Key is the raw key or the sort key.
	Key []byte
	// Value is empty if the request wanted no values.
	Value []byte
	// ExpireSeconds is the expiry in seconds since ExpireEpoch; 0 means never. Servers send it only
	// with scans that ask for it, and ignore it in requests.
	ExpireSeconds int32
	// HasExpiry says whether ExpireSeconds is present.
	HasExpiry bool
}

func (m *KeyValue) fields(c *coder) {
	c.blob(1, &m.Key)
	c.blob(2, &m.Value)
	c.optionalI32(3, &m.ExpireSeconds, &m.HasExpiry)
}

func appendKeyValue(dst []byte, m KeyValue) []byte {
	c := coder{dst: dst}
	m.fields(&c)
	return c.end()
}

func readKeyValue(r *Reader) (m KeyValue) {
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
	return m
}

// keyValues is a list of records.
func (c *coder) keyValues(id int16, value *[]KeyValue) {
	list(c, id, value, elements[KeyValue]{typeStruct, keyValueSize, appendKeyValue, readKeyValue})
}

// blobs is a list of bare bytes.
func (c *coder) blobs(id int16, value *[][]byte) {
	list(c, id, value, elements[[]byte]{typeStruct, lengthSize, appendBytes[[]byte], (*Reader).blob})
}

// FilterType says how a filter compares its pattern with a key. An empty pattern matches everything.
type FilterType int32

// The filter types. Servers answer others with StatusInvalidArgument.
const (
	// FilterNone lets everything pass.
	FilterNone FilterType = iota
	// FilterAnywhere wants the pattern somewhere in the key.
	FilterAnywhere
	// FilterPrefix wants the key to begin with the pattern.
	FilterPrefix
	// FilterPostfix wants the key to end with the pattern.
	FilterPostfix
)
