// Package chaos uses a cluster of test/onebox in every way while everything happens to it that can, and
// checks what was seen. It contains tests only.
//
// # What happens
//
// A seed gives a schedule of faults: servers are killed, restarted, paused and cut off; requests and
// answers are delayed, dropped, repeated and corrupted; primaries are slow, move, partitions lose them and
// are split; secondaries lag; meta leaders change and meta servers come; the table is throttled,
// reconfigured, its disks are full. Several faults are in force at a time. The network is TCP for some
// seeds and in memory for others, and the clients' settings differ. See faults_test.go for the list.
//
// Besides the table that stays there is one that is dropped and made anew under its name several times a
// second, with another number of partitions each time.
//
// Callers, as two users with two clients each, of whom one has a third that hedges reads, do all of the
// following all the time, some with contexts that outlast a failover and some with contexts that do not.
//
// # What is checked
//
//   - Histories: callers share few records and do every operation on them. What they saw of the records of
//     a hash key must be explained by changes that take one moment each, somewhere between call and
//     return (linearizability, checked by porcupine). A write in doubt may take effect at any time after
//     its call, or never; one that was reported as not carried out, never.
//   - Hedged reads, of the same histories: what they see must be explained by the records as they were at
//     any time before the read returned, all records of one read at the same time. So it was written, and is
//     not of a write that was reported as not carried out, nor of a table that was dropped. What the same
//     client does with conditions and counters gets no such allowance, nor do reads of clients that do not
//     hedge.
//   - Expiry: half of the writes of the histories have a TTL of a second or two. From the second that this
//     comes to there must be no record, to readers, conditions and counters alike, and before it there must
//     be one; TTL must tell what is left. A client counts from the last full second of its clock when it is
//     called, which may be one of two if a second begins meanwhile: either will do.
//   - A table made anew: to the history of each row a drop is an operation that deletes it. What was
//     acknowledged before the drop is gone and counters begin again; operations that overlap with the drop
//     may come before it or after. A write in doubt that ended before a drop was begun has no effect after it:
//     it was sent to partitions that are no more.
//   - Counters: the total is what was acknowledged, plus at most what is in doubt, and no sum was told twice.
//   - Ledger: what was acknowledged is there at any later time, whole; what was deleted, or reported as not
//     carried out, is not.
//   - Scans: a scan that ends well has returned every record that existed all the time, none twice, each with
//     its own value. Interrupted and resumed scans, scans in parts, and counts likewise.
//   - When the faults are over, everything works again within 20 seconds; no operation hangs; the cluster has
//     seen no request that a correct client does not send; no goroutine is left.
//
// A write of the histories is never repeated by the client (pegasus.WithRetryDoubtfulWrites), because
// repeating one that is in doubt makes two moments of it. The repeating handles write to records that nobody
// else writes.
//
// TestChecksFindLies puts clients with defects in between, or a cluster that does not do as it says, to
// show that each check finds what it is for. TestHistoriesNeed shows that what the histories make allowance for
// happens in them, and TestReadsAreHedged that secondaries answer.
//
// # Running it
//
//	go test -race ./test/chaos                                          # a few seeds, a few seconds each
//	go test -race -run TestChaos ./test/chaos -seeds=6 -duration=10s    # seeds 1 to 6
//	go test -race -run TestChaos ./test/chaos -seed=17 -seeds=1 -duration=10s
//	make soak DURATION=1h                                               # TestSoak
//
// A failure prints the seed and the last form of the command. The seed gives the schedule, all settings and
// what callers choose to do; but everything happens in real time, so that the same faults meet other requests
// each time. Of a failure that depends on the interleaving, the seed makes likely what it cannot force: repeat it
// with -count.
//
// # Soak
//
// TestSoak has one cluster and its clients go through one seed after the other for as long as the flag -soak says;
// make soak calls it. After each, when nobody works, it drops the table, makes it anew, collects garbage and samples
// the memory in use, goroutines, and open descriptors. Over the second half of the time each must be flat:
// the trend, which is the median of the slopes between any two samples, may not rise by more than a tenth of the
// mean, and a little that is the same for any size (see limits in soak_test.go). The samples are plotted
// to an SVG file.
package chaos
