package wire

// CheckType is the condition of CheckAndSet and CheckAndMutate on the value of one record
// (docs/protocol.md, check types). Those with an operand are never met by an absent record.
type CheckType int32

// The check types. Servers answer others with StatusInvalidArgument.
const (
	// CheckNone is always met.
	CheckNone CheckType = iota
	// CheckNotExist wants no record, or an expired one.
	CheckNotExist
	// CheckNotExistOrEmpty wants no record or an empty value.
	CheckNotExistOrEmpty
	// CheckExist wants a record, perhaps with an empty value.
	CheckExist
	// CheckNotEmpty wants a record whose value is not empty.
	CheckNotEmpty
	// CheckMatchAnywhere wants the operand somewhere in the value.
	CheckMatchAnywhere
	// CheckMatchPrefix wants the value to begin with the operand.
	CheckMatchPrefix
	// CheckMatchPostfix wants the value to end with the operand.
	CheckMatchPostfix
	// CheckBytesLess wants the value below the operand, byte by byte.
	CheckBytesLess
	// CheckBytesLessOrEqual wants the value below the operand or equal to it, byte by byte.
	CheckBytesLessOrEqual
	// CheckBytesEqual wants the value equal to the operand, byte by byte.
	CheckBytesEqual
	// CheckBytesGreaterOrEqual wants the value above the operand or equal to it, byte by byte.
	CheckBytesGreaterOrEqual
	// CheckBytesGreater wants the value above the operand, byte by byte.
	CheckBytesGreater
	// CheckIntLess wants the value below the operand, both read as integers.
	CheckIntLess
	// CheckIntLessOrEqual wants the value below the operand or equal to it, both read as integers.
	CheckIntLessOrEqual
	// CheckIntEqual wants the value equal to the operand, both read as integers.
	CheckIntEqual
	// CheckIntGreaterOrEqual wants the value above the operand or equal to it, both read as integers.
	CheckIntGreaterOrEqual
	// CheckIntGreater wants the value above the operand, both read as integers.
	CheckIntGreater
)

// IncrRequest is the argument of Incr (incr_request).
type IncrRequest struct {
	// Key is the raw key, see AppendKey.
	Key []byte
	// Increment is added to the value, which is a number in text; an absent one counts as 0.
	Increment int64
	// ExpireSeconds is the new expiry in seconds since ExpireEpoch; 0 keeps that of an existing
	// record, a negative number removes it (docs/protocol.md, incr).
	ExpireSeconds int32
}

func (m *IncrRequest) fields(c *coder) {
	c.blob(1, &m.Key)
	c.i64(2, &m.Increment)
	c.i32(3, &m.ExpireSeconds)
}

