package model_test

import (
	"slices"
	"strconv"
	"sync"
	"testing/synctest"
	"time"

	"go.uber.org/atomic"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// excuse says which operations may fail.
type excuse int

const (
	noExcuse    excuse = iota // none
	doubtExcuse               // those that are not repeated in doubt, and leave it
	anyExcuse                 // all
)

// disturbance happens during a step. What it does to the cluster stays; what it does to requests and
// processes ends with the step.
type disturbance struct {
	name   string
	excuse excuse
	// begin is called with two numbers that choose where. It returns how to end it, or nil.
	begin func(m *machine, op operation, where int, long time.Duration) (end func(m *machine))
}

// disturbances are ordered by how bad they are, so that a failure is found with the best of them.
var disturbances = slices.Concat([]disturbance{
	{"move primary", noExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		_ = m.MovePrimary(tableName, where%m.PartitionCount(tableName), where%3) // fails if that is dead
		return nil
	}},
	{"start split", noExcuse, func(m *machine, _ operation, _ int, _ time.Duration) func(*machine) {
		m.startSplit()
		return nil
	}},
	{"finish part of split", noExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		m.advanceSplit(where, m.RegisterSplit, 0)
		return nil
	}},
	{"hand over to child", noExcuse, func(m *machine, _ operation, where int, long time.Duration) func(*machine) {
		m.advanceSplit(where, m.RegisterSplit, long)
		return nil
	}},
	{"switch to child", noExcuse, func(m *machine, _ operation, where int, long time.Duration) func(*machine) {
		m.advanceSplit(where, m.SwitchSplit, long)
		return nil
	}},
	{"cancel split", noExcuse, func(m *machine, _ operation, _ int, _ time.Duration) func(*machine) {
		m.cancelSplit()
		return nil
	}},
	{"no primary for a while", noExcuse, func(m *machine, _ operation, where int, long time.Duration) func(*machine) {
		partition := where % m.PartitionCount(tableName)
		if m.ClearPrimary(tableName, partition) == nil {
			time.Sleep(long)
			m.assignPrimaries()
		}
		return nil
	}},
	{"elect leader", noExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		m.ElectLeader(where % 3)
		return nil
	}},
	{"kill meta", noExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		m.Meta(where % 3).Kill()
		return nil
	}},
	{"restart meta", noExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		m.Meta(where % 3).Restart()
		return nil
	}},
	{"restart", noExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		m.Replica(where % 3).Restart()
		return nil
	}},
	{"kill", doubtExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		m.Replica(where % 3).Kill()
		return nil
	}},
	{"kill and restart", doubtExcuse, func(m *machine, _ operation, where int, _ time.Duration) func(*machine) {
		m.Replica(where % 3).Kill()
		m.Replica(where % 3).Restart()
		return nil
	}},
	{"pause", doubtExcuse, func(m *machine, _ operation, where int, long time.Duration) func(*machine) {
		m.Replica(where % 3).Pause()
		time.Sleep(long)
		m.Replica(where % 3).Resume()
		return nil
	}},
	{"black hole", doubtExcuse, func(m *machine, _ operation, where int, long time.Duration) func(*machine) {
		m.Replica(where % 3).Blackhole(true)
		time.Sleep(long)
		m.Replica(where % 3).Blackhole(false)
		return nil
	}},
},
	faults(noExcuse, map[string]onebox.Fault{
		"late answer": {Delay: 600 * time.Millisecond}, "very late answer": {Delay: 2 * time.Second}, "held answer": {Hold: true},
		"answer twice": {Duplicate: true}, "answer in pieces": {Chunk: 7},
		"invalid state": {Error: wire.ErrInvalidState}, "not found": {Error: wire.ErrObjectNotFound},
		"misused": {Error: wire.ErrParentPartitionMisused}, "splitting": {Error: wire.ErrSplitting},
		"too few members": {Error: wire.ErrNotEnoughMember}, "too much": {Error: wire.ErrCapacityExceeded, ErrorWithBody: true},
	}),
	faults(doubtExcuse, map[string]onebox.Fault{
		"cut before": {CloseBefore: true}, "cut after": {CloseAfter: true}, "cut within the answer": {Truncate: 60},
		"garbage": {Garbage: []byte("garbage, and more of it")}, "huge length": {HugeLength: true},
	}),
	faults(anyExcuse, map[string]onebox.Fault{
		"busy": {Error: wire.ErrBusy}, "busy with body": {Error: wire.ErrBusy, ErrorWithBody: true},
		"unknown error": {Error: "ERR_WHATEVER"}, "no body": {OKWithoutBody: true},
		"drop request": {DropRequest: true}, "drop answer": {DropReply: true}, "wrong sequence": {WrongSequence: true},
		"wrong name": {WrongName: "RPC_RRDB_RRDB_WHATEVER"},
	}),
)

