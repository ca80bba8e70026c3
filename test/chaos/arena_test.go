package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

const (
	tableName      = "temp"
	remadeName     = "remade" // that of the table that is made anew all the time
	replicaCount   = 4        // one more than a partition has replicas
	mostMetas      = 5
	mostPartitions = 16
)

// arena is a cluster with tables that are disturbed, and the clients that use it.
type arena struct {
	*onebox.Cluster
	t        testing.TB
	users    []user
	hedging  []*pegasus.Client // those that hedge
	findings findings
	tally    tally
}

// user is one application, with clients for several purposes.
type user struct {
	handles         // of the table that stays
	remade  handles // of the one that does not
}

// handles are ways to use one table.
type handles struct {
	// strict repeats no write that is in doubt, so that a write is at most one moment; lenient repeats
	// those that come to the same; hedged, which not everybody has, is strict, but its reads may be stale.
	strict, lenient, hedged database
}

func (h *handles) each(do func(handle *database)) {
	for _, handle := range []*database{&h.strict, &h.lenient, &h.hedged} {
		if *handle != nil {
			do(handle)
		}
	}
}

// each does something with every handle there is.
func (a *arena) each(do func(handle *database)) {
	for i := range a.users {
		a.users[i].each(do)
		a.users[i].remade.each(do)
	}
}

// networkOf returns nothing, which means TCP, or a network in memory.
func networkOf(seed uint64) onebox.Network {
	if seed%2 == 0 {
		return memnet.New()
	}
	return nil
}

// newArena starts a cluster and two users, the first of whom hedges some reads. Clients' settings are chosen
// by the seed. Everything is closed when the test ends, and the cluster then reports what no correct client
// does.
func newArena(t testing.TB, seed uint64, network onebox.Network) *arena {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	config := onebox.Config{Replicas: replicaCount, Network: network, ElectionDelay: 50 * time.Millisecond, NotActiveDelay: 10 * time.Millisecond}
	config.HostNames = r.IntN(3) == 0
	a := &arena{Cluster: onebox.New(t, config), t: t}
	a.createTables()
	for i := range 2 {
		u := user{}
		a.open(r, &u.strict, &u.remade.strict, pegasus.WithRetryDoubtfulWrites(false))
		a.open(r, &u.lenient, &u.remade.lenient)
		if i == 0 {
			a.hedging = append(a.hedging, a.open(r, &u.hedged, &u.remade.hedged,
				pegasus.WithRetryDoubtfulWrites(false), pegasus.WithHedgedReads(hedging(r))))
		}
		a.users = append(a.users, u)
	}
	return a
}

// hedging is with a delay that adapts itself or without, sooner than by default and with more extra load.
func hedging(r *rand.Rand) pegasus.Hedging {
	const soon = 5 * time.Millisecond
	return pegasus.Hedging{Delay: []time.Duration{0, soon}[r.IntN(2)], MaxDelay: 2 * soon, MaxExtraLoad: 0.5}
}

func (a *arena) createTables() {
	for _, name := range []string{tableName, remadeName} {
		_, err := a.CreateTable(name, onebox.TableOptions{Partitions: 4})
		require.NoError(a.t, err)
	}
}

func (a *arena) dropTables() {
	for _, name := range []string{tableName, remadeName} {
		a.must(a.DropTable(name))
	}
}

// open opens both tables with a new client. Its settings are those of an application that waits less
// long than the defaults, as the cluster is quicker than real ones.
func (a *arena) open(r *rand.Rand, stays, remade *database, options ...pegasus.Option) *pegasus.Client {
	connections := rpc.Options{
		ConnectionsPerNode: 1 + r.IntN(3), Window: []int{0, 0, 4}[r.IntN(3)],
		SilenceLimit:     100*time.Millisecond + upTo(r, 200*time.Millisecond),
		ReadSilenceLimit: 20*time.Millisecond + upTo(r, 80*time.Millisecond), SweepInterval: 5 * time.Millisecond,
		DialTimeout: 200 * time.Millisecond, Dial: a.DialContext,
	}
	options = append(options, pegasus.WithConnections(connections),
		pegasus.WithDirectory(meta.Options{AskTimeout: 200 * time.Millisecond, BackupDelay: 50 * time.Millisecond}))
	client, err := pegasus.Open(a.MetaAddresses(), options...)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { require.NoError(a.t, client.Close()) })
	*stays, err = client.OpenTable(a.t.Context(), tableName)
	require.NoError(a.t, err)
	*remade, err = client.OpenTable(a.t.Context(), remadeName)
	require.NoError(a.t, err)
	return client
}

// must adds an error that faults do not explain to the findings.
func (a *arena) must(err error) {
	if err != nil {
		a.findings.add("the cluster cannot be disturbed: %v", err)
	}
}

// Topology by any number, while the partition count may change.

func (a *arena) replica(any int) *onebox.Node { return a.Replica(any % replicaCount) }

