// Package model holds the client to a model of a table that is nothing but a map: random sequences of
// all operations run through package pegasus against a onebox cluster, and every answer, everything that
// the servers hold afterwards, and every error must be what the model says. It consists of tests only.
//
// In between, and in the midst of operations, partitions are split and their primaries moved, servers
// are killed, stopped and started again, connections cut, requests and answers dropped, delayed and
// spoilt. Time is virtual, so that records expire while a test takes milliseconds. Keys are few, so that
// operations meet.
//
// # What must agree
//
// The model follows docs/protocol.md and shares no code with client or onebox. An operation that ends well
// must give the model's answer, whatever happened on the way. One that fails must have an excuse: a
// disturbance that cannot be survived, or one that leaves a write in doubt which is not to be repeated. If
// it failed in doubt it was executed once or not at all, and otherwise it was not. What remains unknown,
// the model keeps as several worlds, all of which agree with what was seen. What the servers hold, and
// later reads, tell which is the real one.
//
// Beside that, the client must not write into its arguments, nor into results that it has given away, nor
// read arguments after it has returned, nor break the protocol.
//
// # Longer runs
//
//	go test ./test/model -rapid.checks=10000 -rapid.steps=100
//
// The environment variables RAPID_CHECKS and RAPID_STEPS do the same.
//
// # How to repeat a failure
//
// The failure message says how, with -rapid.seed or -rapid.failfile, and lists the steps of the shortest
// run that was found to fail in the same way. Everything that happens is drawn from the seed, and happens
// at a fixed moment of the virtual time; the servers' clock stands still during a step. Pauses that the
// client leaves to chance are made too short to matter. What remains is the order in which goroutines run
// that are ready at the same moment, as those of a batch with several requests are. A failure that depends
// on it is called flaky by rapid, and comes again if the seed is tried a few times (-count).
//
// # Where to add
//
// An operation is a method of machine that draws arguments and passes an operation to machine.run: the call,
// its answer in words, and what it does to a world. A disturbance is a row of disturbances.
package model