// faults are disturbances of one request each.
func faults(excuse excuse, of map[string]onebox.Fault) []disturbance {
	var all []disturbance
	for name, fault := range of {
		all = append(all, disturbance{name, excuse, func(m *machine, op operation, _ int, _ time.Duration) func(*machine) {
			return m.inject(fault, op)
		}})
	}
	slices.SortFunc(all, func(a, b disturbance) int { return compare(a.name, b.name) })
	return all
}

// inject disturbs the next request to a partition that the operation accesses, on whichever server. That is
// one request, of those that an operation on several partitions has under way together.
func (m *machine) inject(fault onebox.Fault, op operation) (end func(*machine)) {
	var done atomic.Bool
	fault.Match = func(r *onebox.Request) bool {
		return m.isPlace(op, r.Header.GPID, 1) && done.CompareAndSwap(false, true)
	}
	var removes []func()
	for _, node := range m.Replicas() {
		removes = append(removes, node.Inject(fault))
	}
	return func(*machine) {
		for _, remove := range removes {
			remove()
		}
	}
}

// isPlace says whether a partition is that of the operation's key, or was before so many splits.
func (m *machine) isPlace(op operation, gpid wire.GPID, splits int) bool {
	count := m.PartitionCount(tableName)
	for ; splits >= 0 && count > 0; splits-- {
		if gpid.AppID == m.appID && uint64(gpid.PartitionIndex) == op.on%uint64(count) {
			return true
		}
		count /= 2
	}
	return false
}

// assignPrimaries gives partitions primaries that they were deprived of, as far as there are servers.
func (m *machine) assignPrimaries() {
	for partition := range m.PartitionCount(tableName) {
		for i := 0; i < 3 && m.Primary(tableName, partition) == nil; i++ {
			_ = m.AssignPrimary(tableName, partition, i)
		}
	}
}

// scheduled is a disturbance, and when it begins.
type scheduled struct {
	disturbance
	op    operation
	at    time.Duration
	where int
	long  time.Duration
}

// schedule is all that disturbs one step.
type schedule []scheduled

// moments are when disturbances may begin: before the operation, and while its first requests, or the
// answers to them, are on their way.
var moments = []time.Duration{0, latency / 2, latency * 3 / 2, latency * 5 / 2, latency * 7 / 2, latency * 13 / 2, latency * 25 / 2, latency * 45 / 2}

// lengths are how long a disturbance that ends by itself takes: less and more than what connections
// bear with, less and more than a failover.
var lengths = []time.Duration{latency, 100 * time.Millisecond, 700 * time.Millisecond, 1700 * time.Millisecond}

// maxDisturbances bounds those of one step.
const maxDisturbances = 2

// drawDisturbances draws none for most of the steps.
func (m *machine) drawDisturbances(t *rapid.T, op operation) (all schedule) {
	for i := range max(0, rapid.IntRange(-4, maxDisturbances).Draw(t, "disturbances")) {
		number := rapid.IntRange(0, len(disturbances)-1).Draw(t, "disturbance "+strconv.Itoa(i))
		d := scheduled{
			disturbance: disturbances[number], op: op,
			at:    rapid.SampledFrom(moments).Draw(t, "at") + time.Duration(i)*time.Millisecond, // one after the other
			where: rapid.IntRange(0, 47).Draw(t, "where"),
			long:  rapid.SampledFrom(lengths).Draw(t, "how long"),
		}
		t.Logf("%s at %v", d.name, d.at)
		all = append(all, d)
	}
	return all
}

// excuse is that of the worst of them. Together they may keep a partition away for longer than an
// operation can wait.
func (s schedule) excuse() (worst excuse) {
	for _, d := range s {
		worst = max(worst, d.excuse)
	}
	return worst
}

// begin lets everything run its course. What has no end of its own ends with the returned function,
// which waits for the rest.
func (s schedule) begin(m *machine) (end func()) {
	var running sync.WaitGroup
	ends := make([]func(*machine), len(s))
	for i, d := range s {
		running.Go(func() {
			time.Sleep(d.at)
			ends[i] = d.begin(m, d.op, d.where, d.long)
			m.finishSplit() // of another one, which may have waited for this
		})
	}
	if len(s) > 0 {
		synctest.Wait() // those that begin before the operation have begun
	}
	return func() {
		running.Wait()
		for _, end := range ends {
			if end != nil {
				end(m)
			}
		}
		m.assignPrimaries()
		m.finishSplit()
	}
}