func (a *arena) partition(any int) int { return any % max(a.PartitionCount(tableName), 1) }

// move makes a server primary of a partition, if it can be.
func (a *arena) move(partition, server int) {
	_ = a.MovePrimary(tableName, a.partition(partition), server%replicaCount)
}

func (a *arena) moveAll(server int) {
	for _, name := range []string{tableName, remadeName} {
		for i := range a.PartitionCount(name) {
			_ = a.MovePrimary(name, i, (server+i)%replicaCount)
		}
	}
}

// assign gives a partition a primary, the given server or one that can be.
func (a *arena) assign(partition, server int) {
	for i := range replicaCount {
		if a.AssignPrimary(tableName, partition, (server+i)%replicaCount) == nil {
			return
		}
	}
}

// electAny makes some meta server that is alive the leader, unless there is one.
func (a *arena) electAny() {
	for i := range a.Metas() {
		if a.Leader() == nil {
			a.ElectLeader(i)
		}
	}
}

func (a *arena) addMeta() {
	if len(a.Metas()) < mostMetas {
		a.AddMeta()
	}
}

// mend ends what faults may have left behind because others were in the way.
func (a *arena) mend() {
	for _, node := range append(a.Metas(), a.Replicas()...) {
		node.Blackhole(false)
		node.Resume()
		node.Restart()
	}
	a.electAny()
	for i := range a.PartitionCount(tableName) {
		if a.Primary(tableName, i) == nil {
			a.assign(i, i)
		}
	}
	_ = a.FinishSplit(tableName) // fails if there is none
}

// disturb lets the events happen, and returns when all of them are over.
func (a *arena) disturb(events []event) {
	var lasting sync.WaitGroup
	defer a.mend()
	defer lasting.Wait()
	began := time.Now()
	for i := range events {
		e := &events[i]
		time.Sleep(time.Until(began.Add(e.at)))
		end := e.start(a, e)
		if end == nil {
			continue
		}
		lasting.Go(func() {
			time.Sleep(e.lasts)
			end()
		})
	}
}

// think is the longest pause that callers make, so that they do not take all of the machine.
const think = 4 * time.Millisecond

// run has the workloads going while the events happen, and then checks them.
func (a *arena) run(seed uint64, events []event, workloads ...workload) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var working sync.WaitGroup
	number := 0
	for _, w := range workloads {
		for range w.callers() {
			number++
			c := a.caller(seed, number)
			working.Go(func() {
				for ctx.Err() == nil {
					w.work(context.Background(), c)
					time.Sleep(upTo(c.Rand, think))
				}
			})
		}
	}
	a.disturb(events)
	cancel()
	if !ends(&working, patience) {
		a.findings.add("operations hang: %s", a.tally.String())
		return
	}
	a.check(seed, workloads)
}

// caller returns the caller of a number, whose chances follow from the seed.
func (a *arena) caller(seed uint64, number int) *caller {
	return &caller{
		Rand: rand.New(rand.NewPCG(seed, uint64(1+number))), number: number,
		user: a.users[number%len(a.users)], tally: &a.tally, findings: &a.findings,
	}
}

// patience bounds what must not hang, recovery the time after which everything must work again.
const patience, recovery = time.Minute, 20 * time.Second

func (a *arena) check(seed uint64, workloads []workload) {
	if !a.recovers() {
		return
	}
	for _, w := range workloads {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		w.check(ctx, a.caller(seed, 0))
		cancel()
	}
	if a.tally.done.Load() < int64(len(workloads)) {
		a.findings.add("hardly anything was done: %s", a.tally.String())
	}
}

// recovers tells whether all partitions can be read and written through all clients.
func (a *arena) recovers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	var working sync.WaitGroup
	var fails atomic.Bool
	a.each(func(table *database) {
		working.Go(func() {
			if err := works(ctx, *table); err != nil {
				fails.Store(true)
				a.findings.add("the cluster works, but: %v", err)
			}
		})
	})
	working.Wait()
	return !fails.Load()
}

// works writes and reads records of all partitions until each was written and read. A machine that is busy
// with other things can make any server silent for longer than these clients' limits.
func works(ctx context.Context, table database) error {
	for i := range 4 * mostPartitions {
		key := fmt.Appendf(nil, "recovery %d", i)
		for {
			_, err := table.Incr(ctx, key, nil, 1)
			if err == nil {
				_, err = orAbsent(table.Get(ctx, key, nil)) // a secondary may not know of it
			}
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return err
			}
		}
	}
	return nil
}

// ends waits for a group, for so long at most.
func ends(group *sync.WaitGroup, patience time.Duration) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		group.Wait()
	}()
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

// replay is the command that has the same faults happen again.
func replay(seed uint64, length time.Duration) string {
	return fmt.Sprintf("go test -race -run TestChaos ./test/chaos -seed=%d -seeds=1 -duration=%v", seed, length)
}
