package onebox_test

import (
	"fmt"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// BenchmarkFullScan scans a table from end to end, with nothing on top of the frames.
func BenchmarkFullScan(b *testing.B) {
	const records = 200_000
	x := newBox(b, onebox.Config{}, onebox.TableOptions{})
	value := make([]byte, 100)
	var key []byte
	require.NoError(b, x.Load(tableName, records, func(i int) (hashKey, sortKey, v []byte) {
		key = fmt.Appendf(key[:0], "user-%09d", i)
		return key, nil, value
	}))
	scanned, bytes := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		for index := range x.partitions {
			n, size := fullScan(b, x, index)
			scanned, bytes = scanned+n, bytes+size
		}
	}
	require.Equal(b, records*b.N, scanned)
	b.ReportMetric(float64(scanned)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(bytes)/b.Elapsed().Seconds()/1e6, "MB/s")
}

// fullScan scans a partition, and returns the number of records and the bytes of the frames.
func fullScan(b *testing.B, x *box, index int) (records, bytes int) {
	c := dial(b, x.Cluster, x.Primary(tableName, index))
	defer c.conn.Close()
	gpid := wire.GPID{AppID: x.appID, PartitionIndex: int32(index)}
	header := wire.Header{GPID: gpid, PartitionHash: uint64(index)}
	c.send(header, wire.GetScanner, wholePartition())
	for {
		frame, err := c.receiveFrame()
		require.NoError(b, err)
		var response wire.Response
		var result wire.ScanResponse
		var r wire.Reader
		require.NoError(b, wire.ParseResponse(frame, &response))
		require.NoError(b, wire.DecodeResult(&r, response.Result, &result))
		records, bytes = records+len(result.Records), bytes+len(frame)
		if result.ContextID == wire.ScanComplete {
			return records, bytes
		}
		c.send(header, wire.Scan, &wire.ScanRequest{ContextID: result.ContextID})
	}
}

// wholePartition returns the request that clients begin the scan of a partition with.
func wholePartition() *wire.GetScannerRequest {
	return &wire.GetScannerRequest{
		StartKey: []byte{0, 0}, StartInclusive: true, StopKey: []byte{0xff, 0xff},
		ValidatePartitionHash: wire.Yes, FullScan: wire.Yes,
	}
}
