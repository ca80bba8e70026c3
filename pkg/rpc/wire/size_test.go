package wire_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// sized is the argument of a write that knows its size.
type sized interface {
	wire.Arguments
	BodySize() int
}

// put gives PutRequest the form of the others.
type put struct{ wire.PutRequest }

func (p *put) BodySize() int { return wire.PutBodySize(len(p.Key), len(p.Value)) }

func TestBodySize(t *testing.T) {
	for method, draw := range map[*wire.Method]func(t *rapid.T) sized{
		wire.Put:            func(t *rapid.T) sized { return &put{anyPut.Draw(t, "request")} },
		wire.MultiPut:       func(t *rapid.T) sized { return drawn(t, anyMultiPut) },
		wire.MultiRemove:    func(t *rapid.T) sized { return drawn(t, anyMultiRemove) },
		wire.Incr:           func(t *rapid.T) sized { return drawn(t, anyIncr) },
		wire.CheckAndSet:    func(t *rapid.T) sized { return drawn(t, anyCheckAndSet) },
		wire.CheckAndMutate: func(t *rapid.T) sized { return drawn(t, anyCheckAndMutate) },
	} {
		t.Run(method.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				argument := draw(t)
				frame := wire.AppendRequestV1(nil, &exampleHeader, method, 1, argument)
				var request wire.Request
				_, err := wire.ParseRequest(frame, &request)
				require.NoError(t, err)
				require.Equal(t, len(request.Body), argument.BodySize())
			})
		})
	}
}

// drawn returns a pointer to what the generator yields.
func drawn[T any](t *rapid.T, generator *rapid.Generator[T]) *T {
	value := generator.Draw(t, "request")
	return &value
}

// The same bytes can be in a request so often that their sum does not fit an int of 32 bits. It must
// not come out small, or the request would be taken for one within the limit.
func TestBodySizeDoesNotOverflow(t *testing.T) {
	want := int64(min(3<<30, math.MaxInt))
	megabyte := make([]byte, 1<<20)
	multiPut := wire.MultiPutRequest{Records: make([]wire.KeyValue, 3<<10)}
	multiRemove := wire.MultiRemoveRequest{SortKeys: make([][]byte, 3<<10)}
	mutate := wire.CheckAndMutateRequest{Mutations: make([]wire.Mutate, 3<<10)}
	for i := range multiPut.Records {
		multiPut.Records[i].Value, multiRemove.SortKeys[i], mutate.Mutations[i].Value = megabyte, megabyte, megabyte
	}
	for _, request := range []sized{&multiPut, &multiRemove, &mutate} {
		require.GreaterOrEqual(t, int64(request.BodySize()), want)
	}
	require.GreaterOrEqual(t, wire.PutBodySize(math.MaxInt32, 1), math.MaxInt32)
}
