package rpc

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// tableModel is what a table of pending calls promises, in the plainest form: which calls are in it,
// and to which ids an answer may still come.
type tableModel struct {
	table   *pendingCalls
	pending map[int32]*call
	due     map[int32]bool // answers to calls that were given up
	everIn  []*call
}

// Whatever happens in whatever order, an id is never given out while an answer to it may come, each
// answer finds its own call, and each call is removed exactly once. A table with few generations per
// slot meets all that takes hours on a real connection.
func TestPendingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := rapid.IntRange(1, 6).Draw(t, "window")
		m := &tableModel{
			table:   tinyTable(window, rapid.IntRange(1, 4).Draw(t, "generation bits")),
			pending: make(map[int32]*call), due: make(map[int32]bool),
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": m.add, "answer": m.answer, "late answer": m.lateAnswer,
			"give up": m.giveUp, "give up again": m.giveUpAgain, "unknown answer": m.unknownAnswer,
			"": m.check,
		})
		m.end(t)
	})
}

func (m *tableModel) add(t *rapid.T) {
	if len(m.pending) == m.table.window {
		t.Skip("the caller makes sure that there is room")
	}
	c := &call{}
	seq, ok := m.table.add(c)
	if !ok {
		m.checkWornOut(t)
		return
	}
	if m.pending[seq] != nil || m.due[seq] {
		t.Fatalf("id %#x is given out while an answer to it may come", seq)
	}
	if seq == onewaySequence {
		t.Fatalf("the id of one-way requests is given out")
	}
	m.pending[seq] = c
	m.everIn = append(m.everIn, c)
}

// checkWornOut checks that the table has a reason to refuse a call: every slot is in use, or has used
// its last id and waits for an answer.
func (m *tableModel) checkWornOut(t *rapid.T) {
	busy := make(map[int32]bool)
	for _, ids := range [][]int32{keys(m.pending), keys(m.due)} {
		for _, seq := range ids {
			busy[seq&(1<<m.table.slotBits-1)] = true
		}
	}
	if len(busy) < m.table.window {
		t.Fatalf("a call is refused though %d of %d slots have nothing to wait for", m.table.window-len(busy), m.table.window)
	}
}

func (m *tableModel) answer(t *rapid.T) {
	seq := pick(t, m.pending)
	if c, late := m.table.take(seq); c != m.pending[seq] || late {
		t.Fatalf("the answer to id %#x found %p (late: %v), not %p", seq, c, late, m.pending[seq])
	}
	delete(m.pending, seq)
}

func (m *tableModel) lateAnswer(t *rapid.T) {
	seq := pick(t, m.due)
	if c, late := m.table.take(seq); c != nil || !late {
		t.Fatalf("the late answer to id %#x found %p (late: %v)", seq, c, late)
	}
	delete(m.due, seq)
}

func (m *tableModel) giveUp(t *rapid.T) {
	seq := pick(t, m.pending)
	if !m.table.giveUp(m.pending[seq]) {
		t.Fatalf("the call with id %#x is not there any more", seq)
	}
	delete(m.pending, seq)
	m.due[seq] = true
}

func (m *tableModel) giveUpAgain(t *rapid.T) {
	gone := slices.DeleteFunc(slices.Clone(m.everIn), m.isPending)
	if len(gone) == 0 {
		t.Skip("none is gone")
	}
	if m.table.giveUp(rapid.SampledFrom(gone).Draw(t, "call")) {
		t.Fatalf("a call is removed twice")
	}
}

// unknownAnswer delivers an id that no answer can have. One that answers a finished call a second
// time is left out: which of the calls of a slot that were given up it answers, nobody can know.
func (m *tableModel) unknownAnswer(t *rapid.T) {
	seq := rapid.Int32().Draw(t, "id")
	slot := seq & (1<<m.table.slotBits - 1)
	for due := range m.due {
		if due&(1<<m.table.slotBits-1) == slot {
			t.Skip("the slot waits for a late answer")
		}
	}
	if m.pending[seq] != nil {
		t.Skip("it is known")
	}
	if c, late := m.table.take(seq); c != nil || late {
		t.Fatalf("id %#x, which nobody waits for, found %p (late: %v)", seq, c, late)
	}
}

func (m *tableModel) isPending(c *call) bool {
	for _, p := range m.pending {
		if p == c {
			return true
		}
	}
	return false
}

func (m *tableModel) check(t *rapid.T) {
	if m.table.inFlight != len(m.pending) {
		t.Fatalf("%d calls in flight, want %d", m.table.inFlight, len(m.pending))
	}
	if len(m.table.slots) > m.table.window {
		t.Fatalf("%d slots in a window of %d", len(m.table.slots), m.table.window)
	}
}

// end lets every answer come, after which the whole window must be of use again, and drains the table.
func (m *tableModel) end(t *rapid.T) {
	for seq := range m.due {
		m.table.take(seq)
	}
	clear(m.due)
	for len(m.pending) < m.table.window {
		seq, ok := m.table.add(&call{})
		if !ok {
			t.Fatalf("a slot is lost: no room for more than %d calls", len(m.pending))
		}
		m.pending[seq] = &call{}
	}
	if drained := m.table.drain(); len(drained) != m.table.window {
		t.Fatalf("%d calls drained, want %d", len(drained), m.table.window)
	}
}

func keys[V any](m map[int32]V) []int32 {
	var all []int32
	for key := range m {
		all = append(all, key)
	}
	slices.Sort(all) // so that rapid can repeat and shrink a run
	return all
}

func pick[V any](t *rapid.T, m map[int32]V) int32 {
	if len(m) == 0 {
		t.Skip("there is none")
	}
	return rapid.SampledFrom(keys(m)).Draw(t, "id")
}
