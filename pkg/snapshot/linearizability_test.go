package snapshot_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// operation names what a client did to a cell.
type operation string

const (
	opLoad   operation = "load"
	opUpdate operation = "update" // folds the id of the call into the value
	opKeep   operation = "keep"   // an update that changes nothing
	opShut   operation = "shut"
	opIsShut operation = "is shut"
	opSignal operation = "signal" // looks at the channel of the version seen
	opAwait  operation = "await"  // with a context that is done
)

// call is an operation and its arguments: id makes the effect of an update
// unique, seen is the serial of the version a signal or an await starts from.
type call struct {
	op   operation
	id   uint64
	seen uint64
}

// answer is what a call returned. yes is the boolean of the operation.
type answer struct {
	serial, value uint64
	yes           bool
	err           error
}

// sequential is the state of a cell without concurrency.
type sequential struct {
	serial, value uint64
	shut          bool
}

// fold depends on the order of the updates, so that no two orders give the
// same value.
func fold(value, id uint64) uint64 { return value*1_000_003 + id }

func (s sequential) holds(a answer) bool { return a.serial == s.serial && a.value == s.value }

// steps say for each operation whether answer a is right in state s, and which
// state follows.
var steps = map[operation]func(s sequential, c call, a answer) (bool, sequential){
	opLoad: func(s sequential, _ call, a answer) (bool, sequential) { return s.holds(a), s },
	opUpdate: func(s sequential, c call, a answer) (bool, sequential) {
		if !s.shut {
			s.serial, s.value = s.serial+1, fold(s.value, c.id)
			return a.yes && s.holds(a), s
		}
		return !a.yes && s.holds(a), s
	},
	opKeep: func(s sequential, _ call, a answer) (bool, sequential) { return !a.yes && s.holds(a), s },
	opShut: func(s sequential, _ call, _ answer) (bool, sequential) {
		s.shut = true
		return true, s
	},
	opIsShut: func(s sequential, _ call, a answer) (bool, sequential) { return a.yes == s.shut, s },
	opSignal: func(s sequential, c call, a answer) (bool, sequential) {
		// A channel may close a little later than the cell changes, never earlier.
		return !a.yes || s.shut || s.serial > c.seen, s
	},
	opAwait: func(s sequential, c call, a answer) (bool, sequential) {
		switch {
		case s.serial > c.seen:
			return a.err == nil && s.holds(a), s
		case s.shut:
			return errors.Is(a.err, snapshot.ErrShut), s
		default:
			return errors.Is(a.err, errGaveUp), s
		}
	},
}

var cellModel = porcupine.Model{
	Init: func() any { return sequential{serial: 1} },
	Step: func(state, input, output any) (bool, any) {
		c := input.(call)
		return steps[c.op](state.(sequential), c, output.(answer))
	},
}

// client calls one cell and writes down what it sees. The clock of its record
// is read without synchronisation, which would hide what the test looks for.
type client struct {
	id      int
	cell    *snapshot.Cell[uint64]
	start   time.Time
	random  *rand.Rand
	seen    *snapshot.Version[uint64]
	history []porcupine.Operation
}

func (c *client) do(op operation, id uint64) {
	in := call{op: op, id: id, seen: c.seen.Serial()}
	began := time.Since(c.start)
	out := c.perform(in)
	ended := time.Since(c.start)
	c.history = append(c.history, porcupine.Operation{
		ClientId: c.id, Input: in, Call: int64(began), Output: out, Return: int64(ended),
	})
}

func (c *client) perform(in call) answer {
	v, yes, err := c.seen, false, error(nil)
	switch in.op {
	case opLoad:
		v = c.cell.Load()
	case opUpdate:
		v, yes = c.cell.Update(func(old uint64) (uint64, bool) {
			runtime.Gosched()
			return fold(old, in.id), true
		})
	case opKeep:
		v, yes = c.cell.Update(keep)
	case opShut:
		c.cell.Shut()
	case opIsShut:
		yes = c.cell.IsShut()
	case opSignal:
		yes = closed(c.seen)
	case opAwait:
		if v, err = c.cell.Await(cancelled(), c.seen); err != nil {
			return answer{err: err}
		}
	}
	c.seen = v
	return answer{serial: v.Serial(), value: v.Value(), yes: yes}
}

// run performs count random operations; one client in four shuts the cell in
// the last quarter of them.
func (c *client) run(count int) {
	mix := []operation{opLoad, opLoad, opUpdate, opUpdate, opUpdate, opKeep, opIsShut, opSignal, opSignal, opAwait}
	shutAt := count*3/4 + c.random.IntN(count/4)
	for i := range count {
		if c.id%4 == 0 && i == shutAt {
			c.do(opShut, 0)
			continue
		}
		c.do(mix[c.random.IntN(len(mix))], uint64(c.id*count+i+1))
	}
}

func TestHistoriesAreLinearizable(t *testing.T) {
	const rounds, clients, count = 40, 4, 40
	for round := range uint64(rounds) {
		cell, start := snapshot.New(uint64(0)), time.Now()
		all := make([]*client, clients)
		for i := range all {
			all[i] = &client{
				id: i, cell: cell, start: start, seen: cell.Load(),
				random: rand.New(rand.NewPCG(round, uint64(i))),
			}
		}
		together(clients, func(i int) { all[i].run(count) })

		var history []porcupine.Operation
		for _, c := range all {
			history = append(history, c.history...)
		}
		require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(cellModel, history, time.Minute), "round %d", round)
	}
}

// The model must be able to say no. Each history is one that a broken cell
// would produce with calls that do not overlap.
func TestModelRejectsBrokenHistories(t *testing.T) {
	type step struct {
		call   call
		answer answer
	}
	update := func(id, serial, value uint64) step {
		return step{call{op: opUpdate, id: id}, answer{serial: serial, value: value, yes: true}}
	}
	for name, steps := range map[string][]step{
		"lost update":         {update(1, 2, fold(0, 1)), update(2, 3, fold(0, 2))},
		"serial used twice":   {update(1, 2, fold(0, 1)), update(2, 2, fold(fold(0, 1), 2))},
		"stale load":          {update(1, 2, fold(0, 1)), {call{op: opLoad}, answer{serial: 1}}},
		"update after Shut":   {{call{op: opShut}, answer{}}, update(1, 2, fold(0, 1))},
		"refused without it":  {{call{op: opUpdate, id: 1}, answer{serial: 1}}},
		"change by keep":      {{call{op: opKeep}, answer{serial: 1, yes: true}}},
		"Shut forgotten":      {{call{op: opShut}, answer{}}, {call{op: opIsShut}, answer{}}},
		"signal without news": {{call{op: opSignal, seen: 1}, answer{yes: true}}},
		"await without news":  {{call{op: opAwait, seen: 1}, answer{serial: 1}}},
		"await missing news":  {update(1, 2, fold(0, 1)), {call{op: opAwait, seen: 1}, answer{err: errGaveUp}}},
		"await missing Shut":  {{call{op: opShut}, answer{}}, {call{op: opAwait, seen: 1}, answer{err: errGaveUp}}},
		"await inventing it":  {{call{op: opAwait, seen: 1}, answer{err: snapshot.ErrShut}}},
	} {
		var history []porcupine.Operation
		for i, s := range steps {
			history = append(history, porcupine.Operation{
				Input: s.call, Call: int64(2 * i), Output: s.answer, Return: int64(2*i + 1),
			})
		}
		require.False(t, porcupine.CheckOperations(cellModel, history), name)
	}
}
