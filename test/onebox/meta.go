package onebox

import (
	"net/netip"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// queryConfig answers as docs/protocol.md, routing query, says for each state.
func queryConfig(x *execution, in *wire.QueryConfigRequest, out *wire.QueryConfigResponse) {
	c := x.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if out.Error = c.leadership(x.node); out.Error == wire.ErrForwardToOthers {
		out.Partitions = c.forwardTo(c.election.named)
	}
	if out.Error != wire.ErrOK {
		return
	}
	t := c.tables[in.Table]
	if t == nil {
		out.Error = wire.ErrObjectNotFound
		return
	}
	out.AppID, out.PartitionCount, out.Stateful = t.appID, int32(len(t.partitions)), true
	for _, index := range in.Partitions {
		if index >= 0 && int(index) < len(t.partitions) {
			out.Partitions = append(out.Partitions, c.configuration(t, t.partitions[index]))
		}
	}
	if len(out.Partitions) > 0 {
		return
	}
	for _, p := range t.partitions {
		out.Partitions = append(out.Partitions, c.configuration(t, p))
	}
}

// leadership returns the error with which a meta server answers whatever the request, ErrOK from the
// active leader. The caller holds mu.
func (c *Cluster) leadership(node *Node) wire.ErrorName {
	switch {
	case node != c.election.leader:
		return wire.ErrForwardToOthers
	case !c.election.active:
		return wire.ErrServiceNotActive
	}
	return wire.ErrOK
}

// forwardTo returns the partitions of an answer that forwards to the leader; none if no leader is known.
func (c *Cluster) forwardTo(leader *Node) []wire.PartitionConfiguration {
	if leader == nil {
		return nil
	}
	forward := wire.PartitionConfiguration{Primary: c.addressOf(leader)}
	if c.config.HostNames {
		forward.PrimaryName = leader.hostPort
	}
	return []wire.PartitionConfiguration{forward}
}

func (c *Cluster) addressOf(node *Node) netip.AddrPort {
	if c.config.AddressesUnset {
		return netip.AddrPort{}
	}
	return node.addrPort
}

// configuration returns what the meta servers tell of a partition. The caller holds mu.
func (c *Cluster) configuration(t *table, p *partition) wire.PartitionConfiguration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hidden {
		return wire.PartitionConfiguration{GPID: p.gpid, Ballot: -1}
	}
	told := wire.PartitionConfiguration{GPID: p.gpid, Ballot: p.ballot, MaxReplicaCount: int32(t.replicas)}
	if p.primary != nil {
		told.Primary = c.addressOf(p.primary.node)
	}
	for _, r := range p.secondaries {
		told.Secondaries = append(told.Secondaries, c.addressOf(r.node))
	}
	for _, r := range p.dropped {
		told.LastDrops = append(told.LastDrops, c.addressOf(r.node))
	}
	if c.config.HostNames {
		if p.primary != nil {
			told.PrimaryName = p.primary.node.hostPort
		}
		told.SecondaryNames = namesOf(p.secondaries)
		told.LastDropNames = namesOf(p.dropped)
	}
	return told
}

// namesOf never returns nil, because servers send empty lists of names.
func namesOf(replicas []*replica) []wire.HostPort {
	names := make([]wire.HostPort, 0, len(replicas))
	for _, r := range replicas {
		names = append(names, r.node.hostPort)
	}
	return names
}
