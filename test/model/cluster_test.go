package model_test

import (
	"context"
	"fmt"
	"sync"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

func newMachine(t *rapid.T) *machine {
	m := &machine{
		repeats: rapid.Bool().Draw(t, "repeat writes in doubt"),
	}
	partitions := 1 << rapid.IntRange(0, 2).Draw(t, "log2 of partitions")
	time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))) // bubbles begin before there are expiry times
	network := memnet.New()
	cluster, err := onebox.Start(onebox.Config{Network: network, Now: servers, FirstContext: alikeContexts()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = cluster.Close() })
	m.Cluster = cluster
	for _, node := range append(m.Metas(), m.Replicas()...) {
		network.SetLatency(node.Address(), latency)
	}
	m.appID, err = m.CreateTable(tableName, onebox.TableOptions{Partitions: partitions})
	require.NoError(t, err)
	for range 2 {
		m.open(t)
	}
	m.table = m.tables[0]
	sleepUntil(servers().Add(tick))
	m.worlds = []*world{{now: time.Now().Unix(), records: map[key]record{}}}
	m.load(t)
	return m
}

// open opens the table with another client.
func (m *machine) open(t *rapid.T) {
	client, err := pegasus.Open(m.MetaAddresses(), pegasus.WithRetryDoubtfulWrites(m.repeats),
		// Where pauses are left to chance, they are made so short that chance changes nothing: a run can
		// be repeated.
		pegasus.WithRetry(retry.Policy{Jitter: 1e-9}),
		pegasus.WithDirectory(meta.Options{
			RetryPause: time.Microsecond, RefreshPause: time.Microsecond, MaxRefreshPause: time.Millisecond,
			RefreshInterval: 1000 * time.Hour,
		}),
		pegasus.WithConnections(rpc.Options{
			Dial: m.DialContext, SilenceLimit: time.Second, DialTimeout: time.Second,
			BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
		}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	table, err := client.OpenTable(context.Background(), tableName)
	require.NoError(t, err)
	m.tables = append(m.tables, table)
}

// load begins some runs with a table that is not empty.
func (m *machine) load(t *rapid.T) {
	share := rapid.SampledFrom([]int{0, 3, 1}).Draw(t, "one in so many records exists")
	if share == 0 {
		return
	}
	var records []pegasus.BatchRecord
	for i, hash := range hashKeys {
		for j, sort := range sortKeys {
			if number := i*len(sortKeys) + j; number%share == 0 {
				w := write{key{hash, sort}, values[number%len(values)], ttls[number%(len(ttls)-1)], false}
				records = append(records, pegasus.BatchRecord{
					HashKey: []byte(hash), SortKey: []byte(sort), Value: []byte(w.value), TTL: w.ttl,
				})
				m.worlds[0].write(w)
			}
		}
	}
	_, err := m.table.BatchSet(context.Background(), records, nil)
	require.NoError(t, err)
	m.pass(t, time.Now().Truncate(tick).Add(tick))
}

// alikeContexts has all replicas begin with the same id for scans, a negative one, until they are started
// again: whoever mistakes one for another is found out.
func alikeContexts() func(*onebox.Node, wire.GPID) int64 {
	var mu sync.Mutex
	lives := map[string]int64{}
	return func(server *onebox.Node, gpid wire.GPID) int64 {
		mu.Lock()
		defer mu.Unlock()
		replica := fmt.Sprint(server, gpid)
		lives[replica]++
		return lives[replica]<<20 - 1<<40
	}
}

// servers is the clock of the servers.
func servers() time.Time { return time.Now().Truncate(tick) }

func sleepUntil(moment time.Time) {
	time.Sleep(time.Until(moment))
	synctest.Wait()
}

// health says what an operation of the given kind may be excused for in the state that the cluster is in.
func (m *machine) health(of kind) excuse {
	if m.Leader() == nil || m.split.hangs() {
		return anyExcuse
	}
	for i := range m.PartitionCount(tableName) {
		if m.split.waits(i) {
			continue // its parent serves for it
		}
		primary := m.Primary(tableName, i)
		if primary == nil || !primary.IsAlive() {
			return anyExcuse
		}
		if of != reading && m.liveSecondaries(i) == 0 {
			return anyExcuse
		}
	}
	return noExcuse
}

func (m *machine) liveSecondaries(partition int) (live int) {
	for _, node := range m.Secondaries(tableName, partition) {
		if node.IsAlive() {
			live++
		}
	}
	return live
}
