package chaos

import (
	"fmt"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// fault is something that happens to the cluster, for a while.
type fault struct {
	name  string
	most  time.Duration // how long it lasts at most; half of that at least
	often int           // how often it is chosen, compared with others
	// start begins it, with the event's choices, and returns how it ends, nil if it ends by itself.
	start func(a *arena, e *event) (end func())
}

const (
	moment = 100 * time.Millisecond // about half a failover
	spell  = 600 * time.Millisecond // some failovers
)

// faults are everything that can happen.
var faults = []fault{
	// Processes and network of replica servers.
	{"kill replica", spell, 4, onReplica((*onebox.Node).Kill, (*onebox.Node).Restart)},
	{"restart replica", moment, 3, onReplica((*onebox.Node).Kill, (*onebox.Node).Restart)},
	{"pause replica", spell, 4, onReplica((*onebox.Node).Pause, (*onebox.Node).Resume)},
	{"pause replica shortly", moment, 3, onReplica((*onebox.Node).Pause, (*onebox.Node).Resume)},
	{"cut replica off", spell, 4, onReplica(cutOff, reconnect)},
	{"cut replica off shortly", moment, 3, onReplica(cutOff, reconnect)},
	{"deny clients", moment, 1, onReplica(
		func(n *onebox.Node) { n.DenyClients(true) }, func(n *onebox.Node) { n.DenyClients(false) })},
	{"disk full", moment, 1, onReplica(
		func(n *onebox.Node) { n.SetDisk(onebox.DiskInsufficient) }, func(n *onebox.Node) { n.SetDisk(onebox.DiskNormal) })},
	{"kill all replicas", moment, 1, onAll((*onebox.Cluster).Replicas, (*onebox.Node).Kill, (*onebox.Node).Restart)},
	{"cut all replicas off", moment, 1, onAll((*onebox.Cluster).Replicas, cutOff, reconnect)},

	// Meta servers.
	{"kill meta", spell, 2, onMeta((*onebox.Node).Kill, (*onebox.Node).Restart)},
	{"kill meta leader", spell, 3, killLeader},
	{"pause meta", spell, 2, onMeta((*onebox.Node).Pause, (*onebox.Node).Resume)},
	{"cut meta off", spell, 2, onMeta(cutOff, reconnect)},
	{"kill all metas", spell, 1, onAll((*onebox.Cluster).Metas, (*onebox.Node).Kill, (*onebox.Node).Restart)},
	{"elect meta leader", 0, 2, func(a *arena, e *event) func() { a.ElectLeader(e.node % len(a.Metas())); return nil }},
	{"no meta leader", moment, 1, func(a *arena, e *event) func() {
		a.ElectLeader(-1)
		return func() { a.electAny() }
	}},
	{"add meta", 0, 1, func(a *arena, _ *event) func() { a.addMeta(); return nil }},
	{"meta refuses", moment, 1, injectMeta(onebox.Fault{MetaError: wire.ErrServiceNotActive})},
	{"meta forwards nowhere", moment, 1, injectMeta(onebox.Fault{ForwardNowhere: true})},
	{"meta forwards to the dead", moment, 1, injectMeta(onebox.Fault{ForwardTo: "127.0.0.1:1"})},
	{"meta sends garbage", moment, 1, injectMeta(onebox.Fault{Garbage: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")})},
	{"meta is silent", moment, 1, injectMeta(onebox.Fault{DropReply: true})},

	// Requests: delayed, lost, corrupted. The limits keep the number of writes in doubt within what
	// can be explained.
	{"delay", spell, 3, inject(onebox.Fault{Delay: 5 * time.Millisecond})},
	{"slow primaries", spell, 4, inject(onebox.Fault{Match: slowRead, Delay: 40 * time.Millisecond})},
	{"delay long", moment, 2, inject(onebox.Fault{Delay: 150 * time.Millisecond, Times: 30})},
	{"drop requests", moment, 2, inject(onebox.Fault{DropRequest: true, Times: 20})},
	{"drop replies", moment, 3, inject(onebox.Fault{DropReply: true, Times: 20})},
	{"close before", moment, 2, inject(onebox.Fault{CloseBefore: true, Times: 3})},
	{"close after", moment, 3, inject(onebox.Fault{CloseAfter: true, Times: 3})},
	{"truncate", moment, 2, inject(onebox.Fault{Truncate: 9, Times: 3})},
	{"garbage", moment, 2, inject(onebox.Fault{Garbage: []byte("\x00\x00\x00\x10not a reply of any kind"), Times: 3})},
	{"wrong sequence", moment, 2, inject(onebox.Fault{WrongSequence: true, Times: 3})},
	{"wrong name", moment, 2, inject(onebox.Fault{WrongName: "RPC_CORRUPTED", Times: 3})},
	{"huge length", moment, 2, inject(onebox.Fault{HugeLength: true, Times: 3})},
	{"duplicate", moment, 1, inject(onebox.Fault{Duplicate: true, Times: 20})},
	{"hold", moment, 1, inject(onebox.Fault{Hold: true, Times: 20})},
	{"chunks", moment, 1, inject(onebox.Fault{Chunk: 3})},
	{"busy", moment, 1, inject(onebox.Fault{Error: wire.ErrBusy, Times: 20})},
	{"unknown error", moment, 1, inject(onebox.Fault{Error: "ERR_OF_TOMORROW", Times: 20})},
	{"wrong state", moment, 1, inject(onebox.Fault{Error: wire.ErrInvalidState, Times: 200})},
	{"result missing", moment, 1, inject(onebox.Fault{OKWithoutBody: true, Times: 20})},

	// Partitions.
	{"move primary", 0, 6, func(a *arena, e *event) func() { a.move(e.partition, e.node); return nil }},
	{"move all primaries", 0, 2, func(a *arena, e *event) func() { a.moveAll(e.node); return nil }},
	{"no primary", spell, 2, clearPrimary},
	{"remove replica", spell, 2, removeReplica},
	{"secondaries lag", spell, 3, func(a *arena, _ *event) func() {
		a.LagSecondaries(50)
		return func() { a.LagSecondaries(0) }
	}},
	{"split", spell, 5, split},
	{"cancel split", moment, 1, cancelSplit},

	// Environment of the table.
	{"throttle reads", moment, 1, setEnv("replica.read_throttling", "200*reject*1")},
	{"throttle writes", moment, 1, setEnv("replica.write_throttling", "100*delay*20,200*reject*5")},
	{"throttle bytes", moment, 1, setEnv("replica.read_throttling_by_size", "100000")},
	{"reconfigure", moment, 1, setEnv("replica.deny_client_request", "reconfig*all")},
	{"ignore writes", moment, 1, setEnv("replica.deny_client_request", "timeout*write")},
	{"duplicating", moment, 1, setMode((*onebox.Cluster).SetDuplicating)},
	{"ingesting", moment, 1, setMode((*onebox.Cluster).SetIngesting)},
	{"short iterations", spell, 1, func(a *arena, _ *event) func() {
		a.LimitIterations(2)
		return func() { a.LimitIterations(0) }
	}},
}

// slowRead selects the reads that clients send to primaries.
func slowRead(r *onebox.Request) bool {
	return !r.Header.Backup && onebox.OnMethod(wire.Get, wire.TTL, wire.MultiGet, wire.BatchGet, wire.SortKeyCount)(r)
}

func cutOff(n *onebox.Node)    { n.Blackhole(true) }
func reconnect(n *onebox.Node) { n.Blackhole(false) }

func onReplica(begin, end func(*onebox.Node)) func(*arena, *event) func() {
	return func(a *arena, e *event) func() { return onNode(a.replica(e.node), begin, end) }
}

func onMeta(begin, end func(*onebox.Node)) func(*arena, *event) func() {
	return func(a *arena, e *event) func() { return onNode(a.Meta(e.node%len(a.Metas())), begin, end) }
}

func onNode(node *onebox.Node, begin, end func(*onebox.Node)) func() {
	begin(node)
	return func() { end(node) }
}

func onAll(nodes func(*onebox.Cluster) []*onebox.Node, begin, end func(*onebox.Node)) func(*arena, *event) func() {
	return func(a *arena, _ *event) func() {
		all := nodes(a.Cluster)
		for _, node := range all {
			begin(node)
		}
		return func() {
			for _, node := range all {
				end(node)
			}
		}
	}
}

func killLeader(a *arena, _ *event) func() {
	leader := a.Leader()
	if leader == nil {
		return nil
	}
	return onNode(leader, (*onebox.Node).Kill, (*onebox.Node).Restart)
}

// inject disturbs the requests to one replica server, or to all.
func inject(what onebox.Fault) func(*arena, *event) func() {
	return func(a *arena, e *event) func() {
		if !e.all {
			return a.replica(e.node).Inject(what)
		}
		return injectAll(a.Replicas(), what)
	}
}

// injectMeta disturbs the requests to all meta servers.
func injectMeta(what onebox.Fault) func(*arena, *event) func() {
	return func(a *arena, _ *event) func() { return injectAll(a.Metas(), what) }
}

func injectAll(nodes []*onebox.Node, what onebox.Fault) func() {
	var removals []func()
	for _, node := range nodes {
		removals = append(removals, node.Inject(what))
	}
	return func() {
		for _, remove := range removals {
			remove()
		}
	}
}

func clearPrimary(a *arena, e *event) func() {
	partition := a.partition(e.partition)
	if a.ClearPrimary(tableName, partition) != nil {
		return nil
	}
	return func() { a.assign(partition, e.node) }
}

// removeReplica makes a server no longer host a partition. In the end it does again, as primary.
func removeReplica(a *arena, e *event) func() {
	partition, server := a.partition(e.partition), e.node%len(a.Replicas())
	if a.RemoveReplica(tableName, partition, server) != nil {
		return nil // it has the only data, or none
	}
	return func() { a.move(partition, server) }
}

// split splits the table, which takes as long as the fault lasts. A split that cannot be finished for
// lack of primaries is finished by arena.mend.
func split(a *arena, e *event) func() {
	if a.PartitionCount(tableName) >= mostPartitions || a.StartSplit(tableName) != nil {
		return nil
	}
	first := a.partition(e.partition)
	_ = a.SwitchSplit(tableName, first) // fails if it was cancelled meanwhile
	return func() {
		_ = a.RegisterSplit(tableName, first)
		_ = a.FinishSplit(tableName)
	}
}

func cancelSplit(a *arena, _ *event) func() {
	if a.StartSplit(tableName) != nil {
		return nil
	}
	return func() { _ = a.CancelSplit(tableName) } // fails if it went on meanwhile
}

func setEnv(variable, value string) func(*arena, *event) func() {
	return func(a *arena, _ *event) func() {
		a.must(a.SetTableEnv(tableName, variable, value))
		return func() { a.must(a.SetTableEnv(tableName, variable, "")) }
	}
}

func setMode(set func(c *onebox.Cluster, table string, on bool) error) func(*arena, *event) func() {
	return func(a *arena, _ *event) func() {
		a.must(set(a.Cluster, tableName, true))
		return func() { a.must(set(a.Cluster, tableName, false)) }
	}
}

// event is a fault at a time. Everything about it comes from the seed.
type event struct {
	at, lasts time.Duration
	*fault
	node, partition int // any numbers, to choose by
	all             bool
}

func (e *event) String() string {
	return fmt.Sprintf("%7v for %6v: %s, node %d, partition %d, all %t",
		e.at.Truncate(time.Millisecond), e.lasts.Truncate(time.Millisecond), e.name, e.node, e.partition, e.all)
}
