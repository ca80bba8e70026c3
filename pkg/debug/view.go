package debug

import (
	"slices"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// View is what the page and the JSON show, as plain data. Times of day are in RFC 3339, durations in
// nanoseconds.
type View struct {
	// Taken is when it was made.
	Taken time.Time
	// Opened is when the client was opened.
	Opened time.Time
	// Troubles are what is wrong now: no element, nothing.
	Troubles []Trouble
	// Meta is what is known about the meta servers.
	Meta pegasus.MetaSnapshot
	// InFlight is that of pegasus.Stats.
	InFlight int
	// MaxInFlight is that of pegasus.Stats.
	MaxInFlight int
	// Waiting is that of pegasus.Stats.
	Waiting int
	// RetryTokens is that of pegasus.Stats.
	RetryTokens int
	// RetryCapacity is that of pegasus.Stats.
	RetryCapacity int
	// RetriesRefused is that of pegasus.Stats.
	RetriesRefused uint64
	// HedgeTokens is that of pegasus.Stats.
	HedgeTokens int
	// HedgeCapacity is that of pegasus.Stats.
	HedgeCapacity int
	// HedgesRefused is that of pegasus.Stats.
	HedgesRefused uint64
	// HooksSkipped is that of pegasus.Stats: events that are missing.
	HooksSkipped uint64
	// Operations are the counters of operations.
	Operations []pegasus.OperationStats
	// Nodes are the servers, by address.
	Nodes []Node
	// Opening are the names of tables that are being opened.
	Opening []string
	// Tables are the open tables, by name.
	Tables []Table
	// Events are the latest, the last one first; empty without a Recorder.
	Events []Event
	// Settings are those of the client that matter in an incident.
	Settings []Setting
}

// Node is one server.
type Node struct {
	rpc.NodeStats
	// LastError is the text of NodeStats.LastError.
	LastError string
	// Meta tells that it is a meta server.
	Meta bool
	// Primaries is the number of partitions of which it is the primary.
	Primaries int
	// Secondaries is the number of partitions of which it is a secondary.
	Secondaries int
}

// Table is one table.
type Table struct {
	pegasus.TableSnapshot
	// LastFailure is the text of TableSnapshot.LastFailure.
	LastFailure string
	// Refreshes is that of pegasus.TableStats.
	Refreshes uint64
	// WithoutPrimary is that of pegasus.TableStats.
	WithoutPrimary int
	// Doubtful is that of pegasus.TableStats.
	Doubtful int
	// Reads is that of pegasus.TableStats.
	Reads pegasus.RateStats
	// Writes is that of pegasus.TableStats.
	Writes pegasus.RateStats
}

// NewView describes a client. The recorder may be nil.
func NewView(client *pegasus.Client, recorder *Recorder) *View {
	snapshot, stats := client.Snapshot(), client.Stats()
	v := &View{
		Taken: stats.Taken, Opened: stats.Opened, Meta: snapshot.Meta,
		InFlight: stats.InFlight, MaxInFlight: stats.MaxInFlight, Waiting: stats.Waiting,
		RetryTokens: stats.RetryTokens, RetryCapacity: stats.RetryCapacity, RetriesRefused: stats.RetriesRefused,
		HedgeTokens: stats.HedgeTokens, HedgeCapacity: stats.HedgeCapacity, HedgesRefused: stats.HedgesRefused,
		HooksSkipped: stats.HooksSkipped, Operations: stats.Operations, Opening: snapshot.Opening,
		Settings: settingsOf(client.Settings()),
	}
	counted := make(map[string]pegasus.TableStats)
	for _, table := range stats.Tables {
		counted[table.Table] = table
	}
	for _, table := range snapshot.Tables {
		c := counted[table.Name]
		v.Tables = append(v.Tables, Table{
			TableSnapshot: table, LastFailure: text(table.LastFailure), Refreshes: c.Refreshes,
			WithoutPrimary: c.WithoutPrimary, Doubtful: c.Doubtful, Reads: c.Reads, Writes: c.Writes,
		})
	}
	for _, node := range stats.Nodes {
		v.Nodes = append(v.Nodes, nodeOf(node, &snapshot))
	}
	v.Troubles = v.troubles()
	if recorder != nil {
		v.Events = recorder.Events()
	}
	return v
}

// nodeOf adds to a server's counters what it is there for.
func nodeOf(stats rpc.NodeStats, snapshot *pegasus.Snapshot) Node {
	n := Node{NodeStats: stats, LastError: text(stats.LastError)}
	n.Meta = slices.ContainsFunc(snapshot.Meta.Members, func(m pegasus.MemberSnapshot) bool { return m.Address == n.Address })
	for _, table := range snapshot.Tables {
		for _, p := range table.Partitions {
			if p.Primary == n.Address {
				n.Primaries++
			}
			if slices.Contains(p.Secondaries, n.Address) {
				n.Secondaries++
			}
		}
	}
	return n
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
