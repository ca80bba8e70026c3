package chaos

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// What a check makes allowance for has to happen, or it would not be tested. Here the same histories are
// checked with the allowance and without it.

// judged is a workload with a history.
type judged interface {
	workload
	complete() []porcupine.Operation
}

// needs are runs, and how to take from a step of its history what is needed to explain it. A step that is
// not kept is not looked at.
var needs = map[string]struct {
	workload func(a *arena) judged
	events   []event
	without  func(s *step) (keep bool)
}{
	"stale reads": {func(*arena) judged { return contended() }, lagging(), func(s *step) bool {
		s.stale = false
		return true
	}},
	"expiry": {func(*arena) judged { return fleeting() }, aSecond(), func(s *step) bool {
		o := *s.operation
		o.ttl = 0
		s.operation = &o
		return true
	}},
	"drops": {func(a *arena) judged { return newRemade(a) }, aSecond(), func(s *step) bool { return !s.drops }},
}

func TestHistoriesNeed(t *testing.T) {
	for name, need := range needs {
		t.Run(name, func(t *testing.T) {
			a := newArena(t, 1, networkOf(1))
			w := need.workload(a)
			honestly := byHedging(func(d database) database { return d })
			honestly(a)
			a.run(1, need.events, w)
			require.Empty(t, a.findings.all())
			var left []porcupine.Operation
			for _, o := range w.complete() {
				s := o.Input.(step)
				if need.without(&s) {
					o.Input = s
					left = append(left, o)
				}
			}
			verdict, _ := explained(left, explaining)
			require.Equal(t, porcupine.Illegal, verdict)
		})
	}
}

// TestReadsAreHedged makes sure that the reads that may be stale are hedged, and answered by secondaries, when
// primaries are slow, dead, or not to be reached, and in the course of a whole schedule.
func TestReadsAreHedged(t *testing.T) {
	const seed = 3
	require.True(t, isGentle(seed))
	runs := map[string][]event{"all that is gentle": schedule(seed, 2*time.Second)}
	for _, cause := range []string{"slow primaries", "kill replica", "cut replica off"} {
		for i := range replicaCount {
			runs[cause] = append(runs[cause], event{
				at: time.Duration(i) * spell / 2, lasts: spell / 2, fault: named(cause), node: i,
			})
		}
	}
	for name, events := range runs {
		t.Run(name, func(t *testing.T) {
			a := newArena(t, seed, networkOf(seed))
			var hedges, won uint64
			for round := uint64(0); won == 0 && round < chances; round++ {
				a.run(seed+round, events, contended(), &ledger{})
				hedges, won = a.hedges()
			}
			require.Empty(t, a.findings.all())
			t.Logf("%d hedged reads, %d won", hedges, won)
			require.Positive(t, won)
			require.GreaterOrEqual(t, hedges, won)
		})
	}
}

// hedges returns how many reads were hedged up to now, and for how many of them the secondary's answer counted.
func (a *arena) hedges() (made, won uint64) {
	for _, client := range a.hedging {
		for _, s := range client.Stats().Operations {
			made, won = made+s.Hedges, won+s.HedgesWon
		}
	}
	return made, won
}
