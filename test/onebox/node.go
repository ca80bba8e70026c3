package onebox

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"go.uber.org/atomic"
)

type nodeKind int

const (
	kindMeta nodeKind = iota
	kindReplica
)

func (k nodeKind) String() string { return [...]string{"meta", "replica"}[k] }

func (k nodeKind) port() int { return [...]int{metaPort, replicaPort}[k] }

// Node is one server of the cluster, a meta or a replica server. All its methods are safe for
// concurrent use.
type Node struct {
	// These come first because 32-bit machines align only the first words for 64-bit atomics.
	requests [maxOperations]atomic.Int64
	accepted atomic.Int64

	cluster  *Cluster
	kind     nodeKind
	index    int
	address  string
	addrPort netip.AddrPort
	hostPort wire.HostPort
	server   []byte // the address, as data responses carry it

	// hosted maps the partitions that this server hosts to its replicas of them. The map is
	// immutable; Cluster.mu guards its replacement. Replicas stay while the server is dead.
	hosted atomic.Pointer[map[wire.GPID]*replica]
	// trouble is nil while nothing disturbs requests, so that the normal path costs one load.
	trouble atomic.Pointer[trouble]
	// stalled stops all reading and writing; blackhole also dials.
	stalled, blackhole valve
	disk               atomic.Int32 // a Disk
	// reachable tells that the other servers can talk to this one.
	reachable atomic.Bool
	lives     atomic.Int32 // how often the process was started again

	// The following are guarded by Cluster.mu.

	process    *process // nil while dead
	paused     bool
	blackholed bool
	rebooted   bool // the process is not the one that was last reachable
	lost       bool // the meta servers have given the server up
	epoch      int  // grows with each change of reachable; outdates timers

	unknownMu sync.Mutex
	unknown   map[string]int // requests of names that the cluster does not know
}

func (c *Cluster) addNode(kind nodeKind) (*Node, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	nodes := &c.metas
	if kind == kindReplica {
		nodes = &c.replicas
	}
	node := &Node{cluster: c, kind: kind, index: len(*nodes)}
	listener, address, err := c.network.open(kind, node.index)
	if err != nil {
		return nil, fmt.Errorf("onebox: %v: %w", node.Name(), err)
	}
	node.address, node.server = address, []byte(address)
	node.addrPort = netip.MustParseAddrPort(address) // one of ours
	node.hostPort = wire.HostPort{Host: c.config.HostName(node), Port: node.addrPort.Port()}
	node.hosted.Store(&map[wire.GPID]*replica{})
	node.process = startProcess(node, listener)
	node.reachable.Store(true)
	*nodes = append(*nodes, node)
	return node, nil
}

// Name returns a name for people, for example "replica-2".
func (n *Node) Name() string { return fmt.Sprintf("%s-%d", n.kind, n.index) }

// String returns the name and the address.
func (n *Node) String() string { return n.Name() + " " + n.address }

// Address returns "IPv4:port". It never changes.
func (n *Node) Address() string { return n.address }

// Index returns the position among the cluster's Metas or Replicas.
func (n *Node) Index() int { return n.index }

// Kill ends the server's process: the listener is closed, connections are reset, and requests that
// are being served may still take effect but are not answered. Replicas keep their data. A replica
// server's partitions get new primaries after Config.FailoverDelay; a meta leader has a successor
// after Config.ElectionDelay. Killing a dead server does nothing.
func (n *Node) Kill() {
	n.cluster.mu.Lock()
	process := n.process
	n.process = nil
	n.cluster.mu.Unlock()
	if process != nil {
		process.stop() // before a paused process could wake up
	}
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.paused = n.paused && n.process != nil
	n.changed()
}

// listenPatience bounds how long Restart tries to get the server's port back.
const listenPatience = 5 * time.Second

// Restart starts the process of a dead server again, under the same address. A replica server that
// returns before Config.FailoverDelay keeps its roles; later it returns as a secondary, once it has
// caught up. Restarting a living server does nothing.
func (n *Node) Restart() {
	listener, err := n.listenAgain()
	if listener == nil {
		if err != nil {
			n.cluster.audit.report("%v cannot be restarted: %v", n, err)
		}
		return
	}
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	if n.process != nil || n.cluster.closed {
		_ = listener.Close()
		return
	}
	n.lives.Inc()
	for _, r := range *n.hosted.Load() {
		r.contexts.drop()
	}
	n.process, n.rebooted = startProcess(n, listener), true
	n.changed()
}

