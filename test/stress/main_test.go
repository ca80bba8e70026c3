package stress

import (
	"context"
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/onebox"
)

// Flags; see the package's documentation.
var (
	callerCount = flag.Int("callers", 4000, "callers at a time")
	tableCount  = flag.Int("tables", 300, "tables open at a time")
	roundCount  = flag.Int("rounds", 4000, "rounds of the three-way race")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tableName = "temp"

// patience bounds what must not hang.
const patience = 2 * time.Minute

// newCluster returns a cluster on TCP whose failovers are quick, and where every server does as a replica.
func newCluster(t testing.TB) *onebox.Cluster {
	t.Helper()
	return onebox.New(t, onebox.Config{MinReplicas: 1, FailoverDelay: 20 * time.Millisecond})
}

// open returns a client that takes no silence for death and gives nobody up.
func open(t testing.TB, c *onebox.Cluster) *pegasus.Client {
	t.Helper()
	client, err := pegasus.Open(c.MetaAddresses(), pegasus.WithOperationTimeout(patience),
		pegasus.WithConnections(rpc.Options{SilenceLimit: patience, Dial: c.DialContext}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func openTable(t testing.TB, client *pegasus.Client) *pegasus.Table {
	t.Helper()
	table, err := client.OpenTable(context.Background(), tableName)
	require.NoError(t, err)
	return table
}

// baseline is what the process uses while nobody does anything.
type baseline struct {
	goroutines int
	memory     uint64 // bytes
}

func measure() baseline {
	var stats runtime.MemStats
	// What finalizers and pools hold takes more than one collection.
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return baseline{runtime.NumGoroutine(), stats.HeapAlloc}
}

// back waits until the process uses no more than it did. A connection may have been lost and made
// anew, and buffers may have grown to what they keep: 64 KiB each, and the table of calls under way.
func (b baseline) back(t testing.TB) {
	t.Helper()
	const goroutines, memory = 16, 4 << 20
	var now baseline
	require.Eventually(t, func() bool {
		now = measure()
		return now.goroutines <= b.goroutines+goroutines && now.memory <= b.memory+memory
	}, patience, 10*time.Millisecond, "the process uses more than before")
	t.Logf("%d goroutines and %d KiB before, %d and %d after", b.goroutines, b.memory>>10, now.goroutines, now.memory>>10)
}

// eventually waits for something that gives no signal.
func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond, what)
}
