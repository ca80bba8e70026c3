// Package chaos uses a cluster of test/onebox in every way while everything happens to it that can, and
// checks what was seen. It contains tests only.
//
// # What happens
//
// A seed gives a schedule of faults: servers are killed, restarted, paused and cut off; requests and
// answers are delayed, dropped, repeated and corrupted; primaries move, partitions lose them and are
// split; meta leaders change and meta servers come; the table is throttled, reconfigured, its disks
// are full. Several faults are in force at a time. The network is TCP for some seeds and in memory for
// others, and the clients' settings differ. See faults_test.go for the list.
//
// Callers, on two clients with two handles each, do all of the following all the time, some with
// contexts that outlast a failover and some with contexts that do not.
//
// # What is checked
//
//   - Histories: callers share few records and do every operation on them. What they saw of the records of
//     a hash key must be explained by changes that take one moment each, somewhere between call and
//     return (linearizability, checked by porcupine). A write in doubt may take effect at any time after
//     its call, or never; one that was reported as not carried out, never.
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
// TestChecksFindLies puts clients with defects in between, to show that each check finds what it is for.
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
