package pegasus

import (
	"fmt"
	"sync"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// exchange is an operation with its arguments and its result, in one piece of memory.
type exchange[A, R any] struct {
	operation
	key       []byte // memory for a raw key
	arguments A
	result    R
}

// exchanges keeps the memory of operations of one kind that have ended for those to come.
type exchanges[A, R any] struct{ pool sync.Pool }

// argumentsOf and resultOf say that pointers to the parts of an exchange can be sent and received.
type argumentsOf[A any] interface {
	*A
	wire.Arguments
}

type resultOf[R any] interface {
	*R
	wire.Result
}

// newExchanges returns an empty store of exchanges through one RPC.
func newExchanges[A, R any, PA argumentsOf[A], PR resultOf[R]](method *wire.Method) *exchanges[A, R] {
	e := new(exchanges[A, R])
	e.pool.New = func() any {
		x := new(exchange[A, R])
		x.request.Method = method
		x.request.Arguments, x.request.Result = PA(&x.arguments), PR(&x.result)
		return x
	}
	return e
}

// begin prepares an operation that may be repeated in doubt, or not. The hash is that of its key.
func (e *exchanges[A, R]) begin(name string, hash uint64, idempotent bool) *exchange[A, R] {
	x := e.pool.Get().(*exchange[A, R]) //nolint:errcheck // it holds nothing else
	x.name, x.idempotent = name, idempotent
	x.request.Header.PartitionHash = hash
	return x
}

// end takes the memory of an operation back, without anything that is the caller's.
func (e *exchanges[A, R]) end(x *exchange[A, R]) {
	var arguments A
	var result R
	x.arguments, x.result, x.partition = arguments, result, nil
	if cap(x.key) > largeKey {
		x.key = nil
	}
	e.pool.Put(x)
}

// checkHashKey refuses hash keys with which no server could be asked about several records: one that
// is too long makes it abort, and without one the records are on different servers.
func checkHashKey(hashKey []byte) error {
	switch {
	case len(hashKey) == 0:
		return ErrHashKeyEmpty
	case len(hashKey) > wire.MaxHashKeyLength:
		return fmt.Errorf("%w: %d", ErrHashKeyTooLong, len(hashKey))
	}
	return nil
}
