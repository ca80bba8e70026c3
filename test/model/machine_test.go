package model_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/test/onebox"
)

const (
	// tick is the time from one step to the next. The servers' clock stands still in between, so that it
	// does not matter to TTLs at which moment of a step a request is executed.
	tick = 20 * time.Second
	// patience is how long an operation may take, several requests included.
	patience = 12 * time.Second
	// calm is when all that was started in a step is over: less than a tick, and more than patience.
	calm = 19 * time.Second
	// latency is the time from a client to a server or back. Disturbances fall in between.
	latency = 10 * time.Millisecond

	tableName = "temp"
)

// machine is a cluster with a client, and what its table may hold by the model.
type machine struct {
	*onebox.Cluster
	appID int32
	// tables are the table's handles of two clients. While one of them works, the other does not hear of
	// what becomes of partitions.
	tables []*pegasus.Table
	// table is the one that is used in this step.
	table *pegasus.Table
	// repeats says whether clients may repeat writes in doubt that come to the same.
	repeats bool
	// worlds are all that agree with what was seen so far. There are several when an operation in doubt
	// leaves behind what only a later read can tell.
	worlds []*world
	split  split
	// limited says that servers run out of time within ranges.
	limited bool

	scans []*scan

	// origin is where the operation of this step tells who has answered it.
	origin *pegasus.Metadata

	lent []loan // memory that the client may read during the step
	kept []loan // memory that belongs to the caller, who holds on to it
}

// TestModel compares the client on a cluster with the model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			m := newMachine(t)
			t.Repeat(m.actions())
			m.atEnd(t)
		})
	})
}

// atEnd checks what must be so at the end of a run.
func (m *machine) atEnd(t *rapid.T) {
	require.Empty(t, m.Violations(), "the client broke the protocol")
}

// kind says when an operation may be repeated in doubt.
type kind int

const (
	reading  kind = iota // always
	writing              // if the client's settings allow it
	counting             // never
)

// operation is a call of the client, and what it does by the model.
type operation struct {
	name string // as in pegasus.Error
	// inner are the names in errors of the operations that it is made of.
	inner []string
	kind  kind
	// excuse is what it may be excused for even if nothing disturbs it.
	excuse excuse
	// on is the hash of a key that it accesses.
	on uint64
	// call makes the call and returns the answer in words. Errors that are answers may be left to
	// inWords.
	call func(ctx context.Context) (answer string, err error)
	// tells says that it fills in machine.origin.
	tells bool
	// effect applies the operation to a world and returns the answer that belongs to it. What was
	// answered is given to it because some answers have liberties: if it is one of them, it is returned.
	effect func(w *world, answered string) (want string)
	// partly, if not nil, returns the worlds to which the operation may lead when it fails as err says.
	// By default, it is executed in one step or not at all.
	partly func(w *world, err error) []*world
}

// run makes one step: an operation, disturbed or not, and the comparison of all that can be seen of it
// with the worlds.
func (m *machine) run(t *rapid.T, op operation) {
	began := time.Now()
	m.drawTable(t)
	m.origin = new(pegasus.Metadata)
	disturbances := m.drawDisturbances(t, op)
	excuse := max(op.excuse, m.health(op.kind), disturbances.excuse())
	end := disturbances.begin(m)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	answer, err := op.call(ctx)
	cancel()
	text, answered := inWords(answer, err)
	t.Logf("%s %s: %s", op.name, time.Since(began), text)
	end()
	excuse = max(excuse, m.health(op.kind))
	sleepUntil(began.Add(calm))
	if answered {
		m.agree(t, op, text)
		m.checkOrigin(t, op, err)
	} else {
		m.tolerate(t, op, err, excuse)
	}
	m.peek(t)
	m.returnLoans(t)
	m.look()
	m.pass(t, began.Add(tick))
}

// checkOrigin checks what an operation tells of who has answered it, unless it was refused by the client.
func (m *machine) checkOrigin(t *rapid.T, op operation, err error) {
	var refusal *pegasus.Error
	if errors.As(err, &refusal) && refusal.Outcome == pegasus.NotSent {
		require.Empty(t, *m.origin)
	} else if op.tells {
		require.NotNil(t, m.NodeAt(m.origin.Server), m.origin.Server)
		require.True(t, m.isPlace(op, m.origin.Partition, maxDisturbances), "%v", m.origin.Partition)
		require.Equal(t, op.kind != reading, m.origin.Decree > 0)
	}
}

// drawTable chooses one of the clients.
func (m *machine) drawTable(t *rapid.T) {
	m.table = m.tables[rapid.IntRange(0, len(m.tables)-1).Draw(t, "client")]
}

// pass lets time pass until the given moment.
func (m *machine) pass(t *rapid.T, moment time.Time) {
	sleepUntil(moment)
	for _, w := range m.worlds {
		w.now = moment.Unix()
	}
	m.worlds = distinct(m.worlds) // what told them apart may have expired
	m.look()
	require.Empty(t, m.Violations(), "the client broke the protocol")
}

// distinct removes worlds that are there already.
func distinct(worlds []*world) []*world {
	var kept []*world
	for _, w := range worlds {
		if !contains(kept, w) {
			kept = append(kept, w)
		}
	}
	return kept
}

func contains(worlds []*world, w *world) bool {
	for _, other := range worlds {
		if other.equal(w) {
			return true
		}
	}
	return false
}

// peek keeps the worlds that agree with what the servers hold.
func (m *machine) peek(t *rapid.T) {
	for _, hash := range hashKeys {
		for _, sort := range sortKeys {
			m.peekAt(t, key{hash, sort})
		}
	}
}

func (m *machine) peekAt(t *rapid.T, k key) {
	value, ok := m.Peek(tableName, []byte(k.hash), []byte(k.sort))
	var agreeing []*world
	for _, w := range m.worlds {
		if want, exists := w.get(k); exists == ok && want.value == string(value) {
			agreeing = append(agreeing, w)
		}
	}
	if len(agreeing) == 0 {
		want, exists := m.worlds[0].get(k)
		t.Fatalf("servers hold %q of %q (%v), and should hold %q (%v) in the first of %d worlds",
			value, k, ok, want.value, exists, len(m.worlds))
	}
	m.worlds = agreeing
}
