package main

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, maxCallers).Draw(t, "total")
		weights := rapid.SliceOfN(rapid.IntRange(1, maxRecords), 1, 20).Draw(t, "weights")
		sum, given := 0, 0
		for _, weight := range weights {
			sum += weight
		}
		for i, share := range shares(total, weights) {
			given += share
			exact := float64(total) * float64(weights[i]) / float64(sum)
			require.InDelta(t, exact, share, 1+1e-9)
		}
		require.Equal(t, total, given)
	})
	require.Equal(t, []int{24, 24, 16}, shares(64, []int{3, 3, 2}))
}

func TestLocate(t *testing.T) {
	table := pegasus.TableSnapshot{AppID: 7, Partitions: []pegasus.PartitionSnapshot{
		{Ballot: 3, Primary: "a:1"}, {Ballot: 3, Primary: ""}, {Ballot: -1}, {Ballot: 4, Primary: "b:1"},
	}}
	for _, test := range []struct {
		hash    uint64
		index   int32
		primary string
	}{
		{8, 0, "a:1"},
		{11, 3, "b:1"},
		{10, 0, "a:1"}, // a child that does not serve yet
	} {
		gpid, primary, err := locate(table, test.hash)
		require.NoError(t, err)
		require.Equal(t, wire.GPID{AppID: 7, PartitionIndex: test.index}, gpid)
		require.Equal(t, test.primary, primary)
	}
	_, _, err := locate(table, 9)
	require.ErrorContains(t, err, "7.1 has no primary")
}

// box is a cluster with a filled table and the floor for it.
type box struct {
	*onebox.Cluster
	records []record
	floor   *floor
}

const boxRecords = 200

func newBox(t *testing.T, k *kind, valueSize int) *box {
	x := &box{Cluster: onebox.New(t, onebox.Config{}), records: newRecords(boxRecords, valueSize)}
	_, err := x.CreateTable("temp", onebox.TableOptions{})
	require.NoError(t, err)
	require.NoError(t, x.Load("temp", boxRecords, func(i int) (hashKey, sortKey, value []byte) {
		return x.records[i].hashKey[:], x.records[i].sortKey[:], x.records[i].value
	}))
	client, err := pegasus.Open(x.MetaAddresses())
	require.NoError(t, err)
	defer client.Close()
	_, err = client.OpenTable(t.Context(), "temp")
	require.NoError(t, err)
	x.floor, err = newFloor(k, client.Snapshot().Tables[0], x.records)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.floor.close()) })
	return x
}

// requests returns how many requests of the floor's kind have arrived.
func (x *box) requests() (count int) {
	for _, node := range x.Replicas() {
		count += node.Requests(x.floor.kind.method)
	}
	return count
}

// startAtOnce starts workers without a gate to wait at.
func startAtOnce(workers []worker) *crew {
	open := make(chan struct{})
	close(open)
	return start(workers, open)
}

// work lets the floor work until the servers have seen so many more requests.
func (x *box) work(t *testing.T, callers, requests int) (workers []worker, done *crew) {
	workers, err := x.floor.workers(callers, time.Minute)
	require.NoError(t, err)
	goal := x.requests() + requests
	done = startAtOnce(workers)
	require.Eventually(t, func() bool { return x.requests() >= goal || done.stop.Load() }, time.Minute, time.Millisecond)
	done.stop.Store(true)
	done.running.Wait()
	require.NoError(t, firstOf(done.errs))
	return workers, done
}

// TestFloorCountsWhatIsServed wants every request to be served, and counted once, however the
// requests in flight are spread; the frames are used more than once.
func TestFloorCountsWhatIsServed(t *testing.T) {
	for _, k := range []*kind{getKind, setKind} {
		for _, valueSize := range []int{0, 100, readBufferSize} {
			x := newBox(t, k, valueSize)
			require.Len(t, x.floor.streams, 3, "one connection per server")
			for _, callers := range []int{1, 2, 3, 64} {
				before := x.requests()
				workers, crew := x.work(t, callers, boxRecords+100)
				require.Len(t, workers, min(callers, 3))
				counted, timed := 0, int64(0)
				for i, w := range workers {
					counted += crew.operations[i]
					timed += w.times().TotalCount()
				}
				require.Equal(t, x.requests()-before, counted)
				require.EqualValues(t, counted, timed)
				for _, s := range x.floor.streams {
					require.Zero(t, s.filled, "nothing is left for the next slice")
				}
			}
		}
	}
}

// TestFloorSpread wants the share of each server to be that of its records.
func TestFloorSpread(t *testing.T) {
	x := newBox(t, getKind, 10)
	inFlight := 0
	for i, w := range x.floor.pipelines(100) {
		p := w.(*pipeline)
		require.Same(t, x.floor.streams[i], p.stream)
		require.InDelta(t, 100*len(p.stream.ends)/boxRecords, p.inFlight, 1)
		inFlight += p.inFlight
	}
	require.Equal(t, 100, inFlight)
}

// TestFloorNoticesRefusals turns the servers against requests that they have accepted before.
func TestFloorNoticesRefusals(t *testing.T) {
	for _, callers := range []int{1, 16} {
		x := newBox(t, getKind, 100)
		for _, node := range x.Replicas() {
			node.Inject(onebox.Fault{Match: onebox.OnMethod(wire.Get), Error: wire.ErrBusy})
		}
		m := meter{serverCPU: noServer}
		_, err := m.measure(x.floor, callers, time.Minute)
		require.ErrorContains(t, err, "the server refuses")
	}
}

// TestFloorDoesNotWaitForEver has the servers swallow requests.
func TestFloorDoesNotWaitForEver(t *testing.T) {
	for _, callers := range []int{1, 16} {
		x := newBox(t, getKind, 100)
		for _, node := range x.Replicas() {
			node.Inject(onebox.Fault{Match: onebox.OnMethod(wire.Get), DropRequest: true})
		}
		workers, err := x.floor.workers(callers, 10*time.Millisecond-lostAfter)
		require.NoError(t, err)
		crew := startAtOnce(workers)
		crew.running.Wait()
		require.ErrorIs(t, firstOf(crew.errs), os.ErrDeadlineExceeded)
	}
}

// timed remembers the deadline that was set last.
type timed struct {
	net.Conn
	deadline time.Time
}

func (c *timed) SetDeadline(at time.Time) error {
	c.deadline = at
	return c.Conn.SetDeadline(at)
}

// TestFloorHasTime wants long slices not to end in what is meant for lost answers.
func TestFloorHasTime(t *testing.T) {
	x := newBox(t, getKind, 100)
	for _, s := range x.floor.streams {
		s.conn = &timed{Conn: s.conn}
	}
	_, err := x.floor.workers(64, time.Hour)
	require.NoError(t, err)
	for _, s := range x.floor.streams {
		require.WithinDuration(t, time.Now().Add(time.Hour+lostAfter), s.conn.(*timed).deadline, time.Minute)
	}
}

// TestWorkersWorkAtLeastOnce stops slices before they have begun.
func TestWorkersWorkAtLeastOnce(t *testing.T) {
	x := newBox(t, getKind, 100)
	stop := atomic.NewBool(true)
	for callers, want := range map[int]int{1: 1, 64: 64} {
		workers, err := x.floor.workers(callers, time.Minute)
		require.NoError(t, err)
		total := 0
		for _, w := range workers {
			operations, err := w.run(stop)
			require.NoError(t, err)
			total += operations
		}
		require.Equal(t, want, total)
	}
}
