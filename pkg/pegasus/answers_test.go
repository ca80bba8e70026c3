package pegasus_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// answerTo returns the answer to a method that has the given status and nothing else.
func answerTo(method *wire.Method, status wire.Status) wire.Arguments {
	switch method {
	case wire.Get:
		return &wire.GetResponse{Status: status}
	case wire.TTL:
		return &wire.TTLResponse{Status: status}
	case wire.MultiGet:
		return &wire.MultiGetResponse{Status: status}
	case wire.SortKeyCount:
		return &wire.CountResponse{Status: status}
	case wire.MultiRemove:
		return &wire.MultiRemoveResponse{Status: status}
	case wire.Incr:
		return &wire.IncrResponse{Status: status}
	case wire.CheckAndSet, wire.CheckAndMutate:
		return &wire.CheckResponse{Status: status}
	}
	return &wire.UpdateResponse{Status: status}
}

// TestDefect06EveryStorageError gives every operation every status. Those that mean something to it
// do; all others are final, and come back as they are.
func TestDefect06EveryStorageError(t *testing.T) {
	expected := map[wire.Status][]*wire.Method{
		wire.StatusOK:              methods,
		wire.StatusNotFound:        {wire.Get, wire.TTL},
		wire.StatusInvalidArgument: {wire.Incr},
		wire.StatusIncomplete:      {wire.MultiGet},
		wire.StatusTryAgain:        {wire.CheckAndSet, wire.CheckAndMutate},
	}
	var status wire.Status
	requests := 0
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		requests++
		return wire.ErrOK, answerTo(methodOf(request.Name), status)
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		for status = -3; status < 20; status++ {
			for name, o := range operations {
				requests = 0
				err := o.run(t.Context(), s.table)
				require.Equal(t, 1, requests)
				if slices.Contains(expected[status], o.method) {
					require.False(t, as[*pegasus.StatusError](err), "%s: %d", name, status)
					continue
				}
				var storage *pegasus.StatusError
				require.ErrorAs(t, err, &storage, "%s: %d", name, status)
				require.Equal(t, status, storage.Status)
				require.Equal(t, status, failed(t, err).Status)
				require.Equal(t, pegasus.Answered, failed(t, err).Outcome)
			}
		}
	})
}

// TestEveryUnreadableResult has every operation answered with what cannot be decoded: too little, or
// what claims to be more than there is.
func TestEveryUnreadableResult(t *testing.T) {
	var result nonsense
	requests := 0
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
		requests++
		return wire.ErrOK, result
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		for _, result = range []nonsense{
			"\x0c\x00\x00", "\x0c\x00\x00\x08\x00\x01", "\x0c\x00\x00\x0c\x00\x07\x00\x00\x00\x00\x00",
			"\x0c\x00\x00\x0f\x00\x02\x0c\x7f\xff\xff\xff\x00", "\x0b\x00\x00\x00\x00\x00\x00",
		} {
			for name, o := range operations {
				requests = 0
				err := o.run(t.Context(), s.table)
				require.True(t, as[*rpc.ResultError](err), "%s: %q: %v", name, string(result), err)
				require.Equal(t, pegasus.InDoubt, failed(t, err).Outcome)
				require.Equal(t, 1, requests)
			}
		}
		require.Equal(t, 1, s.connections(), "the connection was given up")
	})
}

// A record whose value is not in the answer has an empty one, which is not the same as none.
func TestAbsentValues(t *testing.T) {
	// Status 0 and a list of one struct that has nothing but a key; returned and exists, but no value.
	const (
		several = nonsense("\x0c\x00\x00\x08\x00\x01\x00\x00\x00\x00\x0f\x00\x02\x0c\x00\x00\x00\x01\x0c\x00\x01\x00\x00\x00\x01a\x00\x00")
		checked = nonsense("\x0c\x00\x00\x08\x00\x01\x00\x00\x00\x00\x02\x00\x02\x01\x02\x00\x03\x01\x00")
	)
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		if methodOf(request.Name) == wire.MultiGet {
			return wire.ErrOK, several
		}
		return wire.ErrOK, checked
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		found, err := s.table.MultiGet(t.Context(), hashKey, sortKeys("a"), nil)
		require.NoError(t, err)
		require.Equal(t, records("a", ""), found.Records)
		_, actual, err := s.table.CompareExchange(t.Context(), hashKey, nil, nil, nil)
		require.NoError(t, err)
		require.Equal(t, []byte{}, actual)
	})
}
