// Package stress has the client do very much at once, and checks that it gives everything back afterwards. It
// contains tests only.
//
//   - TestManyCallers has very many callers wait on one client at the same time: for a server that stands
//     still and goes on, for a partition that has to fail over, for nothing since all of them give up at once.
//   - TestManyTables opens very many tables on one client, uses and closes them.
//   - TestThreeWayRace has the answers to calls, their cancellation and the death of their connection happen in the
//     same moment, through the public interface of pkg/rpc. To have very many races, hundreds of calls share one
//     death: all requests have come and all answers are on their way when the three are set off. A call counts as a
//     race if it was not over yet when the last of them was. Each must win some: whoever is first, a call ends once,
//     with its own answer or with an error that says what may have happened, and leaves nothing behind.
//
// Goroutines and memory must be back where they were after each.
//
// The numbers are small by default. The large ones, without the race detector where there are more goroutines than
// it can follow (8128):
//
//	go test ./test/stress -run TestManyCallers -callers=100000
//	go test ./test/stress -run TestManyTables -tables=10000
//	go test -race ./test/stress -run TestThreeWayRace -v -races=3000000 -timeout=1h
package stress