// listenAgain tolerates that the operating system still holds the port for a moment. It returns nil
// and nil if there is nothing to restart.
func (n *Node) listenAgain() (net.Listener, error) {
	timer := time.NewTimer(listenPatience)
	defer timer.Stop()
	retry := time.NewTicker(listenPatience / 500)
	defer retry.Stop()
	for !n.IsAlive() {
		listener, err := n.cluster.network.Listen(n.address)
		if err == nil {
			return listener, nil
		}
		select {
		case <-retry.C:
		case <-timer.C:
			return nil, err
		case <-n.cluster.closing:
			return nil, nil
		}
	}
	return nil, nil
}

// Pause stops the server's process as SIGSTOP does: it accepts, reads and writes nothing, and its
// connections stay open. To the rest of the cluster it is as good as dead.
func (n *Node) Pause() { n.setPaused(true) }

// Resume lets a paused process go on, with whatever has arrived meanwhile.
func (n *Node) Resume() { n.setPaused(false) }

func (n *Node) setPaused(on bool) {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.paused = on && n.process != nil
	n.changed()
}

// Blackhole makes packets to and from the server vanish, or lets them pass again. Connections stay
// open; when packets pass again, what was sent meanwhile arrives late, as TCP repeats it. Dials go
// unanswered if they are made with Cluster.DialContext or on a Network that has a Blackhole method
// of its own. To the rest of the cluster the server is as good as dead. It outlasts a restart.
func (n *Node) Blackhole(on bool) {
	if network, ok := n.cluster.network.Network.(blackholer); ok {
		network.Blackhole(n.address, on)
	}
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.blackholed = on
	n.blackhole.set(on)
	n.changed()
}

// changed draws the conclusions from a change of process, paused or blackholed. The caller holds
// Cluster.mu.
func (n *Node) changed() {
	n.stalled.set(n.paused || n.blackholed)
	reachable := n.process != nil && !n.paused && !n.blackholed
	if n.reachable.Swap(reachable) == reachable {
		return
	}
	n.epoch++
	switch {
	case n.cluster.closed:
	case n.kind == kindMeta:
		n.cluster.metaChanged(n, reachable)
	default:
		n.cluster.replicaChanged(n, reachable)
	}
	n.rebooted = n.rebooted && !reachable
}

// IsAlive tells whether the server's process exists; it may be paused or unreachable.
func (n *Node) IsAlive() bool {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	return n.process != nil
}

// Connections returns the number of connections that are open now.
func (n *Node) Connections() int {
	n.cluster.mu.Lock()
	process := n.process
	n.cluster.mu.Unlock()
	if process == nil {
		return 0
	}
	return process.count()
}

// Accepted returns the number of connections that were ever accepted.
func (n *Node) Accepted() int { return int(n.accepted.Load()) }

// Requests returns the number of requests of the given method that ever arrived, answered or not. A
// request is counted before its reply is sent.
func (n *Node) Requests(method *wire.Method) int {
	if op := operations[method.Name()]; op != nil {
		return int(n.requests[op.index].Load())
	}
	n.unknownMu.Lock()
	defer n.unknownMu.Unlock()
	return n.unknown[method.Name()]
}

func (n *Node) countUnknown(name string) {
	n.unknownMu.Lock()
	defer n.unknownMu.Unlock()
	if n.unknown == nil {
		n.unknown = map[string]int{}
	}
	n.unknown[name]++
}

// replica returns the server's replica of a partition, nil if it has none.
func (n *Node) replica(gpid wire.GPID) *replica { return (*n.hosted.Load())[gpid] }

// host makes the server host a replica, or with nil no longer host the partition. The caller holds
// Cluster.mu.
func (n *Node) host(gpid wire.GPID, r *replica) {
	hosted := maps.Clone(*n.hosted.Load())
	hosted[gpid] = r
	if r == nil {
		delete(hosted, gpid)
	}
	n.hosted.Store(&hosted)
}
