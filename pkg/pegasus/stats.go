package pegasus

import (
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Stats are what a client has counted since it was opened, as plain data. Counters that change while
// they are read may be from slightly different moments.
type Stats struct {
	// Taken is when they were read.
	Taken time.Time
	// Opened is when the client was opened.
	Opened time.Time
	// Operations are those that there were, in the order of Error.Operation.
	Operations []OperationStats
	// Nodes are the servers that the client knows, by address: those in use, and others for some minutes.
	Nodes []rpc.NodeStats
	// Tables are the open tables, by name.
	Tables []TableStats
	// InFlight is the number of requests under way, MaxInFlight how many may be, and Waiting the number of
	// those that wait for a place among them now. All are 0 without WithMaxInFlight.
	InFlight, MaxInFlight, Waiting int
	// RetryTokens is the number of retries that the budget allows now, and RetryCapacity that when it
	// is full. Both are 0 if there is no budget, see WithRetry.
	RetryTokens, RetryCapacity int
	// RetriesRefused counts retries that were not made because the budget was used up.
	RetriesRefused uint64
	// HedgeTokens is the number of hedged reads that Hedging.MaxExtraLoad allows now, and HedgeCapacity
	// that when nothing was hedged for long. Both are 0 without WithHedgedReads.
	HedgeTokens, HedgeCapacity int
	// HedgesRefused counts reads that took so long that a secondary should have been asked, but the budget
	// was used up.
	HedgesRefused uint64
	// HooksSkipped counts calls of hooks that were left out because too many others were due.
	HooksSkipped uint64
}

// OperationStats are the counters of one kind of operation.
type OperationStats struct {
	// Operation is the name, as in Error.Operation.
	Operation string
	// Begun counts operations, those under way included. Of batches and scans, each request to a server
	// counts. What was refused before the first try does not.
	Begun uint64
	// Retries counts tries after the first.
	Retries uint64
	// Errors counts operations that failed, by kind; nil if none did.
	Errors map[ErrorKind]uint64
	// InDoubt is the number of those whose outcome is in doubt.
	InDoubt uint64
	// Hedges counts tries for which a secondary was asked.
	Hedges uint64
	// HedgesWon is the number of those for which the secondary's answer counted.
	HedgesWon uint64
	// LatencyP50, LatencyP95 and LatencyP99 are the times that such shares of the latest operations took
	// at most, or up to a quarter more: all tries and pauses included, also of those that failed. They come
	// from a sample of one in 64, or of all if there is a hook OperationEnd, and are 0 while too little is
	// known.
	LatencyP50, LatencyP95, LatencyP99 time.Duration
}

// Failed returns the number of operations that failed.
func (s *OperationStats) Failed() (total uint64) {
	for _, count := range s.Errors {
		total += count
	}
	return total
}

// TableStats are the counters of one table.
type TableStats struct {
	// Table is the table's name.
	Table string
	// RoutingVersion counts the routings installed, from 1.
	RoutingVersion uint64
	// Refreshes counts the questions for routing since the table was opened, that under way included.
	Refreshes uint64
	// ReceivedAt is when there was news last: when the present routing came.
	ReceivedAt time.Time
	// FetchedAt is when a meta server was last asked with success.
	FetchedAt time.Time
	// LastFailure is why the last refresh failed; nil if it did not.
	LastFailure error
	// Partitions is the number of partitions.
	Partitions int
	// WithoutPrimary is the number of those that have no primary, children of a split that are not ready yet
	// left out.
	WithoutPrimary int
	// Doubtful is the number of those with whose primary there was trouble, and no answer of a meta server
	// since: PartitionSnapshot.Trusted is false.
	Doubtful int
	// Reads and Writes tell how the table's requests are held back.
	Reads, Writes RateStats
}

// RateStats describe what an adaptive rate does to the reads or the writes of a table. All is zero
// without WithAdaptiveRate.
type RateStats struct {
	// Limit is the number of requests per second that may be sent now; 0: as many as there are.
	Limit float64
	// Since is when they were limited; zero while they are not.
	Since time.Time
	// Limits counts how often they were limited, further reductions of the limit not counted.
	Limits uint64
	// Held counts requests that had to wait for their turn.
	Held uint64
	// Refused counts requests that failed instead, with ErrBusy, because their turn would have come too
	// late or they must not wait.
	Refused uint64
}

// Stats returns what was counted up to now. It owns all its memory.
func (c *Client) Stats() Stats {
	s := Stats{Taken: time.Now(), Opened: c.opened, Operations: c.counters.read(), Nodes: c.nodeStats()}
	tables, _ := c.openTables()
	for _, table := range tables {
		s.Tables = append(s.Tables, table.stats())
	}
	if c.gate != nil {
		s.InFlight, s.MaxInFlight, s.Waiting = len(c.gate.places), cap(c.gate.places), int(c.gate.waiting.Load())
	}
	retries := c.settings.Retry.Budget
	s.RetryTokens, s.RetryCapacity = retries.Left()
	s.RetriesRefused = retries.Refused()
	s.HedgeTokens, s.HedgeCapacity = c.hedges.Left()
	s.HedgesRefused = c.hedges.Refused()
	if c.observers != nil {
		s.HooksSkipped = uint64(c.observers.skipped.Load())
	}
	return s
}

func (t *Table) stats() TableStats {
	routing := t.routing.Load().Value()
	s := TableStats{
		Table: t.name, RoutingVersion: routing.Version, Refreshes: t.routing.Refreshes(), ReceivedAt: routing.ReceivedAt,
		FetchedAt: t.routing.FetchedAt(), LastFailure: t.routing.LastFailure(), Partitions: len(routing.Partitions),
	}
	s.WithoutPrimary, s.Doubtful = countTroubled(routing)
	if t.guard != nil {
		s.Reads, s.Writes = t.guard.reads.describe(), t.guard.writes.describe()
	}
	return s
}

// countTroubled returns how many partitions have no primary though they should, and how many have one that is
// in doubt. A child of a split that is not ready has no primary, and needs none: its parent serves its keys.
func countTroubled(routing *meta.Routing) (withoutPrimary, doubtful int) {
	for i := range routing.Partitions {
		p := &routing.Partitions[i]
		_, serving := routing.Locate(uint64(i))
		switch {
		case p.Primary == nil && p == serving:
			withoutPrimary++
		case !p.Trusted():
			doubtful++
		}
	}
	return withoutPrimary, doubtful
}

func (c *Client) nodeStats() (stats []rpc.NodeStats) {
	for _, node := range c.pool.Nodes() {
		stats = append(stats, node.Stats())
	}
	return stats
}

// read returns the counters of all operations that there were.
func (c *counters) read() (all []OperationStats) {
	for kind, name := range operationNames {
		rare := &c.rare[kind]
		s := OperationStats{
			Operation: name, Retries: rare.retries.Load(), InDoubt: rare.inDoubt.Load(),
			Hedges: rare.hedges.Load(), HedgesWon: rare.hedgesWon.Load(),
		}
		s.LatencyP50, _ = c.took[kind].Quantile(0.5)
		s.LatencyP95, _ = c.took[kind].Quantile(0.95)
		s.LatencyP99, _ = c.took[kind].Quantile(0.99)
		for i := range c.shards {
			s.Begun += c.shards[i].begun[kind].Load()
		}
		for i := range rare.errors {
			if count := rare.errors[i].Load(); count > 0 {
				if s.Errors == nil {
					s.Errors = make(map[ErrorKind]uint64)
				}
				s.Errors[errorRows[i].kind] = count
			}
		}
		if s.Begun > 0 {
			all = append(all, s)
		}
	}
	return all
}
