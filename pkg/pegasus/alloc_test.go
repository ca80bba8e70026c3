package pegasus_test

import (
	"bytes"
	"context"
	"net"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// tenRecords and tenKeys are what operations on several records are about.
var (
	tenRecords = records("0", "v", "1", "v", "2", "v", "3", "v", "4", "v", "5", "v", "6", "v", "7", "v", "8", "v", "9", "v")
	tenKeys    = sortKeys("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
)

// newThriftyStub returns a stub on TCP that prepares all its answers.
func newThriftyStub(t testing.TB, value []byte, options ...pegasus.Option) *stub {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	got, left, updated := &wire.GetResponse{Value: value}, &wire.TTLResponse{Seconds: 60}, &wire.UpdateResponse{}
	several, removed, count := &wire.MultiGetResponse{}, &wire.MultiRemoveResponse{}, &wire.CountResponse{Count: 10}
	sum, checked := &wire.IncrResponse{NewValue: 1}, &wire.CheckResponse{Returned: true, Exists: true, CheckValue: value}
	for _, record := range tenRecords {
		several.Records = append(several.Records, wire.KeyValue{Key: record.SortKey, Value: value})
	}
	for _, origin := range []*wire.Origin{
		&got.Origin, &left.Origin, &updated.Origin, &several.Origin, &removed.Origin, &count.Origin, &sum.Origin, &checked.Origin,
	} {
		*origin = wire.Origin{GPID: stubGPID, Server: []byte(listener.Addr().String())}
	}
	s := newStub(t, listener, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		switch methodOf(request.Name) {
		case wire.Get:
			return wire.ErrOK, got
		case wire.TTL:
			return wire.ErrOK, left
		case wire.MultiGet:
			return wire.ErrOK, several
		case wire.MultiRemove:
			return wire.ErrOK, removed
		case wire.SortKeyCount:
			return wire.ErrOK, count
		case wire.Incr:
			return wire.ErrOK, sum
		case wire.CheckAndSet, wire.CheckAndMutate:
			return wire.ErrOK, checked
		}
		return wire.ErrOK, updated
	})
	s.open(options...)
	return s
}

// allocations returns what a request costs the stub, and this process for the network: it is all that
// is counted when the frames are made beforehand.
func (s *stub) allocations() float64 {
	conn, err := net.Dial("tcp", s.listener.Addr().String())
	require.NoError(s.t, err)
	defer func() { _ = conn.Close() }()
	frame := wire.AppendRequestV1(nil, &wire.Header{GPID: stubGPID, TimeoutMillis: 1}, wire.Get, 1, wire.Blob("\x00\x00"))
	buffer := make([]byte, 1<<10)
	return testing.AllocsPerRun(500, func() {
		_, _ = conn.Write(frame)
		_, _ = conn.Read(buffer)
	})
}

// TestDefect28Allocations counts what operations allocate once everything is warm: the value that is
// returned, and nothing else. What returns several records allocates a piece of memory for all their
// bytes, and lists of them; what has a list of structs as its argument, another form of that.
func TestDefect28Allocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	hashKey, sortKey, value := []byte("hash key"), []byte("sort key"), bytes.Repeat([]byte("v"), 100)
	buffer := make([]byte, 0, 1<<10)
	operations := map[string]struct {
		want float64
		run  func(ctx context.Context, table *pegasus.Table) error
	}{
		"Get": {1, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.Get(ctx, hashKey, sortKey)
			return err
		}},
		"AppendGet": {0, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.AppendGet(ctx, buffer, hashKey, sortKey)
			return err
		}},
		"Set": {0, func(ctx context.Context, table *pegasus.Table) error { return table.Set(ctx, hashKey, sortKey, value) }},
		"Del": {0, func(ctx context.Context, table *pegasus.Table) error { return table.Del(ctx, hashKey, sortKey) }},
		"Exist": {0, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.Exist(ctx, hashKey, sortKey)
			return err
		}},
		"TTL": {0, func(ctx context.Context, table *pegasus.Table) error {
			_, _, err := table.TTL(ctx, hashKey, sortKey)
			return err
		}},
		"MultiGet": {4, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.MultiGet(ctx, hashKey, tenKeys, nil)
			return err
		}},
		"MultiGetRange": {4, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.MultiGetRange(ctx, hashKey, nil, nil, nil)
			return err
		}},
		"MultiSet": {1, func(ctx context.Context, table *pegasus.Table) error {
			return table.MultiSet(ctx, hashKey, tenRecords)
		}},
		"MultiDel": {0, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.MultiDel(ctx, hashKey, tenKeys)
			return err
		}},
		"SortKeyCount": {0, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.SortKeyCount(ctx, hashKey)
			return err
		}},
		"Incr": {0, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.Incr(ctx, hashKey, sortKey, 1)
			return err
		}},
		"CheckAndSet": {1, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.CheckAndSet(ctx, hashKey, pegasus.Check{}, sortKey, value, nil)
			return err
		}},
		"CheckAndMutate": {2, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, make([]pegasus.Mutation, 1), nil)
			return err
		}},
		"CompareExchange": {1, func(ctx context.Context, table *pegasus.Table) error {
			_, _, err := table.CompareExchange(ctx, hashKey, sortKey, value, value)
			return err
		}},
		"Set with TTL": {1, func(ctx context.Context, table *pegasus.Table) error {
			return table.Set(ctx, hashKey, sortKey, value, pegasus.WithTTL(time.Hour))
		}},
	}
	s := newThriftyStub(t, value)
	base := s.allocations()
	deadline, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for kind, ctx := range map[string]context.Context{
		"no context": context.Background(), "cancellable": t.Context(), "with a deadline": deadline,
	} {
		for name, o := range operations {
			t.Run(name+" "+kind, func(t *testing.T) {
				got := testing.AllocsPerRun(500, func() {
					if err := o.run(ctx, s.table); err != nil {
						t.Error(err)
					}
				})
				require.Equal(t, o.want, got-base)
			})
		}
	}
}

