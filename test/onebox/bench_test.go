//go:build unix

package onebox_test

import (
	"fmt"
	"io"
	"syscall"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// pipeline keeps so many prebuilt requests in flight on one connection, as one write each time as many
// replies have come. It returns after n requests.
func pipeline(b *testing.B, c *client, requests []byte, inFlight int, replySize int) {
	reply := make([]byte, replySize*inFlight)
	for done := 0; done < b.N; done += inFlight {
		_, err := c.conn.Write(requests)
		require.NoError(b, err)
		_, err = io.ReadFull(c.conn, reply)
		require.NoError(b, err)
	}
}

func cpu() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return float64(usage.Utime.Nano() + usage.Stime.Nano())
}

func benchmarkRequests(b *testing.B, method *wire.Method, argument func(key []byte) wire.Arguments) {
	const records, inFlight = 100_000, 128
	x := newBox(b, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	value := make([]byte, 100)
	key := func(i int) ([]byte, []byte, []byte) {
		return fmt.Appendf(nil, "user%08d", i), []byte("sort"), value
	}
	require.NoError(b, x.Load(tableName, records, key))
	var requests []byte
	for i := range inFlight {
		hashKey, sortKey, _ := key(i * 7919 % records)
		raw := rawKey(string(hashKey), string(sortKey))
		header := x.header(raw)
		header.TimeoutMillis = 1000
		requests = wire.AppendRequestV1(requests, &header, method, int32(i), argument(raw))
	}
	c := x.primary(rawKey("a", "b"))
	c.write(requests)
	first, err := c.receiveFrame()
	require.NoError(b, err)
	_, err = io.ReadFull(c.conn, make([]byte, len(first)*(inFlight-1)))
	require.NoError(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	pipeline(b, c, requests, inFlight, len(first))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric((cpu()-before)/float64(b.N), "cpu-ns/op")
}

func BenchmarkGet(b *testing.B) {
	benchmarkRequests(b, wire.Get, func(key []byte) wire.Arguments { return wire.Blob(key) })
}

func BenchmarkPut(b *testing.B) {
	value := make([]byte, 100)
	benchmarkRequests(b, wire.Put, func(key []byte) wire.Arguments {
		return &wire.PutRequest{Key: key, Value: value}
	})
}
