package stress

import (
	"context"
	"flag"
	"runtime"
	"sync"
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
	raceCount   = flag.Int("races", 60_000, "three-way races")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tableName = "temp"

// patience bounds what must not hang.
const patience = time.Minute

// newCluster returns a cluster on TCP where every server does as a replica.
func newCluster(t testing.TB, failover time.Duration) *onebox.Cluster {
	t.Helper()
	return onebox.New(t, onebox.Config{MinReplicas: 1, FailoverDelay: failover})
}

// open returns a client that takes no silence for death and gives nobody up.
func open(t testing.TB, c *onebox.Cluster) *pegasus.Client {
	t.Helper()
	client, err := pegasus.Open(c.MetaAddresses(), pegasus.WithOperationTimeout(patience),
		pegasus.WithConnections(rpc.Options{SilenceLimit: patience, ReadSilenceLimit: patience, Dial: c.DialContext}))
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

// breed has so many goroutines exist at a time. The runtime keeps about 500 bytes of each for ever, for
// others to come, and they must not be taken for the client's.
func breed(count int) {
	var all sync.WaitGroup
	end := make(chan struct{})
	for range count {
		all.Go(func() { <-end })
	}
	close(end)
	all.Wait()
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
// anew, buffers may have grown to what they keep, and the queue for admission has kept its room, some
// 40 bytes for each of the most that ever waited. A waiting caller takes a thousand.
func (b baseline) back(t testing.TB) {
	t.Helper()
	const goroutines = 16
	memory := 4<<20 + 64*uint64(*callerCount)
	var now baseline
	defer func() {
		t.Logf("%d goroutines and %d KiB before, %d and %d after", b.goroutines, b.memory>>10, now.goroutines, now.memory>>10)
	}()
	eventually(t, func() bool {
		now = measure()
		return now.goroutines <= b.goroutines+goroutines && now.memory <= b.memory+memory
	}, "the process uses more than before")
}

// eventually waits for something that gives no signal.
func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, patience, 10*time.Millisecond, what)
}
