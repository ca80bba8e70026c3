// Package meta is the client's directory: which meta server leads, and which node serves each
// partition of each table.
//
// Both kinds of knowledge are immutable values, [State] and [Routing], each in a cell of package
// snapshot. Requests load them without locks. Few and slow writers build a new value from the old
// one and publish it by compare-and-swap; one that lost builds again from what won, so that no
// discovery is lost, and a published value is never written again, not even by Close.
//
// [MetaManager.QueryConfig] asks the meta servers for the routing of a table. It is made of
// metaCall, which asks the leader first and the others when it fails or is slow, and of
// issueSingleMeta, which asks one server and installs what it learned. A [Table] keeps the routing
// of one table current: one goroutine owns its refreshes, however many requests ask for them.
package meta