// TestNothingIsKept checks that the client lets go of what it was given and what it returned, as far
// as the garbage collector can tell.
func TestNothingIsKept(t *testing.T) {
	s := newThriftyStub(t, []byte("value"))
	ctx := t.Context()
	dst, key, value := make([]byte, 0, 1<<10), make([]byte, 1<<10), make([]byte, 1<<10)
	kept := map[string]weak.Pointer[byte]{
		"dst": weak.Make(&dst[:1][0]), "key": weak.Make(&key[0]), "value": weak.Make(&value[0]),
	}
	_, err := s.table.AppendGet(ctx, dst, key, key)
	require.NoError(t, err)
	require.NoError(t, s.table.Set(ctx, key, key, value))
	sortKey, other, operand := make([]byte, 1<<10), make([]byte, 1<<10), make([]byte, 1<<10)
	metadata := new(pegasus.Metadata)
	kept["sort key"], kept["other"], kept["operand"] = weak.Make(&sortKey[0]), weak.Make(&other[0]), weak.Make(&operand[0])
	require.NoError(t, s.table.MultiSet(ctx, key, []pegasus.Record{{SortKey: sortKey, Value: value}}))
	_, err = s.table.MultiGet(ctx, key, [][]byte{sortKey}, &pegasus.MultiGetOptions{Metadata: metadata})
	require.NoError(t, err)
	_, err = s.table.MultiGetRange(ctx, key, sortKey, other, &pegasus.RangeOptions{Filter: pegasus.Filter{Pattern: operand}})
	require.NoError(t, err)
	_, err = s.table.MultiDel(ctx, key, [][]byte{sortKey, other})
	require.NoError(t, err)
	_, err = s.table.SortKeyCount(ctx, key)
	require.NoError(t, err)
	_, err = s.table.Incr(ctx, key, sortKey, 1, pegasus.WithMetadata(metadata))
	require.NoError(t, err)
	check := pegasus.Check{SortKey: sortKey, Operand: operand}
	_, err = s.table.CheckAndSet(ctx, key, check, other, value, &pegasus.CheckOptions{Metadata: metadata})
	require.NoError(t, err)
	_, err = s.table.CheckAndMutate(ctx, key, check, []pegasus.Mutation{{SortKey: other, Value: value}}, nil)
	require.NoError(t, err)
	noted := weak.Make(metadata)
	runtime.GC() // the first one leaves pools as they are
	for name, pointer := range kept {
		require.Nil(t, pointer.Value(), name)
	}
	require.Nil(t, noted.Value())
	require.NoError(t, s.table.Del(ctx, nil, nil))
}

// BenchmarkGet is a Get over loopback against a server that does nothing.
func BenchmarkGet(b *testing.B) {
	s := newThriftyStub(b, bytes.Repeat([]byte("v"), 100))
	buffer := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.table.AppendGet(b.Context(), buffer, []byte("hash key"), []byte("sort key")); err != nil {
			b.Fatal(err)
		}
	}
}
