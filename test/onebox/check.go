package onebox

import (
	"bytes"
	"cmp"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// check is the condition of a conditional write.
type check struct {
	hashKey, sortKey []byte
	kind             wire.CheckType
	operand          []byte
	returnValue      bool
}

func (c *check) valid() bool { return c.kind >= wire.CheckNone && c.kind <= wire.CheckIntGreater }

func checkAndSet(x *execution, in *wire.CheckAndSetRequest, out *wire.CheckResponse) {
	c := check{in.HashKey, in.CheckSortKey, in.CheckType, in.CheckOperand, in.ReturnCheckValue}
	if !x.passes(&c, out) {
		return
	}
	sortKey := in.CheckSortKey
	if in.SetOther {
		sortKey = in.SetSortKey
	}
	x.put(x.rawKey(in.HashKey, sortKey), in.SetValue, uint32(in.SetExpireSeconds))
}

func checkAndMutate(x *execution, in *wire.CheckAndMutateRequest, out *wire.CheckResponse) {
	if !validMutations(in.Mutations) {
		out.Status, out.Decree = wire.StatusInvalidArgument, x.fail()
		return
	}
	c := check{in.HashKey, in.CheckSortKey, in.CheckType, in.CheckOperand, in.ReturnCheckValue}
	if !x.passes(&c, out) {
		return
	}
	for _, m := range in.Mutations {
		key := x.rawKey(in.HashKey, m.SortKey)
		if m.Operation == wire.MutatePut {
			x.put(key, m.Value, uint32(m.ExpireSeconds))
		} else {
			x.remove(key)
		}
	}
}

func validMutations(mutations []wire.Mutate) bool {
	for _, m := range mutations {
		if m.Operation != wire.MutatePut && m.Operation != wire.MutateDelete {
			return false
		}
	}
	return len(mutations) > 0
}

// passes tells whether the condition is met, and fills in the response.
func (x *execution) passes(c *check, out *wire.CheckResponse) bool {
	if !c.valid() {
		out.Status, out.Decree = wire.StatusInvalidArgument, x.fail()
		return false
	}
	found, exists := x.get(x.rawKey(c.hashKey, c.sortKey))
	if c.returnValue {
		out.Returned, out.Exists, out.CheckValue = true, exists, found.value
	}
	if out.Status = c.test(found.value, exists); out.Status != wire.StatusOK {
		out.Decree = x.fail()
		return false
	}
	out.Decree = x.decree
	return true
}

// test returns StatusOK if the condition is met, StatusTryAgain if not, and StatusInvalidArgument if
// numbers were to be compared and are none (docs/protocol.md, check types).
func (c *check) test(value []byte, exists bool) wire.Status {
	var met bool
	switch {
	case c.kind == wire.CheckNone:
		met = true
	case c.kind == wire.CheckNotExist:
		met = !exists
	case c.kind == wire.CheckNotExistOrEmpty:
		met = len(value) == 0
	case c.kind == wire.CheckExist:
		met = exists
	case c.kind == wire.CheckNotEmpty:
		met = len(value) > 0
	case !exists:
	case c.kind <= wire.CheckMatchPostfix:
		met = c.matches(value)
	case c.kind <= wire.CheckBytesGreater:
		met = satisfies(bytes.Compare(value, c.operand), c.kind-wire.CheckBytesLess)
	default:
		number, ok := parseInteger(value)
		operand, operandOK := parseInteger(c.operand)
		if !ok || !operandOK {
			return wire.StatusInvalidArgument
		}
		met = satisfies(cmp.Compare(number, operand), c.kind-wire.CheckIntLess)
	}
	if !met {
		return wire.StatusTryAgain
	}
	return wire.StatusOK
}

func (c *check) matches(value []byte) bool {
	return filter{wire.FilterType(c.kind-wire.CheckMatchAnywhere) + wire.FilterAnywhere, c.operand}.matches(value)
}

// satisfies tells whether an order satisfies a relation: 0 to 4 are <, <=, ==, >=, >.
func satisfies(order int, relation wire.CheckType) bool {
	return [...]bool{order < 0, order <= 0, order == 0, order >= 0, order > 0}[relation]
}
