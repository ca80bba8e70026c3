package main

import "fmt"

// target is a number aimed at for one row.
type target struct {
	operation string
	callers   int
	quantity  *quantity
	limit     number
}

// quantity is a number of a row that there are targets for.
type quantity struct {
	name    string
	of      func(r *row) number
	atLeast bool // the limit is a lower one
	wanted  func(limit number, r *row) string
	text    func(n number) string
}

var (
	ratio = &quantity{
		name: "throughput", of: func(r *row) number { return r.FloorRatio }, atLeast: true,
		wanted: func(limit number, r *row) string {
			return percent(limit) + " of the floor's " + r.floorPerSecond.text(0) + "/s"
		},
		text: percent,
	}
	processorTime = &quantity{
		name: "CPU per operation", of: func(r *row) number { return r.CPU },
		text: func(n number) string { return n.text(2) + " us" },
	}
	allocations = &quantity{
		name: "allocations per operation", of: func(r *row) number { return r.Allocations },
		text: func(n number) string { return n.text(3) },
	}
	tail = &quantity{
		name: "p99", of: func(r *row) number { return r.P99 },
		text: func(n number) string { return n.text(0) + " us" },
	}
)

func percent(n number) string { return (100 * n).text(1) + "%" }

// nothing is the limit for allocations where there should be none: what the harness and the pools'
// refilling after a collection allocate in a slice disappears below it.
const nothing = 0.01

// allTargets are those of a Get of 100 bytes, and of a scan of such records, on a machine that nobody else
// uses.
var allTargets = []target{
	{"get", 1, ratio, 0.70},
	{"get", 64, ratio, 0.60},
	{"get", 256, ratio, 0.60},
	{"get", 64, processorTime, 1.8},
	{"get", 64, allocations, 2},
	{"append_get", 64, allocations, nothing},
	{"get", 64, tail, 500},
	{"scan", 1, ratio, 0.60},
	{"scan", 1, allocations, 1},
}

func (t *target) concerns(r *row) bool { return r.Operation == t.operation && r.Callers == t.callers }

// met says whether the row is as good as it should be. A number that is not available is not.
func (t *target) met(r *row) bool {
	if t.quantity.atLeast {
		return t.quantity.of(r) >= t.limit
	}
	return t.quantity.of(r) <= t.limit
}

// verdict returns one line about the target.
func (t *target) verdict(r *row) string {
	bound, wanted, verdict := "at most", t.quantity.text(t.limit), "missed"
	if t.quantity.atLeast {
		bound = "at least"
	}
	if t.quantity.wanted != nil {
		wanted = t.quantity.wanted(t.limit, r)
	}
	if t.met(r) {
		verdict = "met"
	}
	return fmt.Sprintf("%-10s %4d callers  %-25s  %-8s %-32s  is %-9s  %s", t.operation, t.callers,
		t.quantity.name, bound, wanted, t.quantity.text(t.quantity.of(r)), verdict)
}
