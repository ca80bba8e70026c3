package pegasus

import (
	"context"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// incrResult receives the answer to an incr.
type incrResult struct {
	wire.IncrResponse
	metadata *Metadata
}

// Decode implements wire.Result.
func (m *incrResult) Decode(r *wire.Reader) {
	m.IncrResponse.Decode(r)
	m.metadata.note(r, &m.Origin, m.Decree)
}

var incrs = newExchanges[wire.IncrRequest, incrResult](wire.Incr)

// clearsExpiry is what an incr says instead of an expiry time to remove it. 0 keeps it.
const clearsExpiry = -1

// Incr adds to the number in a record, in one step of the server, and returns the sum. The value is
// the number as text, decimal, or as C would read it in octal or hexadecimal; a record that does not
// exist, or is empty, counts as 0. The record keeps its expiry unless WithTTL or WithoutTTL says
// otherwise.
//
// A value that is no integer of 64 bits fails with ErrNotInteger, a sum that is none with an
// [*OverflowError]; the record is unchanged then.
//
// Incr is never repeated when its outcome is in doubt, since it could then count twice. Error.Outcome
// is InDoubt in that case, and only the application can know how to find out.
func (t *Table) Incr(ctx context.Context, hashKey, sortKey []byte, increment int64, options ...IncrOption) (int64, error) {
	const name = "incr"
	o := incrOptions(options)
	expires, err := o.newExpiry()
	if err != nil {
		return 0, t.invalid(name, err)
	}
	x := incrs.begin(name, wire.KeyHash(hashKey, sortKey), false)
	defer incrs.end(x)
	key, err := wire.AppendKey(x.key[:0], hashKey, sortKey)
	if err != nil {
		return 0, t.invalid(name, err)
	}
	x.key = key
	x.arguments = wire.IncrRequest{Key: key, Increment: increment, ExpireSeconds: expires}
	x.result.metadata = o.metadata
	if err := t.checkSize(x.arguments.BodySize()); err != nil {
		return 0, t.invalid(name, err)
	}
	if err := t.run(ctx, &x.operation); err != nil {
		return 0, err
	}
	if err := t.sum(x); err != nil {
		return 0, err
	}
	return x.result.NewValue, nil
}

// newExpiry is what an incr is to do about the record's expiry.
func (o *callOptions) newExpiry() (int32, error) {
	if o.clearTTL {
		return clearsExpiry, nil
	}
	return expiry(o.ttl)
}

// sum is the verdict on an incr. A value that is no number is answered with the same status as an
// overflow, and 0 for the old value, to which nothing can be added that overflows.
func (t *Table) sum(x *exchange[wire.IncrRequest, incrResult]) error {
	answer := &x.result.IncrResponse
	if answer.Status != wire.StatusInvalidArgument {
		return t.verdict(&x.operation, answer.Status)
	}
	if answer.NewValue == 0 {
		return t.answered(&x.operation, answer.Status, ErrNotInteger)
	}
	return t.answered(&x.operation, answer.Status, &OverflowError{Value: answer.NewValue, Increment: x.arguments.Increment})
}
