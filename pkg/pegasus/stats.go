package pegasus

import (
	"time"

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
	// RetryTokens is the number of retries that the budget allows now, and RetryCapacity that when it
	// is full. Both are 0 if there is no budget, see WithRetry.
	RetryTokens, RetryCapacity int
	// HedgeTokens is the number of hedged reads that Hedging.MaxExtraLoad allows now, and HedgeCapacity
	// that when nothing was hedged for long. Both are 0 without WithHedgedReads.
	HedgeTokens, HedgeCapacity int
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
	// FetchedAt is when a meta server was last asked with success.
	FetchedAt time.Time
}

// Stats returns what was counted up to now. It owns all its memory.
func (c *Client) Stats() Stats {
	s := Stats{Taken: time.Now(), Opened: c.opened, Operations: c.counters.read(), Nodes: c.nodeStats()}
	tables, _ := c.openTables()
	for _, table := range tables {
		s.Tables = append(s.Tables, TableStats{
			Table: table.Name(), RoutingVersion: table.Load().Value().Version,
			Refreshes: table.Refreshes(), FetchedAt: table.FetchedAt(),
		})
	}
	s.RetryTokens, s.RetryCapacity = c.settings.Retry.Budget.Left()
	s.HedgeTokens, s.HedgeCapacity = c.hedges.Left()
	if c.observers != nil {
		s.HooksSkipped = uint64(c.observers.skipped.Load())
	}
	return s
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
