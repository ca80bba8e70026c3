package onebox_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/assert"
	"go.uber.org/atomic"
)

// Every write gives all records of a hash key the same value. A scan, however many batches it takes, must
// see one value, a count or a multi_get all records or none; while the primary moves, which copies data.
func TestScansAndWritesConcurrently(t *testing.T) {
	x := newTesterOf(t, onebox.Config{FailoverDelay: -1}, onebox.TableOptions{})
	const records, rounds = 20, 60
	var done atomic.Bool
	var working sync.WaitGroup
	working.Go(func() {
		defer done.Store(true)
		for i := range rounds {
			x.rewrite(records, i)
		}
	})
	for range 2 {
		working.Go(func() {
			for !done.Load() {
				x.scanWhileWritten(t, records)
			}
		})
	}
	working.Go(func() {
		for i := 0; !done.Load(); i++ {
			_ = x.RemoveReplica(tableName, 0, 1+i%2)
			_ = x.MovePrimary(tableName, 0, i%3)
		}
	})
	working.Wait()
}

// toPrimary sends a request to the primary and tells whether it was served.
func (x *tester) toPrimary(method *wire.Method, in wire.Arguments, out wire.Result) bool {
	node := x.Primary(tableName, 0)
	if node == nil {
		return false
	}
	c := dial(x.box.t, x.Cluster, node)
	defer c.conn.Close()
	return c.call(x.about("h"), method, in, out).Error == wire.ErrOK
}

// rewrite gives all records the same value, or removes them.
func (x *tester) rewrite(records, i int) {
	put := &wire.MultiPutRequest{HashKey: []byte("h")}
	remove := &wire.MultiRemoveRequest{HashKey: []byte("h")}
	for n := range records {
		key := fmt.Appendf(nil, "s%02d", n)
		put.Records = append(put.Records, wire.KeyValue{Key: key, Value: fmt.Append(nil, i)})
		remove.SortKeys = append(remove.SortKeys, key)
	}
	if i%5 == 4 {
		x.toPrimary(wire.MultiRemove, remove, nil)
	} else {
		x.toPrimary(wire.MultiPut, put, nil)
	}
}

// scanWhileWritten fails the test if a scan sees records of two writes.
func (x *tester) scanWhileWritten(t *testing.T, records int) {
	values, seen := map[string]bool{}, 0
	in := &wire.GetScannerRequest{StartKey: rawKey("h", ""), StartInclusive: true, StopKey: rawKey("i", ""), BatchSize: 3}
	var out wire.ScanResponse
	served := x.toPrimary(wire.GetScanner, in, &out)
	for served && out.Status == wire.StatusOK {
		for _, record := range out.Records {
			values[string(record.Value)] = true
			seen++
		}
		if out.ContextID == wire.ScanComplete {
			assert.LessOrEqual(t, len(values), 1)
			assert.Contains(t, []int{0, records}, seen)
			return
		}
		served = x.toPrimary(wire.Scan, &wire.ScanRequest{ContextID: out.ContextID}, &out)
	}
	var count wire.CountResponse
	if x.toPrimary(wire.SortKeyCount, wire.Blob("h"), &count) {
		assert.Contains(t, []int64{0, int64(records)}, count.Count)
	}
	var all wire.MultiGetResponse
	if x.toPrimary(wire.MultiGet, &wire.MultiGetRequest{HashKey: []byte("h")}, &all) {
		assert.Contains(t, []int{0, records}, len(all.Records))
	}
}
