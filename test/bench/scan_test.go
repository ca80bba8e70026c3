package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// openScan returns the benchmark of a small cluster with so many records to scan, and the floor.
func openScan(t *testing.T, flags ...string) (*bench, *scanFloor) {
	b := openSmall(t, flags...)
	require.NoError(t, scanKind.prepare(b))
	f, err := newScanFloor(b.routing())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.close()) })
	return b, f
}

// TestScans wants client and floor to find all records, more than fit into one answer of a partition,
// in as many requests.
func TestScans(t *testing.T) {
	b, f := openScan(t, "-scan-records", "12345")
	client := &tableScan{b.table}
	for range 2 {
		for _, s := range []scanner{f, client} {
			records, err := s.scan()
			require.NoError(t, err)
			require.Equal(t, 12_345, records)
		}
	}
	require.Greater(t, f.bytesPerOperation(), 126.0, "keys and values alone")
	require.Less(t, f.bytesPerOperation(), 200.0)

	require.NoError(t, scanKind.prepare(b), "there are enough already")
	records, err := client.scan()
	require.NoError(t, err)
	require.Equal(t, 12_345, records)
}

// A scan is finished when time is up, and another begun before.
func TestScanWorker(t *testing.T) {
	_, f := openScan(t, "-scan-records", "1500")
	var stop atomic.Bool
	scans := 0
	s := &scanning{title: "x", scanner: scannerFunc(func() (int, error) {
		if scans++; scans == 3 {
			stop.Store(true)
		}
		return f.scan()
	})}
	workers, err := s.workers(1, 0)
	require.NoError(t, err)
	operations, err := workers[0].run(&stop)
	require.NoError(t, err)
	require.Equal(t, 3*1500, operations)
	require.Equal(t, int64(3), workers[0].times().TotalCount())
	_, err = (&scanWorker{scanner: scannerFunc(func() (int, error) { return 0, io.EOF })}).run(&stop)
	require.ErrorIs(t, err, io.EOF)
}

type scannerFunc func() (int, error)

func (f scannerFunc) scan() (int, error) { return f() }

// TestScanFloorFails gives the floor answers that it must not count.
func TestScanFloorFails(t *testing.T) {
	cluster, flags := foreign(t)
	for _, node := range cluster.Replicas() {
		t.Cleanup(node.Inject(onebox.Fault{Match: onebox.OnMethod(wire.GetScanner), Error: wire.ErrACLDeny}))
	}
	o := runWith(append(append(small, flags...), "-ops", "scan")...)
	require.Equal(t, 1, o.status)
	require.Contains(t, o.stderr.String(), "ERR_ACL_DENY")
}

// TestContextID looks for the context id in answers of every kind.
func TestContextID(t *testing.T) {
	result := func(answer *wire.ScanResponse) []byte {
		var response wire.Response
		require.NoError(t, wire.ParseResponse(wire.AppendResponse(nil, wire.ErrOK, wire.Scan, 1, answer), &response))
		return response.Result
	}
	p := &scanPartition{serverName: len("host:1")}
	for _, want := range []int64{wire.ScanComplete, 0, 5, -7 << 32, 0x0a0003_0a0003} {
		answer := &wire.ScanResponse{
			ContextID: want, Records: []wire.KeyValue{{Key: []byte("key")}}, Origin: wire.Origin{Server: []byte("host:1")},
		}
		got, err := p.contextID(result(answer))
		require.NoError(t, err)
		require.Equal(t, want, got)

		answer.Origin.Server = []byte("another:1")
		_, err = p.contextID(result(answer))
		require.ErrorIs(t, err, errLayout)
	}
	_, err := p.contextID(nil)
	require.ErrorIs(t, err, errLayout)
}
