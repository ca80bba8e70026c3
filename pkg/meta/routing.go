package meta

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Partition tells who serves one partition. Immutable.
type Partition struct {
	// GPID is what requests carry.
	GPID wire.GPID
	// Ballot grows with every change of the partition's configuration.
	Ballot int64
	// Primary serves reads and writes; nil while the partition has none.
	Primary *rpc.Node
	// Secondaries hold copies.
	Secondaries []*rpc.Node

	seen uint32 // the primary's epoch when this was built
}

// Trusted is false if the primary has given reason to doubt the routing since it was built: a
// connection to it was lost. The partition is probably still there, but news should be asked for.
func (p *Partition) Trusted() bool { return p.Primary == nil || p.Primary.Epoch() == p.seen }

// Routing is one view of a table's partitions. It is immutable once published.
type Routing struct {
	// Table is the table's name.
	Table string
	// AppID is the table's number.
	AppID int32
	// Version counts the routings installed for this table, from 1.
	Version uint64
	// ReceivedAt is when a meta server's answer came that this view was made of.
	ReceivedAt time.Time
	// Partitions are in index order; there is at least one.
	Partitions []Partition

	// serving[i] serves the keys of partition i: partition i, or its parent while i is a child of a
	// split that is not ready.
	serving []*Partition
}

// Locate returns the partition that serves the keys with the given hash, and the index that they
// will have once a split that is under way is finished.
func (r *Routing) Locate(hash uint64) (index int, partition *Partition) {
	index = int(hash % uint64(len(r.serving)))
	return index, r.serving[index]
}

// maxPartitions bounds what is believed of a meta server. Real tables stay far below.
const maxPartitions = 1 << 20

// newRouting builds a routing from a meta server's answer.
func newRouting(table string, answer *wire.QueryConfigResponse, pool *rpc.Pool) (*Routing, error) {
	count := len(answer.Partitions)
	if count == 0 || count > maxPartitions || int(answer.PartitionCount) != count || answer.AppID <= 0 {
		return nil, fmt.Errorf("%w: table %q, number %d, has %d partitions of %d",
			ErrRouting, table, answer.AppID, count, answer.PartitionCount)
	}
	r := &Routing{
		Table: table, AppID: answer.AppID, Version: 1, ReceivedAt: time.Now(), Partitions: make([]Partition, count),
	}
	for i := range answer.Partitions {
		configuration := &answer.Partitions[i]
		if want := (wire.GPID{AppID: answer.AppID, PartitionIndex: int32(i)}); configuration.GPID != want {
			return nil, fmt.Errorf("%w: table %q has partition %v where %v belongs", ErrRouting, table, configuration.GPID, want)
		}
		r.Partitions[i] = newPartition(configuration, pool)
	}
	r.arrange()
	return r, nil
}

func newPartition(configuration *wire.PartitionConfiguration, pool *rpc.Pool) Partition {
	p := Partition{GPID: configuration.GPID, Ballot: configuration.Ballot}
	if address := nodeAddress(configuration.Primary, configuration.PrimaryName); address != "" {
		p.Primary = pool.Node(address)
		p.trust()
	}
	for i := range max(len(configuration.Secondaries), len(configuration.SecondaryNames)) {
		address := nodeAddress(element(configuration.Secondaries, i), element(configuration.SecondaryNames, i))
		if address != "" {
			p.Secondaries = append(p.Secondaries, pool.Node(address))
		}
	}
	return p
}

func element[T any](list []T, i int) (value T) {
	if i < len(list) {
		value = list[i]
	}
	return value
}

// nodeAddress returns the address to dial for a node that a meta server named: its IPv4 address, or
// its host name if the server had no address, or "" for no node.
func nodeAddress(address netip.AddrPort, name wire.HostPort) string {
	if address.IsValid() && address.Port() != 0 {
		return address.String()
	}
	return name.String()
}

// arrange decides who serves the keys of which index (docs/protocol.md, partition split).
func (r *Routing) arrange() {
	r.serving = make([]*Partition, len(r.Partitions))
	half := len(r.Partitions) / 2
	for i := range r.Partitions {
		r.serving[i] = &r.Partitions[i]
		if r.Partitions[i].Ballot < 0 && i >= half && len(r.Partitions)%2 == 0 {
			r.serving[i] = &r.Partitions[i-half]
		}
	}
}

// succeededBy returns the routing to install after r when fresh has come. Knowledge has an order: of
// each partition the configuration with the higher ballot stays, unless fresh is to be believed in
// any case. A table made anew, or with another partition count, replaces everything. older tells
// that fresh was behind in some partition, news that next differs from r in more than trust.
func (r *Routing) succeededBy(fresh *Routing, believe bool) (next *Routing, older, news bool) {
	next = &Routing{
		Table: r.Table, AppID: fresh.AppID, Version: r.Version + 1, ReceivedAt: fresh.ReceivedAt,
		Partitions: slices.Clone(fresh.Partitions),
	}
	if r.AppID == fresh.AppID && len(r.Partitions) == len(fresh.Partitions) {
		for i := range next.Partitions {
			if next.Partitions[i].Ballot >= r.Partitions[i].Ballot {
				continue
			}
			older = true
			if !believe {
				next.Partitions[i] = r.Partitions[i]
				next.Partitions[i].trust() // a meta server was asked since, and knew nothing newer
			}
		}
	}
	next.arrange()
	return next, older, r.AppID != next.AppID || !slices.EqualFunc(r.Partitions, next.Partitions, samePartition)
}

// trusted says whether all partitions are. It is how a routing without news is found worth
// publishing: it restores trust.
func (r *Routing) trusted() bool {
	for i := range r.Partitions {
		if !r.Partitions[i].Trusted() {
			return false
		}
	}
	return true
}

// trust records the primary's present epoch. It is for partitions not yet published.
func (p *Partition) trust() {
	if p.Primary != nil {
		p.seen = p.Primary.Epoch()
	}
}

func samePartition(a, b Partition) bool {
	return a.Ballot == b.Ballot && a.Primary == b.Primary && slices.Equal(a.Secondaries, b.Secondaries)
}
