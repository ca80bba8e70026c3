package pegasus

import (
	"maps"
	"slices"
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Snapshot is what a client knows at one moment, as plain data, for people and for tests.
type Snapshot struct {
	// Taken is that moment.
	Taken time.Time
	// Meta is the state of the meta servers.
	Meta MetaSnapshot
	// Tables are the open tables, by name.
	Tables []TableSnapshot
	// Opening are the names of tables that are being opened.
	Opening []string
	// Nodes are the servers that the client knows, by address, with the counters of their connections:
	// those in use, and others for some minutes.
	Nodes []rpc.NodeStats
}

// MetaSnapshot describes the meta servers.
type MetaSnapshot struct {
	// Epoch grows whenever another leader is found.
	Epoch uint64
	// Leader is the "host:port" of the server that is asked first.
	Leader string
	// Confirmed is false as long as no server has answered as leader.
	Confirmed bool
	// Members are all known meta servers.
	Members []MemberSnapshot
}

// MemberSnapshot describes one meta server.
type MemberSnapshot struct {
	// Address is "host:port".
	Address string
	// Source is "configured", "resolved" or "forwarded".
	Source string
	// Name is the configured "host:port" that a resolved address stands for; "" for others.
	Name string
}

// TableSnapshot describes the routing of one table.
type TableSnapshot struct {
	// Name is the table's name.
	Name string
	// AppID is the table's number.
	AppID int32
	// Version counts the routings installed since the table was opened.
	Version uint64
	// ReceivedAt is when the routing came that this one was made of.
	ReceivedAt time.Time
	// FetchedAt is when a meta server was last asked for it with success.
	FetchedAt time.Time
	// LastFailure is why the last refresh failed; nil if it did not.
	LastFailure error
	// Partitions are in index order.
	Partitions []PartitionSnapshot
}

// PartitionSnapshot describes who serves a partition.
type PartitionSnapshot struct {
	// Ballot grows with every change of the partition's configuration; negative for a child of a
	// split that does not serve yet.
	Ballot int64
	// Primary is "host:port", or "" while there is none.
	Primary string
	// Secondaries are "host:port" each.
	Secondaries []string
	// Trusted is false after trouble with the primary, until a meta server was asked again.
	Trusted bool
}

// Snapshot returns what the client knows now. It owns all its memory.
func (c *Client) Snapshot() Snapshot {
	s := Snapshot{Taken: time.Now(), Meta: describeMeta(c.manager.State()), Nodes: c.nodeStats()}
	tables, opening := c.openTables()
	for _, table := range tables {
		s.Tables = append(s.Tables, describeTable(table.routing))
	}
	s.Opening = opening
	return s
}

// openTables returns the open tables, and the names of those that are being opened, by name.
func (c *Client) openTables() (tables []*Table, opening []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.tables)) {
		select {
		case <-c.tables[name].done:
			if o := c.tables[name]; o.err == nil {
				tables = append(tables, o.table)
			}
		default:
			opening = append(opening, name)
		}
	}
	return tables, opening
}

func describeMeta(state *meta.State) MetaSnapshot {
	m := MetaSnapshot{Epoch: state.Epoch, Leader: state.LeaderAddress(), Confirmed: state.Confirmed}
	for _, member := range state.Members {
		m.Members = append(m.Members, MemberSnapshot{Address: member.Address, Source: member.Source.String(), Name: member.Name})
	}
	return m
}

func describeTable(table *meta.Table) TableSnapshot {
	routing := table.Load().Value()
	t := TableSnapshot{
		Name: routing.Table, AppID: routing.AppID, Version: routing.Version,
		ReceivedAt: routing.ReceivedAt, FetchedAt: table.FetchedAt(), LastFailure: table.LastFailure(),
	}
	for i := range routing.Partitions {
		p := &routing.Partitions[i]
		ps := PartitionSnapshot{Ballot: p.Ballot, Trusted: p.Trusted()}
		if p.Primary != nil {
			ps.Primary = p.Primary.Address()
		}
		for _, secondary := range p.Secondaries {
			ps.Secondaries = append(ps.Secondaries, secondary.Address())
		}
		t.Partitions = append(t.Partitions, ps)
	}
	return t
}
