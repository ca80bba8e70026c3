package meta

import "time"

// Hooks are functions that a MetaManager calls when it has learned something; those that are nil are
// not. They are called outside all locks, by goroutines that MetaManager.Close waits for and that
// others wait for: so they return soon, ask nothing and close nothing. Package pegasus has hooks without
// such conditions.
type Hooks struct {
	// Refreshed is called when a question for the routing of an open table has ended.
	Refreshed func(Refresh)
	// StateInstalled is called after a new State was published, with the event that led to it. States
	// that are published at about the same time may be reported in any order; their Epoch tells.
	StateInstalled func(event string, state *State)
	// RoutingInstalled is called after a new Routing of a table was published, the first one included.
	RoutingInstalled func(reason Reason, routing *Routing)
}

// Refresh is the end of a question for the routing of a table.
type Refresh struct {
	// Table is the table's name.
	Table string
	// Reason is why it was asked for.
	Reason Reason
	// Took is how long the answer took, all meta servers asked and pauses between them together.
	Took time.Duration
	// News tells that the routing has changed.
	News bool
	// Err is why there is no answer; nil if there is one.
	Err error
}
