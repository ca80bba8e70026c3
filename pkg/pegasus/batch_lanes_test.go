package pegasus_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// A server that says nothing holds up its own keys, not the rest of the batch, although most of the
// requests are for it and few are made at a time.
func TestBatchAroundASilentServer(t *testing.T) {
	const partitions = 6
	options := &pegasus.BatchOptions{Concurrency: 3, ChunkItems: 2}
	for name, run := range map[string]func(b *box, keys []pegasus.Key) []error{
		"get": func(b *box, keys []pegasus.Key) (errs []error) {
			results, _ := b.table.BatchGet(b.within(time.Second), keys, options)
			for _, result := range results {
				errs = append(errs, result.Err)
			}
			return errs
		},
		"set": func(b *box, keys []pegasus.Key) []error {
			errs, _ := b.table.BatchSet(b.within(time.Second), recordsOf(keys, func(int) string { return "new" }), options)
			return errs
		},
		"del": func(b *box, keys []pegasus.Key) []error {
			errs, _ := b.table.BatchDel(b.within(time.Second), keys, options)
			return errs
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions}, func(t *testing.T, b *box) {
				for i := range partitions { // four partitions at the server that will be silent
					require.NoError(t, b.MovePrimary(tableName, i, []int{0, 0, 1, 0, 2, 0}[i]))
				}
				all := inPartitions(20, partitions)
				b.batchSet(recordsOf(all, func(int) string { return "value" }))
				b.injectAll(onebox.Fault{DropRequest: true, Match: func(r *onebox.Request) bool {
					return r.Node == b.Replica(0) && !r.Is(wire.QueryConfig)
				}})
				errs := run(b, all)
				for i, key := range all {
					if p := hashOf(string(key.HashKey)) % partitions; p == 2 || p == 4 {
						require.NoError(t, errs[i])
					} else {
						require.Error(t, errs[i])
					}
				}
			}, pegasus.WithConnections(rpc.Options{SilenceLimit: time.Minute}))
		})
	}
}

// A large batch takes a fixed number of goroutines; a few more are those of timers and of tests before.
func TestLargeBatchTakesFewGoroutines(t *testing.T) {
	var most atomic.Int64
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
		if methodOf(request.Name) == wire.BatchGet {
			return "", &wire.BatchGetResponse{}
		}
		return "", &wire.UpdateResponse{}
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		limit, keys := int64(runtime.NumGoroutine()+pegasus.DefaultBatchWriteConcurrency+50), numberedKeys(20_000)
		_, err := s.table.BatchSet(t.Context(), recordsOf(keys, func(i int) string { return fmt.Sprint(i) }), nil)
		require.NoError(t, err)
		require.LessOrEqual(t, most.Load(), limit)
		_, err = s.table.BatchGet(t.Context(), keys, nil)
		require.NoError(t, err)
		require.LessOrEqual(t, most.Load(), limit)
	})
}
