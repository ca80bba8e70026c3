package onebox

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/atomic"
)

// Cluster is a whole Pegasus cluster. All its methods are safe for concurrent use.
//
// The topology (who lives, who leads, which table has which partitions) is guarded by mu, which the
// path of a data request never takes. Locks are taken in the order Cluster.mu, partition.mu,
// replica.mu.
type Cluster struct {
	iterationLimit, secondaryLag atomic.Int64 // first, for their alignment

	config  Config
	network addresses
	audit   auditor
	closing chan struct{}  // closed by Close; ends the timers
	working sync.WaitGroup // every goroutine of the cluster

	mu       sync.Mutex
	closed   bool
	metas    []*Node
	replicas []*Node
	election election
	tables   map[string]*table
	everHad  map[int32]int // app id -> largest partition count it ever had, dropped tables included
}

// Start starts a cluster. The caller must Close it. It fails if the numbers in the configuration make no
// sense or an address cannot be listened on.
func Start(config Config) (*Cluster, error) {
	config = config.withDefaults()
	if config.Metas < 1 || config.Replicas < 1 || config.MinReplicas < 1 {
		return nil, fmt.Errorf("onebox: %d metas, %d replicas, at least %d for a write: all must be positive",
			config.Metas, config.Replicas, config.MinReplicas)
	}
	c := &Cluster{
		config:  config,
		closing: make(chan struct{}),
		tables:  map[string]*table{},
		everHad: map[int32]int{},
	}
	c.network = newAddresses(c.config.Network)
	for range c.config.Metas {
		if _, err := c.addNode(kindMeta); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	for range c.config.Replicas {
		if _, err := c.addNode(kindReplica); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	c.ElectLeader(0)
	return c, nil
}

// New starts a cluster for a test and closes it when the test ends. It fails the test if the cluster
// cannot be started, or if Violations is not empty at the end.
func New(t testing.TB, config Config) *Cluster {
	t.Helper()
	c, err := Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		for _, violation := range c.Violations() {
			t.Error("onebox: a client broke the protocol:", violation)
		}
	})
	return c
}

// Close ends all servers and waits for all goroutines of the cluster. Closing again does nothing.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
	}
	nodes := slices.Concat(c.metas, c.replicas)
	c.mu.Unlock()
	for _, node := range nodes {
		node.Kill()
	}
	c.working.Wait()
	return nil
}

// after runs f with mu held once the delay has passed, at once if there is none, and never after Close.
// The caller holds mu.
func (c *Cluster) after(delay time.Duration, f func()) {
	switch {
	case c.closed:
	case delay <= 0:
		f()
	default:
		c.working.Go(func() {
			timer := time.NewTimer(delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-c.closing:
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if !c.closed {
				f()
			}
		})
	}
}

// LimitIterations makes a range read, scan or count run out of time once it has examined so many
// records, as real servers do after 30 s; 0, the default, means never (docs/protocol.md, multi_get and
// batch semantics).
func (c *Cluster) LimitIterations(records int) { c.iterationLimit.Store(int64(records)) }

// LagSecondaries makes secondaries apply what they have logged only when it has come to so many changes
// of records, as if they heard late what was committed. 0, the default, means with every write
// (docs/protocol.md, backup requests). What a secondary has logged is not lost: one that becomes primary
// has applied all of it.
func (c *Cluster) LagSecondaries(changes int) { c.secondaryLag.Store(int64(changes)) }

// iterations returns how many records a request can examine in its time.
func (c *Cluster) iterations() int {
	if limit := c.iterationLimit.Load(); limit > 0 {
		return int(limit)
	}
	return never
}

// MetaAddresses returns the addresses of the meta servers that a client is configured with: those of
// Config.Metas, not those of AddMeta.
func (c *Cluster) MetaAddresses() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	addresses := make([]string, 0, c.config.Metas)
	for _, node := range c.metas[:c.config.Metas] {
		addresses = append(addresses, node.address)
	}
	return addresses
}

// Metas returns all meta servers, dead ones and those of AddMeta included.
func (c *Cluster) Metas() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.metas)
}

// Replicas returns all replica servers, dead ones included.
func (c *Cluster) Replicas() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.replicas)
}

// Meta returns the meta server with the given index in Metas. It panics if there is none.
func (c *Cluster) Meta(i int) *Node { return c.Metas()[i] }

// Replica returns the replica server with the given index in Replicas. It panics if there is none.
func (c *Cluster) Replica(i int) *Node { return c.Replicas()[i] }

// NodeAt returns the server with the given address or, with Config.HostNames, the given "name:port";
// nil if there is none.
func (c *Cluster) NodeAt(address string) *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, node := range slices.Concat(c.metas, c.replicas) {
		if node.address == address || c.config.HostNames && node.hostPort.String() == address {
			return node
		}
	}
	return nil
}

// AddMeta starts one more meta server, which is not among MetaAddresses: clients learn of it when a
// follower forwards them to it. It panics if no address can be listened on.
func (c *Cluster) AddMeta() *Node {
	node, err := c.addNode(kindMeta)
	if err != nil {
		panic(fmt.Sprintf("onebox: %v", err))
	}
	return node
}
