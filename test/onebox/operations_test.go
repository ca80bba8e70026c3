package onebox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// tester is a box with one partition and a connection to its primary, under a clock that stands still,
// unless it ticks: then it is a second later whenever somebody looks.
type tester struct {
	*box
	*client
	clock atomic.Time
	ticks atomic.Bool
}

func newTester(t testing.TB) *tester {
	return newTesterOf(t, onebox.Config{}, onebox.TableOptions{})
}

func newTesterOf(t testing.TB, config onebox.Config, options onebox.TableOptions) *tester {
	x := &tester{}
	x.clock.Store(time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC))
	config.Now = func() time.Time {
		if x.ticks.Load() {
			x.advance(time.Second)
		}
		return x.clock.Load()
	}
	options.Partitions = 1
	x.box = newBox(t, config, options)
	x.client = dial(t, x.Cluster, x.Primary(tableName, 0))
	return x
}

// now is the time in requests.
func (x *tester) now() int32 { return int32(x.clock.Load().Unix() - wire.ExpireEpoch) }

func (x *tester) advance(d time.Duration) { x.clock.Store(x.clock.Load().Add(d)) }

// about returns the header of a request about a hash key.
func (x *tester) about(hashKey string) wire.Header {
	return wire.Header{
		GPID: wire.GPID{AppID: x.appID}, PartitionHash: wire.KeyHash([]byte(hashKey), nil),
	}
}

// do sends a request about a hash key, which must be served.
func (x *tester) do(hashKey string, method *wire.Method, in wire.Arguments, out wire.Result) {
	x.box.t.Helper()
	got := x.call(x.about(hashKey), method, in, out)
	require.Equal(x.box.t, wire.ErrOK, got.Error)
	require.True(x.box.t, got.HasResult)
}

// set writes records of one hash key: sort key and value in turn.
func (x *tester) set(hashKey string, expire int32, texts ...string) {
	x.box.t.Helper()
	var out wire.UpdateResponse
	in := &wire.MultiPutRequest{HashKey: []byte(hashKey), ExpireSeconds: expire}
	for i := 0; i < len(texts); i += 2 {
		in.Records = append(in.Records, wire.KeyValue{Key: []byte(texts[i]), Value: []byte(texts[i+1])})
	}
	x.do(hashKey, wire.MultiPut, in, &out)
	require.Equal(x.box.t, wire.StatusOK, out.Status)
}

// fill writes n records s0000, s0001 and so on with their number as value.
func (x *tester) fill(hashKey string, n int) {
	x.box.t.Helper()
	require.NoError(x.box.t, x.Load(tableName, n, func(i int) (_, _, _ []byte) {
		return []byte(hashKey), fmt.Appendf(nil, "s%04d", i), fmt.Append(nil, i)
	}))
}

// value returns a record, "-" if it is absent.
func (x *tester) value(hashKey, sortKey string) string {
	value, ok := x.Peek(tableName, []byte(hashKey), []byte(sortKey))
	if !ok {
		return "-"
	}
	return string(value)
}

// ttl returns what is left of the life of a record.
func (x *tester) ttl(hashKey, sortKey string) int32 {
	x.box.t.Helper()
	var out wire.TTLResponse
	x.call(headerOf(x.appID, 1, rawKey(hashKey, sortKey)), wire.TTL, wire.Blob(rawKey(hashKey, sortKey)), &out)
	return out.Seconds
}

// keysOf returns the keys of records as texts.
func keysOf(records []wire.KeyValue) []string {
	keys := []string{}
	for _, record := range records {
		keys = append(keys, string(record.Key))
	}
	return keys
}

func blobs(texts ...string) [][]byte {
	var keys [][]byte
	for _, text := range texts {
		keys = append(keys, []byte(text))
	}
	return keys
}

// requestsOf are one request of each sort that addresses a record or its hash key.
func requestsOf(key []byte) map[*wire.Method]wire.Arguments {
	hashKey, sortKey, err := wire.SplitKey(key)
	if err != nil {
		panic(err)
	}
	mutations := []wire.Mutate{{SortKey: sortKey}}
	return map[*wire.Method]wire.Arguments{
		wire.Get: wire.Blob(key), wire.TTL: wire.Blob(key),
		wire.MultiGet:     &wire.MultiGetRequest{HashKey: hashKey},
		wire.BatchGet:     &wire.BatchGetRequest{Keys: []wire.FullKey{{HashKey: hashKey, SortKey: sortKey}}},
		wire.SortKeyCount: wire.Blob(hashKey),
		wire.GetScanner:   &wire.GetScannerRequest{StartKey: key, StopKey: []byte{0xff, 0xff}},
		wire.Scan:         &wire.ScanRequest{ContextID: 5},
		wire.ClearScanner: wire.Int64(5),
		wire.Put:          &wire.PutRequest{Key: key}, wire.Remove: wire.Blob(key),
		wire.MultiPut:       &wire.MultiPutRequest{HashKey: hashKey, Records: []wire.KeyValue{{Key: sortKey}}},
		wire.MultiRemove:    &wire.MultiRemoveRequest{HashKey: hashKey, SortKeys: [][]byte{sortKey}},
		wire.Incr:           &wire.IncrRequest{Key: key},
		wire.CheckAndSet:    &wire.CheckAndSetRequest{HashKey: hashKey, CheckSortKey: sortKey},
		wire.CheckAndMutate: &wire.CheckAndMutateRequest{HashKey: hashKey, CheckSortKey: sortKey, Mutations: mutations},
	}
}

func isWrite(method *wire.Method) bool {
	return method == wire.Put || method == wire.Remove || method == wire.MultiPut || method == wire.MultiRemove || isAtomic(method)
}

func isAtomic(method *wire.Method) bool {
	return method == wire.Incr || method == wire.CheckAndSet || method == wire.CheckAndMutate
}
