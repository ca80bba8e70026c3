package rpc

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// tinyTable is a table of which each slot has very few generations, so that they are soon used up.
func tinyTable(window, generationBits int) *pendingCalls {
	return &pendingCalls{window: window, slotBits: 32 - generationBits}
}

// enter adds a new call for which there must be a slot.
func enter(t testing.TB, p *pendingCalls) (*call, int32) {
	t.Helper()
	c := &call{}
	seq, ok := p.add(c)
	require.True(t, ok, "no slot is left")
	return c, seq
}

// requireNobody checks that an answer is for no call, and whether one such was due.
func requireNobody(t testing.TB, p *pendingCalls, seq int32, late bool) {
	t.Helper()
	c, wasLate := p.take(seq)
	require.Nil(t, c)
	require.Equal(t, late, wasLate)
}

func TestPendingMatchesAnswersInAnyOrder(t *testing.T) {
	p := newPendingCalls(4)
	calls := make(map[int32]*call)
	for range 4 {
		c, seq := enter(t, &p)
		require.NotContains(t, calls, seq)
		calls[seq] = c
	}
	require.Equal(t, 4, p.inFlight)
	for seq, want := range calls {
		got, late := p.take(seq)
		require.Same(t, want, got)
		require.False(t, late)
	}
	require.Zero(t, p.inFlight)
}

func TestPendingReusesSlotsButNotIDs(t *testing.T) {
	p := newPendingCalls(1)
	seen := make(map[int32]bool)
	for range 1000 {
		c, seq := enter(t, &p)
		require.False(t, seen[seq])
		seen[seq] = true
		got, _ := p.take(seq)
		require.Same(t, c, got)
	}
	require.Len(t, p.slots, 1)
}

func TestPendingIgnoresAnswersThatNobodyWaitsFor(t *testing.T) {
	p := newPendingCalls(4)
	requireNobody(t, &p, 0, false)
	_, seq := enter(t, &p)
	for _, wrong := range []int32{seq + 1, seq + 1<<p.slotBits, seq | math.MinInt32, onewaySequence, math.MaxInt32} {
		requireNobody(t, &p, wrong, false)
	}
	c, _ := p.take(seq)
	require.NotNil(t, c)
	requireNobody(t, &p, seq, false) // a second answer
}

// A call that was given up frees its slot at once. Its answer is recognised as late, once, and the
// next call in the slot does not get it.
func TestPendingKeepsLateAnswersFromLaterCalls(t *testing.T) {
	p := newPendingCalls(1)
	first, late := enter(t, &p)
	require.True(t, p.giveUp(first))
	require.Zero(t, p.inFlight)
	second, seq := enter(t, &p)
	require.NotEqual(t, late, seq)
	requireNobody(t, &p, late, true)
	requireNobody(t, &p, late, false)
	got, _ := p.take(seq)
	require.Same(t, second, got)
}

func TestPendingGiveUpOnlyOnce(t *testing.T) {
	p := newPendingCalls(2)
	answered, seq := enter(t, &p)
	p.take(seq)
	require.False(t, p.giveUp(answered), "the answer came first")
	cancelled, _ := enter(t, &p)
	require.True(t, p.giveUp(cancelled))
	require.False(t, p.giveUp(cancelled), "it was given up before")
	successor, _ := enter(t, &p)
	require.False(t, p.giveUp(cancelled), "its slot belongs to somebody else")
	require.True(t, p.giveUp(successor))
}

func TestPendingNeverUsesTheSequenceOfOnewayRequests(t *testing.T) {
	for _, window := range []int{1, 2, 3, 4, 7, 8, 255, 256, 4095, 4096, maxWindow} {
		p := newPendingCalls(window)
		reserved := int(uint32(math.MaxUint32) & (1<<p.slotBits - 1))
		require.GreaterOrEqual(t, reserved, window, "window %d", window)
		require.Less(t, p.slotBits, 32, "window %d", window)
	}
	p := tinyTable(3, 30) // slots 0 to 2 of 4
	for range 3 {
		enter(t, p)
	}
	requireNobody(t, p, onewaySequence, false)
}

// A slot that has used all its generations starts anew when no answer is due.
func TestPendingGenerationsStartAnew(t *testing.T) {
	p := tinyTable(1, 2)
	var ids []int32
	for range 8 {
		_, seq := enter(t, p)
		ids = append(ids, seq)
		p.take(seq)
	}
	require.Equal(t, ids[:4], ids[4:])
	slices.Sort(ids)
	require.Len(t, slices.Compact(ids), 4)
}

// A slot that has used all its generations is out of service as long as an answer may come that would
// fit one of its ids. Whichever answers come last, the late or the others, it then comes back.
func TestPendingExhaustedSlotWaitsForLateAnswers(t *testing.T) {
	p := tinyTable(1, 2)
	var late []int32
	for generation := range 4 {
		c, seq := enter(t, p)
		if generation < 2 {
			require.True(t, p.giveUp(c))
			late = append(late, seq)
		} else {
			p.take(seq)
		}
	}
	for _, seq := range late {
		_, ok := p.add(&call{})
		require.False(t, ok, "an answer to %d may still come", seq)
		requireNobody(t, p, seq, true)
	}
	c, seq := enter(t, p)
	require.Equal(t, late[0], seq)
	got, wasLate := p.take(seq)
	require.Same(t, c, got)
	require.False(t, wasLate)
}

// The last generation is answered after the late answers have come: then nothing is due at once.
func TestPendingExhaustedSlotReopensAtOnceWhenNothingIsDue(t *testing.T) {
	p := tinyTable(1, 1)
	c, late := enter(t, p)
	require.True(t, p.giveUp(c))
	_, last := enter(t, p)
	requireNobody(t, p, late, true)
	p.take(last)
	_, seq := enter(t, p)
	require.Equal(t, late, seq)
}

// The late answer to the very last generation brings the slot back.
func TestPendingLastGenerationAbandoned(t *testing.T) {
	p := tinyTable(2, 1)
	keep, _ := enter(t, p)
	for range 2 {
		c, _ := enter(t, p)
		require.True(t, p.giveUp(c))
	}
	_, ok := p.add(&call{})
	require.False(t, ok)
	for generation := range int32(2) {
		requireNobody(t, p, generation<<p.slotBits|1, true)
	}
	enter(t, p)
	require.True(t, p.giveUp(keep))
}

func TestPendingDrain(t *testing.T) {
	p := newPendingCalls(8)
	var want []*call
	for i := range 6 {
		c, seq := enter(t, &p)
		switch i {
		case 1:
			p.take(seq)
		case 4:
			p.giveUp(c)
		}
		want = append(want, c)
	}
	answered, givenUp := want[1], want[4]
	// The third call came to the slot of the answered one, the sixth to that of the one given up.
	got := p.drain()
	require.ElementsMatch(t, []*call{want[0], want[2], want[3], want[5]}, got)
	require.Zero(t, p.inFlight)
	for _, c := range append(got, answered, givenUp) {
		require.False(t, p.giveUp(c), "somebody else has removed it")
	}
	requireNobody(t, &p, 0, false)
	require.Empty(t, p.drain())
}
