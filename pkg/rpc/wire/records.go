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

func (m *KeyValue) append(dst []byte) []byte {
	c := coder{dst: dst}
	m.fields(&c)
	return c.end()
}

func (m *KeyValue) read(r *Reader) {
	if m.decodeUsual(r) {
		return
	}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// decodeUsual is a short cut, see usualBytes.
func (m *KeyValue) decodeUsual(r *Reader) bool {
	key, rest := usualBytes(r.data[r.offset:], typeStruct<<16|1)
	value, rest := usualBytes(rest, typeStruct<<16|2)
	if len(rest) == 0 {
		return false
	}
	if rest[0] != typeStop {
		if len(rest) < i32FieldSize+stopSize || headerAt(rest, 0) != typeI32<<16|3 || rest[i32FieldSize] != typeStop {
			return false
		}
		m.ExpireSeconds, m.HasExpiry = int32(numberAt(rest, 0)), true
		rest = rest[i32FieldSize:]
	}
	m.Key, m.Value = key, value
	r.endUsual(rest)
	return true
}

// keyValues is a list of records.
func (c *coder) keyValues(id int16, value *[]KeyValue) {
	list(c, id, value, elements[KeyValue]{typeStruct, keyValueSize, (*KeyValue).append, (*KeyValue).read})
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
