// Package hostile has servers lie to the client: whatever they send must be an error for at most the requests on
// that connection, in time and without much memory, and everything must work again when they behave. It contains
// tests only.
//
//   - TestMutatedResponses has a replica server send every recorded response of a real one, changed: bits flipped,
//     cut, with huge lengths, wrong ids, results and names of other methods, noise, byte by byte. Meanwhile other
//     operations on the same connection may fail but not get what is not theirs, and those on another connection
//     must not notice.
//   - TestLies and TestLiesLater have the only meta server tell what is not so: forwards in circles, ever new
//     leaders, partition counts and ballots of all sizes, primaries anywhere. It must not be asked without end, and
//     the truth must be believed after any lie.
//   - TestMutatedRouting has it send recorded answers, changed.
//   - TestEndlessStream has a server that never stops sending.
//
// All of it is in virtual time, on a network in memory. What is random follows from a seed:
//
//	go test -race ./test/hostile -seed=7 -mutations=100
//
// Where the recordings come from is told by pkg/rpc/wire/testdata/README.md.
package hostile
