// Command bench compares the client with what the machine, the network and the server allow:
//
//	go run ./test/bench
//	go run ./test/bench -json -callers 64
//	go run ./test/bench -processors apart
//	go run ./test/bench -meta 10.0.0.1:34601,10.0.0.2:34601 -table temp
//	go run ./test/bench -open-loop -rate 1000,5000
//
// # What is compared
//
// The floor is a loop that sends prebuilt request frames and counts the frames that come back by
// their length, nothing else: no keys are encoded or hashed, no answer is matched to a caller, no
// value is decoded. It uses what the client uses, one connection per server, the records in the same
// order, and as many requests in flight as there are callers, spread over the servers as their
// partitions are. On each connection one goroutine sends, in one write, as many requests as the last
// read brought answers. With fewer callers than servers, each has one request in flight and takes the
// connections in turn.
//
// Against it run Get, AppendGet and Set, each called by so many goroutines in a loop, each waiting for
// its answer. Contexts are context.Background, or with -deadline a new one for each operation.
//
// Between the two, with -ops woken_get,get, is the floor with callers: each request is a goroutine's, which
// sleeps until it is woken for an answer, in the simplest way. It tells what of an operation's cost is the
// scheduler's. It is no limit: a client may wake its callers, and write for them, in a better order.
//
// MultiGet and MultiSet, of ten records with one hash key, run in the same way. BatchGet looks up a hundred
// keys spread over all partitions, for one caller, against the same with Get: one key after the other,
// and all at once with a goroutine for each. Their floor has one batch under way: a request for each
// partition, of which as many make an operation. Each of these operations is timed, and the floor's times
// are of single requests.
//
// A scan goes through the whole table, which is filled up to -scan-records before. An operation is a
// record there; the times are those of whole scans. Its floor receives the same answers, one partition
// after the other, and reads nothing of them but the context id, which it needs for the next request: it
// does not work on an answer while the next one is under way, having nothing to do. MB/s counts whole
// answers.
//
// # How it is measured
//
// For every number of callers, floor and operations take turns in slices of -duration, in reversed
// order every other round, after a warm-up. Collected garbage is left behind before a slice begins.
// What is reported of the rounds:
//
//   - ops_per_s: the median. Operations still under way when time is up are waited for and count.
//   - floor_ratio: the median of the ratios to the floor of the same round.
//   - p50_us, p99_us, p999_us: percentiles of all rounds together, in microseconds. Of each caller's
//     operations one in 8, chosen at random, is timed, so that reading the clock does not distort
//     throughput and CPU time. The floor's times are from the write to the read of the answer, taking
//     answers to come in the order of the requests.
//   - cpu_us_per_op: the median of the CPU time of this process, user and system, garbage collection
//     included, microseconds.
//   - allocs_per_op, bytes_per_op: the median of what this process allocated.
//   - mb_per_s: ops_per_s times the bytes that a record takes in the answers, in millions; scans only.
//   - server_cpu_us_per_op: the median of the CPU time of the server's process.
//
// A number that is not available is "-" in the table and null in JSON.
//
// The system moves the two processes from processor to processor as it sees fit, and whether they share one
// decides what it costs to wake the other side. That differs from the floor to an operation of the same run, and
// from one run to the next. With -processors, each process is confined to one processor, which it has for
// itself (apart) or shares with the other one (together); then GOMAXPROCS is 1 for both (Linux only).
//
// # What it cannot tell
//
// Without -meta the server is the test cluster of package onebox, in a process of its own, with one
// replica server unless -servers says otherwise. With one, both sides keep one connection full. With
// more, the callers that one server's answers wake send to all of them, so that the batches of each
// are smaller than the floor's, which sends again where it was answered: more servers tell how the
// client spreads its work, one tells what its code costs. It shares the machine with the client: when the two together use every core, the ratio
// to the floor compares client plus server, not clients alone, and flatters the client. So read it
// together with the CPU time per operation of both sides. The server does less for the floor, whose
// requests come in larger batches.
//
// It is a closed loop: a slow answer holds its caller's next request back, so percentiles are those of
// the load that the client could sustain, and with n callers the mean time is n divided by the rate.
// They do not say what an open-loop load would see; that is what -open-loop is for.
//
// # The open loop
//
// With -open-loop, Gets arrive at a fixed -rate, whatever becomes of those before: as from independent users
// (-arrivals poisson), or at equal distances. When each begins is laid down before the slice. Its latency
// counts from that time, not from when the generator came to it, so an operation that could not begin
// because everything stood still shows that (there is no coordinated omission). Each runs in a goroutine of
// its own, -in-flight of them at most; those that arrive beyond are turned away, and counted among the
// latencies as the longest that can be noted, 10 s, like those that fail.
//
// There are three servers, one of which, if -slow says so, answers a share of its reads later: three of
// eight partitions have their primary there, all have a replica there. Each way of -hedging has a client of
// its own for each condition, with and without the slow server, and all take turns with the same arrivals
// in slices of -duration, in reversed order every other round, after a slice that does not count and
// from which the clients learn how fast the servers are. All rounds are put together:
//
//   - rate_per_s, ops_per_s: what was offered, and what was done until the last operation had ended.
//   - p50_us, p99_us, p999_us, max_us: the latencies, in microseconds, of all operations.
//   - extra_load: the reads that the servers received beyond one for each operation, as a share of those.
//   - hedges, hedges_won: the reads for which a secondary was asked, and those that it answered first.
//   - late_p99_us: by how much the generator itself was late. It is part of the latencies. Where it is not
//     far below them, they are the machine's, not the client's or the servers'.
//   - cpu_us_per_op, server_cpu_us_per_op: as above, but the means.
//   - failed, overflow: operations that failed or were turned away. The former make the exit status 1.
//
// # More that it cannot tell
//
// Callers take their keys from memory that the processor has mostly forgotten, a cache line for each
// operation, which an application that has just received them does not; the floor reads its frames in
// order. That counts against the client, a few percent of a Get.
//
// Other programs on the machine hit the floor and the operations alike, which is why ratios bear them
// better than absolute numbers, and tails worst of all. Records, frames and histograms keep some 10 MB
// alive, so the garbage collector runs as often as in a small application.
//
// Against another cluster (-meta, -table) the run writes -records records, and leaves them there.
//
// Targets for times are multiples of the floor's: they are the design's, divided by what the floor took
// where those were set (0.7 us of CPU per operation and a p99 of 0.19 ms, with 64 callers).
//
// The exit status is 1 if any operation failed, 2 for flags that make no sense. Missed targets do not
// change it: they depend on the machine.
package main
