package pegasus

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// CheckType is the condition of CheckAndSet and CheckAndMutate on the value of one record
// (docs/protocol.md, check types).
type CheckType = wire.CheckType

// The check types. Those with an operand are never met by a record that does not exist. Integers are
// numbers of 64 bits as text; a value or operand that is none fails with ErrNotInteger.
const (
	// CheckNone is always met.
	CheckNone = wire.CheckNone
	// CheckNotExist wants no record, or an expired one.
	CheckNotExist = wire.CheckNotExist
	// CheckNotExistOrEmpty wants no record or an empty value.
	CheckNotExistOrEmpty = wire.CheckNotExistOrEmpty
	// CheckExist wants a record, perhaps with an empty value.
	CheckExist = wire.CheckExist
	// CheckNotEmpty wants a record whose value is not empty.
	CheckNotEmpty = wire.CheckNotEmpty
	// CheckMatchAnywhere wants the operand somewhere in the value.
	CheckMatchAnywhere = wire.CheckMatchAnywhere
	// CheckMatchPrefix wants the value to begin with the operand.
	CheckMatchPrefix = wire.CheckMatchPrefix
	// CheckMatchPostfix wants the value to end with the operand.
	CheckMatchPostfix = wire.CheckMatchPostfix
	// CheckBytesLess wants the value below the operand, byte by byte.
	CheckBytesLess = wire.CheckBytesLess
	// CheckBytesLessOrEqual wants the value below the operand or equal to it, byte by byte.
	CheckBytesLessOrEqual = wire.CheckBytesLessOrEqual
	// CheckBytesEqual wants the value equal to the operand, byte by byte.
	CheckBytesEqual = wire.CheckBytesEqual
	// CheckBytesGreaterOrEqual wants the value above the operand or equal to it, byte by byte.
	CheckBytesGreaterOrEqual = wire.CheckBytesGreaterOrEqual
	// CheckBytesGreater wants the value above the operand, byte by byte.
	CheckBytesGreater = wire.CheckBytesGreater
	// CheckIntLess wants the value below the operand, both read as integers.
	CheckIntLess = wire.CheckIntLess
	// CheckIntLessOrEqual wants the value below the operand or equal to it, both read as integers.
	CheckIntLessOrEqual = wire.CheckIntLessOrEqual
	// CheckIntEqual wants the value equal to the operand, both read as integers.
	CheckIntEqual = wire.CheckIntEqual
	// CheckIntGreaterOrEqual wants the value above the operand or equal to it, both read as integers.
	CheckIntGreaterOrEqual = wire.CheckIntGreaterOrEqual
	// CheckIntGreater wants the value above the operand, both read as integers.
	CheckIntGreater = wire.CheckIntGreater
)

// Check is a condition on the value of one record.
type Check struct {
	// SortKey is the record's, under the hash key of the operation. It may be empty.
	SortKey []byte
	// Type is the condition.
	Type CheckType
	// Operand is what the condition compares with, for those that compare.
	Operand []byte
}

func (c *Check) validate() error {
	if c.Type < CheckNone || c.Type > CheckIntGreater {
		return fmt.Errorf("%w: check type %d", ErrInvalidArgument, c.Type)
	}
	return nil
}

// CheckOptions are the rare settings of CheckAndSet and CheckAndMutate.
type CheckOptions struct {
	// TTL lets the record that CheckAndSet writes expire, see WithTTL. CheckAndMutate refuses it: each
	// of its mutations has a TTL of its own.
	TTL time.Duration
	// ReturnValue has the value on which the condition was tested returned.
	ReturnValue bool
	// Metadata, if not nil, is filled in as by WithMetadata.
	Metadata *Metadata
}

// CheckResult is how a check ended.
type CheckResult struct {
	// Passed says whether the condition was met, and therefore everything written.
	Passed bool
	// Returned says whether Exists and Value are set: if CheckOptions.ReturnValue asked for them and
	// the server came to test the condition.
	Returned bool
	// Exists says whether the record of the condition existed, before anything was written.
	Exists bool
	// Value is its value, before anything was written; nil if it did not exist, and empty but not nil
	// if the value was empty. It belongs to the caller.
	Value []byte
}

// Mutation is one change of CheckAndMutate.
type Mutation struct {
	// SortKey is the record's, under the hash key of the operation. It may be empty.
	SortKey []byte
	// Value is the new value.
	Value []byte
	// TTL lets the record expire, see WithTTL.
	TTL time.Duration
	// Delete deletes the record, which need not exist. Value and TTL mean nothing then.
	Delete bool
}

func (m *Mutation) onWire() (wire.Mutate, error) {
	if m.Delete {
		return wire.Mutate{Operation: wire.MutateDelete, SortKey: m.SortKey}, nil
	}
	expires, err := expiry(m.TTL)
	return wire.Mutate{Operation: wire.MutatePut, SortKey: m.SortKey, Value: m.Value, ExpireSeconds: expires}, err
}

// checkResult receives the answer to a check. The value becomes the caller's.
type checkResult struct {
	wire.CheckResponse
	metadata *Metadata
}

// Decode implements wire.Result.
func (m *checkResult) Decode(r *wire.Reader) {
	m.CheckResponse.Decode(r)
	if m.Returned && m.Exists && r.Err() == nil {
		m.CheckValue = notNil(bytes.Clone(m.CheckValue))
	} else {
		m.CheckValue = nil
	}
	m.metadata.note(r, &m.Origin, m.Decree)
}

var (
	checkAndSets    = newExchanges[wire.CheckAndSetRequest, checkResult](wire.CheckAndSet)
	checkAndMutates = newExchanges[wire.CheckAndMutateRequest, checkResult](wire.CheckAndMutate)
)

