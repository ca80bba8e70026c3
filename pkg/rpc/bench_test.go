package rpc

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// discard is a result that keeps nothing.
type discard struct{ response wire.GetResponse }

// Decode implements wire.Result.
func (d *discard) Decode(r *wire.Reader) { d.response.Decode(r) }

// prepared is a small request that is made again and again.
func prepared() *Request {
	key := wire.Blob("user:0123456789")
	return &Request{
		Method: wire.Get, Header: wire.Header{GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, TimeoutMillis: 1000},
		Arguments: &key, Result: new(discard),
	}
}

// A call allocates nothing once everything has its size, with a context that can be cancelled or not.
func TestCallAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	node := tcpNode(t, listenTCP(t, echoFast), Options{})
	request := prepared()
	cancellable, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, ctx := range []context.Context{context.Background(), cancellable} {
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if err := node.Call(ctx, request); err != nil {
				t.Error(err)
			}
		}))
	}
}

func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers, " callers"), func(b *testing.B) {
			node := tcpNode(b, listenTCP(b, echoFast), Options{})
			require.NoError(b, node.Connect(b.Context()))
			b.ReportAllocs()
			b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
			if callers == 1 {
				request := prepared()
				for b.Loop() {
					if err := node.Call(context.Background(), request); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				request := prepared()
				for pb.Next() {
					if err := node.Call(context.Background(), request); err != nil {
						b.Error(err)
						return
					}
				}
			})
			stats := node.Stats()
			b.ReportMetric(float64(stats.Sent)/float64(stats.Flushes), "requests/write")
		})
	}
}
