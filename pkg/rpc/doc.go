// Package rpc carries requests to Pegasus servers and answers back: pipelined connections, and nodes
// that keep them up.
//
// A [Pool] holds one [Node] per address for the life of a client. A Node holds its live connections
// and dials when it has none, one dial at a time however many callers want it. A connection carries
// any number of requests at once; answers come back in any order.
//
// # Who owns what
//
// A caller encodes its request straight into the connection's outgoing buffer and waits. One writer at
// a time takes all that has gathered and hands it to the system in one call. One reader at a time
// decodes answers into what the caller provided and wakes it; it never waits for a caller. Each has a
// goroutine per connection, but others may take its part: the reader writes for the callers it has
// just woken, and a lone caller writes and reads itself. Everything the three share (buffer, table of pending calls, admission, counters) is guarded
// by one mutex per connection, held for nanoseconds and never across I/O or foreign code other than
// the encoders of package wire. Who needs several mutexes takes them in this order: that of a link or
// of a circuit, then of Notices, the Pool, the Node, the connection, the latencies.
//
// # Invariants
//
//  1. A call has exactly one finisher: whoever takes it out of the table of pending calls, under the
//     mutex, be it the reader (an answer), the caller itself (cancelled), the sweep (out of time) or
//     the death of the connection.
//  2. A sequence id is a slot of the table and the slot's generation. A slot whose generations are
//     used up stays out of service while an answer to an abandoned call of it may still come. So a
//     late answer never reaches another caller.
//  3. A connection dies once, with one cause, which every pending call gets. A call is reported as
//     never sent only if the system did not take the last byte of its frame.
//  4. No timer and no goroutine per request. One sweep per connection, asleep while nothing is
//     pending, expires calls without a deadline of their own and notices a silent peer.
//  5. Every wait ends with the caller's context; that of a lone caller that reads up to 5 ms after a
//     cancellation.
package rpc
