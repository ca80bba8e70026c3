// Package pegasus is a client for Apache Pegasus, a distributed and strongly consistent key-value
// store.
//
//	client, err := pegasus.Open([]string{"meta1:34601", "meta2:34601"})
//	table, err := client.OpenTable(ctx, "users")
//	err = table.Set(ctx, []byte("user 1"), []byte("name"), []byte("Ada"))
//	name, err := table.Get(ctx, []byte("user 1"), []byte("name"))
//
// A record is addressed by a hash key, which chooses the partition, and a sort key, by which the
// records of one hash key are ordered. Either may be empty. Records without a hash key are spread over
// the partitions by their sort keys: operations on single records, batches and scans of the table reach
// them, operations on the records of one hash key do not.
//
// docs/operations.md describes every operation: what it guarantees, where its limits are, what it costs,
// and what its errors mean.
//
// # Contexts and time
//
// Every operation ends with its context. If the context has no deadline, the operation timeout
// applies (see [WithOperationTimeout]). Within that time an operation is repeated through failovers,
// splits and lost connections as far as that is safe.
//
// # Errors
//
// A record that does not exist is reported as [ErrNotFound] itself, the end of a scan as io.EOF. Every
// other failure is an [*Error], which says what was tried and, for a write, whether it may have been
// executed all the same: see [Error.Outcome]. The cause stays behind it for errors.Is and errors.As,
// errors of the context included. Operations that make several requests put a [*BatchError] or a
// [*DelRangeError] around it.
//
// # Memory
//
// Keys and values passed in are read only until the call returns. Values returned belong to the
// caller.
package pegasus
