package onebox

import (
	"context"
	"net"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Config describes a cluster. The zero value is a good one: three meta and three replica servers on
// loopback TCP, with delays much shorter than those of real servers so that tests are quick.
type Config struct {
	// Metas is the number of meta servers; default 3.
	Metas int
	// Replicas is the number of replica servers; default 3.
	Replicas int
	// Network carries the connections. Nil means TCP on 127.0.0.1 with free ports, which a server
	// keeps when it is restarted. A *memnet.Network satisfies it.
	Network Network
	// Now is the servers' clock, used for TTLs; nil means time.Now. It must be safe for concurrent
	// use.
	Now func() time.Time
	// ElectionDelay is how long the followers go on naming a dead leader before another one is
	// elected; default 100 ms, negative for none. Real clusters take seconds.
	ElectionDelay time.Duration
	// NotActiveDelay is how long a new leader answers ERR_SERVICE_NOT_ACTIVE because it is still
	// loading; default 20 ms as measured on a real cluster, negative for none.
	NotActiveDelay time.Duration
	// FailoverDelay is the time from the death of a replica server until its partitions have new
	// primaries; default 200 ms, negative for none. Real clusters take 22 s.
	FailoverDelay time.Duration
	// HostNames makes meta servers send names (the hp_* fields) besides addresses.
	HostNames bool
	// HostName returns the host part of a server's name; nil means "localhost" on TCP and Node.Name
	// on another Network, where all servers of a kind have one port and so need different names. It
	// is only used with HostNames. Cluster.DialContext understands these names.
	HostName func(node *Node) string
	// AddressesUnset makes meta servers send zero for every address, as if they had failed to
	// resolve their names; useful with HostNames only.
	AddressesUnset bool
	// MinReplicas is the number of live replicas, the primary included, that a write needs
	// (mutation_2pc_min_replica_count); default 2. A table with one replica needs 1 here.
	MinReplicas int
	// PatientWrites makes a write wait for secondaries that do not answer, as on real servers, until
	// they are back or FailoverDelay has removed them from the configuration. It is then carried out
	// after those that came before it, perhaps long after its client has given up; or, if the primary
	// has changed or died meanwhile, not carried out and not answered. Without it, a secondary that does
	// not answer is left behind at once, and catches up when it is back.
	PatientWrites bool
	// FirstContext returns the id of the first scan context of a server's replica; those that follow
	// count up from it. Nil means numbers as real servers take them, a multiple of 2^32 that is
	// negative for about half of the replicas and another one after each restart; but unlike there the
	// same ones in every cluster.
	FirstContext func(server *Node, gpid wire.GPID) int64
}

// Network is where servers listen and clients dial. Addresses are "IPv4:port".
type Network interface {
	// Listen opens the address of a server.
	Listen(address string) (net.Listener, error)
	// DialContext connects to the address of a server.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// TableOptions describes a table to create. The zero value is a good one.
type TableOptions struct {
	// Partitions is the number of partitions, normally a power of two; default 8.
	Partitions int
	// Replicas is the number of replicas of each partition; default 3, and never more than there are
	// replica servers.
	Replicas int
	// Unassigned leaves the partitions without a primary, as they are for some seconds after the
	// creation of a table on a real cluster; see Cluster.AssignPrimary.
	Unassigned bool
}

func (c Config) withDefaults() Config {
	c.Metas = defaultTo(c.Metas, 3)
	c.Replicas = defaultTo(c.Replicas, 3)
	c.ElectionDelay = defaultTo(c.ElectionDelay, 100*time.Millisecond)
	c.NotActiveDelay = defaultTo(c.NotActiveDelay, 20*time.Millisecond)
	c.FailoverDelay = defaultTo(c.FailoverDelay, 200*time.Millisecond)
	c.MinReplicas = defaultTo(c.MinReplicas, 2)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.FirstContext == nil {
		c.FirstContext = firstContext
	}
	if c.HostName == nil {
		c.HostName = (*Node).Name
		if c.Network == nil {
			c.HostName = func(*Node) string { return "localhost" }
		}
	}
	return c
}

func (o TableOptions) withDefaults(servers int) TableOptions {
	if o.Partitions <= 0 {
		o.Partitions = 8
	}
	if o.Replicas <= 0 {
		o.Replicas = 3
	}
	o.Replicas = min(o.Replicas, servers)
	return o
}

func defaultTo[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}