// AppendField implements Arguments.
func (m *IncrRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *IncrRequest) Decode(r *Reader) {
	*m = IncrRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// IncrResponse is the result of Incr (incr_response).
type IncrResponse struct {
	// Status is StatusInvalidArgument if the value is no number or the sum is out of range.
	Status Status
	// NewValue is the sum; the old value if the sum is out of range.
	NewValue int64
	// Origin tells who answered.
	Origin Origin
	// Decree is the position of the write in the partition's log.
	Decree int64
}

func (m *IncrResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.i64(2, &m.NewValue)
	c.i32(3, &m.Origin.GPID.AppID)
	c.i32(4, &m.Origin.GPID.PartitionIndex)
	c.i64(5, &m.Decree)
	c.text(6, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *IncrResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *IncrResponse) Decode(r *Reader) {
	*m = IncrResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// CheckAndSetRequest is the argument of CheckAndSet (check_and_set_request).
type CheckAndSetRequest struct {
	// HashKey has at most 65534 bytes.
	HashKey []byte
	// CheckSortKey is the record on which the condition is.
	CheckSortKey []byte
	// CheckType is the condition.
	CheckType CheckType
	// CheckOperand is what the condition compares with.
	CheckOperand []byte
	// SetOther writes to SetSortKey instead of CheckSortKey.
	SetOther bool
	// SetSortKey is ignored unless SetOther.
	SetSortKey []byte
	// SetValue is written if the condition is met.
	SetValue []byte
	// SetExpireSeconds is its expiry in seconds since ExpireEpoch; 0 means never.
	SetExpireSeconds int32
	// ReturnCheckValue asks for the value on which the condition was tested.
	ReturnCheckValue bool
}

func (m *CheckAndSetRequest) fields(c *coder) {
	c.blob(1, &m.HashKey)
	c.blob(2, &m.CheckSortKey)
	c.i32(3, (*int32)(&m.CheckType))
	c.blob(4, &m.CheckOperand)
	c.bool(5, &m.SetOther)
	c.blob(6, &m.SetSortKey)
	c.blob(7, &m.SetValue)
	c.i32(8, &m.SetExpireSeconds)
	c.bool(9, &m.ReturnCheckValue)
}

// AppendField implements Arguments.
func (m *CheckAndSetRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *CheckAndSetRequest) Decode(r *Reader) {
	*m = CheckAndSetRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// MutateOperation is what a Mutate does.
type MutateOperation int32

// The operations. Servers answer others with StatusInvalidArgument.
const (
	// MutatePut writes a record.
	MutatePut MutateOperation = iota
	// MutateDelete deletes a record, which need not exist.
	MutateDelete
)

// Mutate is one change of CheckAndMutate (mutate).
type Mutate struct {
	// Operation is the kind of change.
	Operation MutateOperation
	// SortKey is the record.
	SortKey []byte
	// Value is ignored by MutateDelete.
	Value []byte
	// ExpireSeconds is the expiry in seconds since ExpireEpoch; 0 means never.
	ExpireSeconds int32
}

func (m *Mutate) fields(c *coder) {
	c.i32(1, (*int32)(&m.Operation))
	c.blob(2, &m.SortKey)
	c.blob(3, &m.Value)
	c.i32(4, &m.ExpireSeconds)
}

func (m *Mutate) append(dst []byte) []byte {
	c := coder{dst: dst}
	m.fields(&c)
	return c.end()
}

func (m *Mutate) read(r *Reader) {
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// CheckAndMutateRequest is the argument of CheckAndMutate (check_and_mutate_request).
type CheckAndMutateRequest struct {
	// HashKey has at most 65534 bytes.
	HashKey []byte
	// CheckSortKey is the record on which the condition is.
	CheckSortKey []byte
	// CheckType is the condition.
	CheckType CheckType
	// CheckOperand is what the condition compares with.
	CheckOperand []byte
	// Mutations are applied in this order, all or none. Servers refuse an empty list.
	Mutations []Mutate
	// ReturnCheckValue asks for the value on which the condition was tested.
	ReturnCheckValue bool
}

func (m *CheckAndMutateRequest) fields(c *coder) {
	c.blob(1, &m.HashKey)
	c.blob(2, &m.CheckSortKey)
	c.i32(3, (*int32)(&m.CheckType))
	c.blob(4, &m.CheckOperand)
	list(c, 5, &m.Mutations, elements[Mutate]{typeStruct, mutateSize, (*Mutate).append, (*Mutate).read})
	c.bool(6, &m.ReturnCheckValue)
}

// AppendField implements Arguments.
func (m *CheckAndMutateRequest) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *CheckAndMutateRequest) Decode(r *Reader) {
	*m = CheckAndMutateRequest{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}

// CheckResponse is the result of CheckAndSet and CheckAndMutate (check_and_set_response).
type CheckResponse struct {
	// Status is StatusOK if the condition was met and all was written, StatusTryAgain if it was not met.
	Status Status
	// Returned says that the value on which the condition was tested follows, as it was before.
	Returned bool
	// Exists says whether there was such a record.
	Exists bool
	// CheckValue is its value. The bytes point into the frame.
	CheckValue []byte
	// Origin tells who answered.
	Origin Origin
	// Decree is the position of the write in the partition's log.
	Decree int64
}

func (m *CheckResponse) fields(c *coder) {
	c.i32(1, (*int32)(&m.Status))
	c.bool(2, &m.Returned)
	c.bool(3, &m.Exists)
	c.blob(4, &m.CheckValue)
	c.i32(5, &m.Origin.GPID.AppID)
	c.i32(6, &m.Origin.GPID.PartitionIndex)
	c.i64(7, &m.Decree)
	c.text(8, &m.Origin.Server)
}

// AppendField implements Arguments.
func (m *CheckResponse) AppendField(dst []byte, id int16) []byte {
	c := writeStruct(dst, id)
	m.fields(&c)
	return c.end()
}

// Decode implements Result.
func (m *CheckResponse) Decode(r *Reader) {
	*m = CheckResponse{}
	for c := readStruct(r); c.more(); {
		m.fields(&c)
	}
}
