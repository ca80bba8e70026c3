// Package stress has the client do very much at once, and checks that it gives everything back afterwards. It
// contains tests only.
//
//   - TestManyCallers has very many callers wait on one client at the same time: for a server that stands
//     still and goes on, for a partition that has to fail over, for nothing since all of them give up at once.
//   - TestManyTables opens very many tables on one client, uses and closes them.
//   - TestThreeWayRace has the answer to a call, its cancellation and the death of its connection happen in the
//     same moment, again and again, through the public interface of pkg/rpc. Its own TestStressNode does so
//     with many calls, ids and chance; here there is one call, and nothing is left to chance but the winner.
//
// Goroutines and memory must be back where they were after each.
//
// The numbers are small by default. The large ones, without the race detector where there are more goroutines than
// it can follow (8128):
//
//	go test ./test/stress -run TestManyCallers -callers=100000
//	go test ./test/stress -run TestManyTables -tables=10000
//	go test -race ./test/stress -run TestThreeWayRace -rounds=1000000 -timeout=1h
package stress
