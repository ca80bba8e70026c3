package rpc

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// collect has the garbage collector find out what nothing leads to any more.
func collect() {
	runtime.GC()
	runtime.GC() // what the first one marked while it was still in somebody's hands
}

// churn asks the pool for nodes that were never named before, and keeps none of them.
func (r *rig) churn(from, to int) {
	for i := from; i < to; i++ {
		r.pool.Node(fmt.Sprintf("10.1.%d.%d:34801", i>>8, i&255))
	}
}

func (r *rig) addresses() (list []string) {
	for _, n := range r.pool.Nodes() {
		list = append(list, n.Address())
	}
	return list
}

// Addresses that change all the time, as those of containers do, cost the memory of the latest.
func TestRosterForgetsNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		const perMinute, minutes = 50, 600
		for minute := range minutes {
			r.churn(minute*perMinute, (minute+1)*perMinute)
			time.Sleep(time.Minute)
			if minute%100 == 0 {
				collect()
			}
		}
		collect()
		require.LessOrEqual(t, len(r.pool.Nodes()), 8*perMinute)
		require.LessOrEqual(t, len(r.pool.roster.entries), 8*perMinute)
		time.Sleep(2 * nodeMemory)
		r.pool.Nodes()
		collect()
		require.Equal(t, []string{address}, r.addresses())
	})
}

// Nor do many that are named at one moment, by a meta server that means harm.
func TestRosterIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.churn(0, 20*maxKept)
		r.pool.Nodes()
		collect()
		require.LessOrEqual(t, len(r.pool.Nodes()), maxKept+1)
		require.LessOrEqual(t, len(r.pool.roster.entries), maxKept+1)
		latest := fmt.Sprintf("10.1.%d.%d:34801", (20*maxKept-1)>>8, (20*maxKept-1)&255)
		time.Sleep(time.Second)
		r.pool.Node(latest)
		r.churn(0, maxKept/2)
		r.pool.Nodes()
		collect()
		require.Contains(t, r.addresses(), latest, "the ones that go were not asked for the longest")
	})
}

// Who has a node has the node of that address for ever, and so has everybody else, also when the roster
// has long let go of it. What is known about it stays, and it is connected to once.
func TestRosterKeepsNodesInUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		s := serve(t, r.network, echo)
		r.network.Refuse(address, true)
		require.ErrorIs(t, r.start("key").result(), ErrConnect)
		r.network.Refuse(address, false)
		epoch := r.node.Epoch()
		for day := range 3 {
			time.Sleep(24 * time.Hour)
			r.churn(day*maxKept*4, (day+1)*maxKept*4)
			collect()
			require.Nil(t, r.pool.roster.entries[address].kept)
		}
		r.call("key") // with a snapshot that is three days old
		require.Same(t, r.node, r.pool.Node(address))
		require.Contains(t, r.pool.Nodes(), r.node)
		require.Equal(t, epoch, r.pool.Node(address).Epoch())
		require.EqualValues(t, 2, r.pool.Node(address).Stats().Dials)
		require.Equal(t, 1, r.network.Open(address))
		s.stop()
	})
}

// A connection, and a dial, keep their node, so that there are no others beside them, and the pool can
// close them.
func TestRosterKeepsNodesThatAreConnected(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{DialTimeout: time.Hour})
		s := serve(t, r.network, echo)
		r.network.Blackhole("10.0.0.2:34801", true)
		r.call("key")
		r.node = nil
		go func() { _ = r.pool.Node("10.0.0.2:34801").Connect(t.Context()) }()
		synctest.Wait()
		time.Sleep(2 * nodeMemory)
		r.pool.Nodes()
		collect()
		require.Equal(t, []string{address, "10.0.0.2:34801"}, r.addresses())
		g := newGet("key")
		require.NoError(t, r.pool.Node(address).Call(t.Context(), &g.Request))
		require.EqualValues(t, 1, r.pool.Node(address).Stats().Dials)
		r.close()
		s.stop()
		time.Sleep(2 * nodeMemory)
		r.pool.Nodes()
		collect()
		require.Empty(t, r.pool.Nodes(), "nothing else keeps them")
	})
}

// What is known about a node outlives some minutes without anybody who has it.
func TestRosterRemembersForMinutes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.node = nil
		fail := func() { require.Error(t, r.pool.Node(address).Connect(t.Context())) }
		fail()
		time.Sleep(nodeMemory - time.Second)
		collect()
		require.Error(t, r.pool.Node(address).Stats().LastError)
		time.Sleep(nodeMemory - time.Second)
		collect()
		require.Len(t, r.pool.Nodes(), 1, "it was asked for meanwhile")
		time.Sleep(time.Second)
		r.pool.Nodes()
		collect()
		require.Empty(t, r.pool.Nodes())
		require.NoError(t, r.pool.Node(address).Stats().LastError)
	})
}

// holders are those who have the node of one address. All must have the same.
type holders struct {
	mu    sync.Mutex
	node  *Node
	count int
}

// enter says whether n is the node that the other holders have, if there are any.
func (h *holders) enter(n *Node) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	same := h.count == 0 || h.node == n
	h.node = n
	h.count++
	return same
}

func (h *holders) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count--; h.count == 0 {
		h.node = nil
	}
}

// However lookups, forgetting and collections meet, two who have the node of an address have the same.
func TestStressRoster(t *testing.T) {
	const goroutines, addresses, rounds = 8, 4, 2000
	r := newRig(t, Options{})
	var all [addresses]holders
	var searching, collecting sync.WaitGroup
	var over atomic.Bool
	for g := range goroutines {
		searching.Go(func() {
			for round := range rounds {
				i := (g + round) % addresses
				n := r.pool.Node(fmt.Sprintf("10.0.1.%d:34801", i))
				if !all[i].enter(n) {
					t.Error("two nodes of one address")
				}
				runtime.Gosched()
				if !slices.Contains(r.pool.Nodes(), n) {
					t.Error("a node in use is not there")
				}
				all[i].leave()
			}
		})
	}
	collecting.Go(func() {
		for !over.Load() {
			r.pool.mu.Lock()
			r.pool.roster.tidy(time.Now().Add(2 * nodeMemory))
			r.pool.mu.Unlock()
			runtime.GC()
		}
	})
	searching.Wait()
	over.Store(true)
	collecting.Wait()
}
