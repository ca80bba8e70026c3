package pegasus

import (
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Metadata tells who answered an operation. It is informative only.
type Metadata struct {
	// Partition is the partition that answered.
	Partition wire.GPID
	// Server is the "host:port" by which the replica server calls itself.
	Server string
	// Decree is the position of a write in the partition's log, -1 for a write that left none; 0 for
	// reads.
	Decree int64
}

// fill takes over what an answer says. A nil m wants nothing.
func (m *Metadata) fill(origin *wire.Origin, decree int64) {
	if m != nil {
		*m = Metadata{Partition: origin.GPID, Server: string(origin.Server), Decree: decree}
	}
}

// note is called by Decode methods, since the server's name lies in the connection's buffer and is gone
// after them.
func (m *Metadata) note(r *wire.Reader, origin *wire.Origin, decree int64) {
	if r.Err() == nil {
		m.fill(origin, decree)
	}
	origin.Server = nil
}

// FilterType says how a filter compares its pattern with a key.
type FilterType = wire.FilterType

// The filter types. An empty pattern matches everything.
const (
	// FilterNone lets everything pass.
	FilterNone = wire.FilterNone
	// FilterAnywhere wants the pattern somewhere in the key.
	FilterAnywhere = wire.FilterAnywhere
	// FilterPrefix wants the key to begin with the pattern.
	FilterPrefix = wire.FilterPrefix
	// FilterPostfix wants the key to end with the pattern.
	FilterPostfix = wire.FilterPostfix
)

// Filter selects keys on the server. The zero value selects all.
type Filter struct {
	// Type says how to compare.
	Type FilterType
	// Pattern is what to compare with. It is not changed and not kept beyond the operation.
	Pattern []byte
}

// Record is one record of a hash key.
type Record struct {
	// SortKey may be empty.
	SortKey []byte
	// Value may be empty; it is nil if values were not asked for.
	Value []byte
}

// Key names one record of a table.
type Key struct {
	// HashKey has at most 65534 bytes and may be empty.
	HashKey []byte
	// SortKey may be empty.
	SortKey []byte
}

// ReadOption is a rare setting of a read.
type ReadOption interface {
	applyToRead(o callOptions) callOptions
}

// WriteOption is a rare setting of a write.
type WriteOption interface {
	applyToWrite(o callOptions) callOptions
}

// IncrOption is a rare setting of Incr.
type IncrOption interface {
	applyToIncr(o callOptions) callOptions
}

// callOptions is what the options of one call come to.
type callOptions struct {
	ttl      time.Duration
	clearTTL bool
	metadata *Metadata
}

// TTLOption is made by [WithTTL].
type TTLOption struct{ ttl time.Duration }

// WithTTL lets the record expire after the given time, rounded up to whole seconds. Servers know no
// fractions: the seconds count from the last full one of this machine's clock, so that the record
// may go up to a second early, and end by the server's clock. 0 means that it does not expire,
// unless the table has a default TTL; with Incr, that it keeps its expiry. A negative time, or one
// that ends after 19 January 2084, fails with ErrInvalidTTL (docs/protocol.md, TTL).
func WithTTL(ttl time.Duration) TTLOption { return TTLOption{ttl} }

func (o TTLOption) applyToWrite(to callOptions) callOptions {
	to.ttl = o.ttl
	return to
}

func (o TTLOption) applyToIncr(to callOptions) callOptions {
	to.ttl, to.clearTTL = o.ttl, false
	return to
}

// ClearTTLOption is made by [WithoutTTL].
type ClearTTLOption struct{}

// WithoutTTL has Incr remove the record's expiry, which it keeps by default. The table's default TTL,
// if it has one, applies nevertheless. Of WithTTL and WithoutTTL, the last one given counts.
func WithoutTTL() ClearTTLOption { return ClearTTLOption{} }

func (ClearTTLOption) applyToIncr(to callOptions) callOptions {
	to.ttl, to.clearTTL = 0, true
	return to
}

// MetadataOption is made by [WithMetadata].
type MetadataOption struct{ metadata *Metadata }

// WithMetadata has the operation say who answered: it fills in m if a server has executed it, also
// when it then returns an error such as ErrNotFound. It costs one allocation.
func WithMetadata(m *Metadata) MetadataOption { return MetadataOption{m} }

func (o MetadataOption) applyToRead(to callOptions) callOptions {
	to.metadata = o.metadata
	return to
}

func (o MetadataOption) applyToWrite(to callOptions) callOptions {
	to.metadata = o.metadata
	return to
}

func (o MetadataOption) applyToIncr(to callOptions) callOptions {
	to.metadata = o.metadata
	return to
}

func readOptions(options []ReadOption) callOptions {
	return gather(options, ReadOption.applyToRead)
}

func incrOptions(options []IncrOption) callOptions {
	return gather(options, IncrOption.applyToIncr)
}

func writeOptions(options []WriteOption) callOptions {
	return gather(options, WriteOption.applyToWrite)
}

// gather passes the options on by value: a pointer would cost every call an allocation.
func gather[T comparable](options []T, apply func(T, callOptions) callOptions) (o callOptions) {
	var none T
	for _, option := range options {
		if option != none {
			o = apply(option, o)
		}
	}
	return o
}
