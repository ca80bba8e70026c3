package chaos

import (
	"fmt"
	"strings"
	"testing"
)

// allWorkloads are what callers do under chaos.
func allWorkloads(a *arena) []workload {
	return []workload{contended(), fleeting(), newRemade(a), newCounters(), &ledger{}, populated(a)}
}

// TestChaos disturbs a cluster in every way while clients use it in every way; see the package's
// documentation.
func TestChaos(t *testing.T) {
	for i := range *seedCount {
		seed := *firstSeed + uint64(i)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			a, events := newArena(t, seed, networkOf(seed)), schedule(seed, *perSeed)
			a.run(seed, events, allWorkloads(a)...)
			t.Logf("%d faults; %s", len(events), a.tally.String())
			a.report(seed)
		})
	}
}

// report fails the test if there are findings, and says how to see them again.
func (a *arena) report(seed uint64) {
	found := a.findings.all()
	if len(found) == 0 {
		return
	}
	events := schedule(seed, *perSeed)
	a.t.Errorf("seed %d; the same faults again, though not the same interleavings, with\n\t%s\n%s\nthe faults were:\n%s",
		seed, replay(seed, *perSeed), strings.Join(found, "\n"), strings.Join(describeEvents(events), "\n"))
}
