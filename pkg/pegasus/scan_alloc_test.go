package pegasus_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// newScanStub returns a stub on TCP whose answers to scans have 1000 records each. It sends so many of
// them in a scan.
func newScanStub(t testing.TB, answers int) *stub {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	const size = 1000
	prepared := make([]*wire.ScanResponse, answers)
	for i := range prepared {
		answer := &wire.ScanResponse{ContextID: int64(i) + 1, Origin: wire.Origin{GPID: stubGPID, Server: []byte("server")}}
		if i == answers-1 {
			answer.ContextID = wire.ScanComplete
		}
		for j := range size {
			key, err := wire.AppendKey(nil, fmt.Appendf(nil, "user %06d", i*size+j), []byte("sort key"))
			require.NoError(t, err)
			answer.Records = append(answer.Records, wire.KeyValue{Key: key, Value: bytes.Repeat([]byte("v"), 100)})
		}
		prepared[i] = answer
	}
	s := newStub(t, listener, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		switch methodOf(request.Name) {
		case wire.GetScanner:
			return wire.ErrOK, prepared[0]
		case wire.Scan:
			var next wire.ScanRequest
			arguments(t, request, &next)
			return wire.ErrOK, prepared[next.ContextID]
		}
		return "", nil
	})
	s.open()
	return s
}

// scanAll returns the number of records of the table.
func (s *stub) scanAll() (count int) {
	scanners, err := s.table.TableScanners(1, nil)
	require.NoError(s.t, err)
	defer scanners[0].Close()
	for {
		if _, err := scanners[0].Next(s.t.Context()); err == io.EOF { //nolint:errorlint // the very one
			return count
		} else if err != nil {
			s.t.Error(err)
			return count
		}
		count++
	}
}

// TestScanAllocations has a scan allocate per answer, not per record.
func TestScanAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	const answers = 20
	s := newScanStub(t, answers)
	require.Equal(t, answers*1000, s.scanAll())
	require.Less(t, testing.AllocsPerRun(10, func() { s.scanAll() }), float64(answers*30+100))
}

// A record that is kept keeps the answer it came in, and no more.
func TestScanIterator(t *testing.T) {
	s := newScanStub(t, 3)
	count := 0
	for record, err := range s.table.ScanTable(t.Context(), &pegasus.ScanOptions{}) {
		require.NoError(t, err)
		require.Len(t, record.Value, 100)
		count++
	}
	require.Equal(t, 3000, count)
}

// BenchmarkScan is a scan of a table over loopback, from a server that prepares its answers, per record
// of about 130 bytes.
func BenchmarkScan(b *testing.B) {
	const answers = 100
	s := newScanStub(b, answers)
	b.ReportAllocs()
	b.ResetTimer()
	records := 0
	for records < b.N {
		records += s.scanAll()
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}