// CheckAndSet writes a record if a condition on it, or on another of the same hash key, is met, in one
// step of the server. That the condition is not met is no error: then CheckResult.Passed is false and
// nothing is written. A nil options means the zero value.
//
// It is never repeated when its outcome is in doubt, since the condition may not be met any more, or
// again, after the write. Error.Outcome is InDoubt in that case.
func (t *Table) CheckAndSet(ctx context.Context, hashKey []byte, check Check, sortKey, value []byte, options *CheckOptions) (CheckResult, error) {
	if options == nil {
		options = new(CheckOptions)
	}
	return t.checkAndSet(ctx, "check and set", hashKey, check, sortKey, value, options)
}

func (t *Table) checkAndSet(ctx context.Context, name string, hashKey []byte, check Check, sortKey, value []byte, options *CheckOptions) (CheckResult, error) {
	expires, err := expiry(options.TTL)
	if err = cmp.Or(err, check.validate(), checkHashKey(hashKey)); err != nil {
		return CheckResult{}, t.invalid(name, err)
	}
	x := checkAndSets.begin(name, wire.KeyHash(hashKey, nil), false)
	defer checkAndSets.end(x)
	x.arguments = wire.CheckAndSetRequest{
		HashKey: hashKey, CheckSortKey: check.SortKey, CheckType: check.Type, CheckOperand: check.Operand,
		SetValue: value, SetExpireSeconds: expires, ReturnCheckValue: options.ReturnValue,
	}
	if !bytes.Equal(sortKey, check.SortKey) {
		x.arguments.SetOther, x.arguments.SetSortKey = true, sortKey
	}
	x.result.metadata = options.Metadata
	return t.check(ctx, &x.operation, x.arguments.BodySize(), check.Type, &x.result)
}

// CheckAndMutate makes changes to records of one hash key if a condition on one of them is met, all or
// none, in this order, in one step of the server. There must be at least one change. That the
// condition is not met is no error: then CheckResult.Passed is false and nothing is changed. A nil
// options means the zero value.
//
// It is never repeated when its outcome is in doubt, see CheckAndSet.
func (t *Table) CheckAndMutate(ctx context.Context, hashKey []byte, check Check, mutations []Mutation, options *CheckOptions) (CheckResult, error) {
	const name = "check and mutate"
	if options == nil {
		options = new(CheckOptions)
	}
	mutates, err := mutatesOf(mutations, options)
	if err = cmp.Or(err, check.validate(), checkHashKey(hashKey)); err != nil {
		return CheckResult{}, t.invalid(name, err)
	}
	x := checkAndMutates.begin(name, wire.KeyHash(hashKey, nil), false)
	defer checkAndMutates.end(x)
	x.arguments = wire.CheckAndMutateRequest{
		HashKey: hashKey, CheckSortKey: check.SortKey, CheckType: check.Type, CheckOperand: check.Operand,
		Mutations: mutates, ReturnCheckValue: options.ReturnValue,
	}
	x.result.metadata = options.Metadata
	return t.check(ctx, &x.operation, x.arguments.BodySize(), check.Type, &x.result)
}

// mutatesOf gives mutations the form of the wire.
func mutatesOf(mutations []Mutation, options *CheckOptions) ([]wire.Mutate, error) {
	if len(mutations) == 0 {
		return nil, fmt.Errorf("%w: no mutations", ErrInvalidArgument)
	}
	if options.TTL != 0 {
		return nil, fmt.Errorf("%w: TTL of all mutations", ErrInvalidArgument)
	}
	mutates := make([]wire.Mutate, len(mutations))
	for i := range mutations {
		var err error
		if mutates[i], err = mutations[i].onWire(); err != nil {
			return nil, err
		}
	}
	return mutates, nil
}

// check runs an operation with a condition, and turns the answer into what the caller gets.
func (t *Table) check(ctx context.Context, op *operation, size int, condition CheckType, answer *checkResult) (CheckResult, error) {
	if err := t.checkSize(size); err != nil {
		return CheckResult{}, t.invalid(op.name, err)
	}
	if err := t.run(ctx, op); err != nil {
		return CheckResult{}, err
	}
	result := CheckResult{Passed: answer.Status == wire.StatusOK, Returned: answer.Returned}
	if answer.Returned {
		result.Exists, result.Value = answer.Exists, answer.CheckValue
	}
	switch {
	case answer.Status == wire.StatusTryAgain:
		return result, nil
	case answer.Status == wire.StatusInvalidArgument && condition >= CheckIntLess:
		return result, t.answered(op, answer.Status, ErrNotInteger)
	}
	return result, t.verdict(op, answer.Status)
}

// CompareExchange writes desired to a record if its value equals expected, in one step of the server;
// an expected that is nil wants the record not to exist, while one that is empty wants an empty value.
// It returns whether it did, and the value that the record had before: nil if there was no record,
// empty but not nil if the value was empty. A desired that is nil is the empty value, as with Set.
//
// It is never repeated when its outcome is in doubt, see CheckAndSet.
func (t *Table) CompareExchange(ctx context.Context, hashKey, sortKey, expected, desired []byte, options ...WriteOption) (swapped bool, actual []byte, err error) {
	check := Check{SortKey: sortKey, Type: CheckBytesEqual, Operand: expected}
	if expected == nil {
		check.Type = CheckNotExist
	}
	o := writeOptions(options)
	result, err := t.checkAndSet(ctx, "compare exchange", hashKey, check, sortKey, desired,
		&CheckOptions{TTL: o.ttl, ReturnValue: true, Metadata: o.metadata})
	return result.Passed, result.Value, err
}
