// Package onebox is a whole Apache Pegasus cluster in one process, for tests. Its servers speak the
// real protocol over real TCP connections, or over a network in memory under testing/synctest; they
// replicate, elect leaders, fail over and split tables; and every fault that a client can meet is on
// a switch.
//
//	cluster := onebox.New(t, onebox.Config{})
//	cluster.CreateTable("temp", onebox.TableOptions{})
//	client := connect(cluster.MetaAddresses(), cluster.DialContext)
//	...
//	cluster.Primary("temp", 0).Kill()
//
// # What it promises
//
// An acknowledged write survives everything that the switches can do, as long as at least one server
// that had it is started again; reads and writes of a record are linearizable. Answers are those of
// real servers in content and order of checks (docs/protocol.md). What a correct client never sends is
// reported by Violations, and New fails the test for it.
//
// # Where it differs from real servers
//
//   - Delays are short; see Config.
//   - A write does not wait for a secondary that does not answer, unless Config.PatientWrites says so. The
//     secondary is left behind at once and catches up when it is back.
//   - What the meta servers tell and what the replica servers do changes in the same moment.
//   - Requests of one connection are served one after the other, but for those that are throttled.
//   - Iterations run out of time after a number of records instead of 30 s; see Cluster.LimitIterations.
//   - Secondaries are one write behind, or as many as Cluster.LagSecondaries says, but no time passes in which
//     they catch up.
//
// # Map
//
//	config.go      what a cluster is made of
//	cluster.go     Cluster: start, close, servers
//	node.go        Node: a server and the switches of its process and its network
//	process.go     one life of a server: accepts connections
//	connection.go  a client's connection: batches of requests in, batches of replies out
//	dispatch.go    what an RPC is, and the way of a request to it
//	execution.go   what an RPC can use
//	operations.go  the table of all RPCs, and the partition hash that belongs to each
//	single.go      get, ttl, put, remove
//	multi.go       multi_get, sortkey_count, batch_get, multi_put, multi_remove
//	counter.go     incr
//	check.go       check_and_set, check_and_mutate
//	scan.go        get_scanner, scan, clear_scanner
//	context.go     what a replica keeps of scans that are not complete
//	walk.go        the steps of a server's iterator over a range
//	meta.go        the answers of meta servers
//	election.go    who leads the meta servers
//	failover.go    what the death of a replica server entails
//	table.go       tables: create, drop, move primaries
//	split.go       partition split
//	partition.go   the configuration of a partition, and why no write is lost
//	patience.go    writes that wait for secondaries
//	disk.go        the state of a server's disk
//	environment.go table environment variables and modes
//	throttle.go    limits of requests and bytes per second
//	negotiation.go what clients hear that would authenticate
//	replica.go     a copy of a partition on a server
//	store.go       the records of a replica
//	data.go        access to records without requests
//	faults.go      Fault: what can be done to a request
//	disturb.go     how it is done
//	audit.go       what clients must not do
//	network.go     addresses, dialing
//	valve.go       what stops a paused server
//
// # Who owns what
//
// The topology belongs to Cluster.mu. A data request does not take that lock: it finds its replica
// through an immutable map behind an atomic pointer, and then takes replica.mu to read or
// partition.mu to write; scans read a snapshot without a lock. Each connection has one goroutine, which
// owns all its buffers, so that a request costs no allocation; what a request does later it does with
// buffers of its own. A fault costs nothing while none is injected but one atomic load.
package onebox
