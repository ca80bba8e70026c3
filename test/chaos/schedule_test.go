package chaos

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pause is the time from the beginning of one fault to the next, at most. Many last longer, so that
// several are in force at a time.
const pause = 150 * time.Millisecond

// schedule returns what happens in the given time. A longer schedule of the same seed begins with the
// shorter one.
func schedule(seed uint64, length time.Duration) (events []event) {
	r := rand.New(rand.NewPCG(seed, 0))
	var urn []*fault
	for i := range faults {
		if isGentle(seed) && !slices.Contains(gentle, faults[i].name) {
			continue
		}
		for range faults[i].often {
			urn = append(urn, &faults[i])
		}
	}
	for at := time.Duration(0); ; {
		// All choices are made for every event, so that the next ones do not depend on them.
		e := event{
			fault: urn[r.IntN(len(urn))], node: r.IntN(replicaCount), partition: r.IntN(mostPartitions),
			all: r.IntN(4) == 0,
		}
		at += upTo(r, pause)
		e.at, e.lasts = at, e.most/2+upTo(r, e.most/2)
		if at >= length {
			return events
		}
		events = append(events, e)
	}
}

// gentle are faults that cost no connection.
var gentle = []string{
	"elect meta leader", "add meta", "meta refuses", "meta forwards nowhere",
	"delay", "slow primaries", "duplicate", "hold", "chunks", "busy", "wrong state", "result missing",
	"move primary", "move all primaries", "no primary", "remove replica", "secondaries lag", "split", "cancel split",
	"throttle reads", "reconfigure", "duplicating", "ingesting", "short iterations",
}

// isGentle tells that a seed stands for gentle faults only. Clients hedge no reads with servers that they have
// lately lost connections to; where everything happens, these are all.
func isGentle(seed uint64) bool { return seed%4 == 3 }

func describeEvents(events []event) (lines []string) {
	for i := range events {
		lines = append(lines, events[i].String())
	}
	return lines
}

func TestScheduleFollowsFromTheSeed(t *testing.T) {
	long := describeEvents(schedule(7, time.Minute))
	require.Equal(t, long, describeEvents(schedule(7, time.Minute)))
	short := describeEvents(schedule(7, 5*time.Second))
	require.Greater(t, len(short), 30)
	require.Equal(t, short, long[:len(short)])
	require.NotEqual(t, short, describeEvents(schedule(8, 5*time.Second))[:len(short)])
}

// In the time that continuous integration gives it, every fault comes up.
func TestScheduleHasEverything(t *testing.T) {
	seen := make(map[string]bool)
	for seed := range uint64(6) {
		for _, e := range schedule(seed+1, 10*time.Second) {
			seen[e.name] = true
			require.LessOrEqual(t, e.lasts, e.most)
			require.GreaterOrEqual(t, e.lasts, e.most/2)
		}
	}
	require.Len(t, seen, len(faults))
	for _, name := range gentle {
		require.True(t, seen[name], name)
	}
}

// upTo returns a duration from 0 to the given one.
func upTo(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most) + 1))
}
