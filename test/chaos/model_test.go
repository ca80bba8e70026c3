package chaos

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// record is a record as servers have it. The value is never empty: one without a value does not exist.
type record struct {
	value   string
	expires int64 // Unix time in seconds; 0: never
}

func (r record) exists() bool { return r.value != absent }

// row is the records of one hash key, by the index of their sort key in sortKeys. The last one is a
// counter.
type row [4]record

var sortKeys = [len(row{})][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("n")}

const (
	plainRecords = len(row{}) - 1 // those before the counter
	counter      = plainRecords
)

// at returns the row as it is seen at a time: without what has expired.
func (s row) at(now int64) row {
	for i := range s {
		if s[i].expires > 0 && s[i].expires <= now {
			s[i] = record{}
		}
	}
	return s
}

// lastExpiry is when the last record that expires does, 0 if none does.
func (s row) lastExpiry() (last int64) {
	for i := range s {
		last = max(last, s[i].expires)
	}
	return last
}

// times is when a server carries an operation out, by its clock, and when what is written then expires;
// both as in record.
type times struct{ now, expires int64 }

// operation is something that can be done to a row. Its two halves must agree: what the caller of
// perform sees is what the model says that it sees.
type operation struct {
	name   string
	write  bool
	fresh  string // the value that it writes, if it writes one
	ttl    int64  // how many seconds what it writes has to live; 0: for ever
	record int    // the index of the record, of operations in batches
	drops  bool   // it drops the whole table, so that not even a secondary knows what was there
	// perform does it, and describes what the caller sees.
	perform func(ctx context.Context, on database, hashKey []byte) (seen string, err error)
	// model is what the operation does to the row in one moment, and what the caller sees then.
	model func(row, times) (row, string)
}

// step is an operation of a history: the input of the model.
type step struct {
	hashKey string
	*operation
	stale            bool // a secondary may have answered
	called, returned instant
}

// instant is when a caller does something: the ticks of a history put in order what seconds do not.
type instant struct {
	tick   int64
	second int64 // Unix time
}

// expiries returns when what a step writes may expire, if it is carried out at the given time: the
// client has fixed that when it was called, in the same second or not much later.
func (s *step) expiries(now int64) (all []int64) {
	if s.ttl == 0 {
		return []int64{0}
	}
	for began := s.called.second; began <= min(s.returned.second, now); began++ {
		all = append(all, began+s.ttl)
	}
	return all
}

// unseen is what the caller of a write in doubt has seen.
const unseen = "?"

// forever is when an operation ended that has not: it may take effect at any time, or, which is the
// same to all who look, after everything else.
const forever = math.MaxInt64

// version is the state of the model: a row, and whether a stale read can be explained by it or by what it
// was before.
type version struct {
	row
	recalled bool
}

// model is that of a row, which changes in one moment per operation. The fake cluster promises that for one
// hash key, as real servers do, and not for several. There is one stale read at most: it may see what the
// row has been, and to know of each of several whether it has would make too many states.
type model struct {
	stale *porcupine.Operation // nil: none
}

// version returns what has become of another version, or of nothing.
func (m *model) version(r row, recalled bool) version {
	if m.stale != nil && !recalled {
		s := m.stale.Input.(step)
		recalled = r.explains(&s, m.stale.Output.(string))
	}
	return version{r, recalled}
}

func (m *model) porcupine() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{m.version(row{}, false)} },
		Step: func(state, input, output any) []any {
			v, s := state.(version), input.(step)
			switch {
			case s.write:
				return m.after(v, &s, output.(string))
			case s.stale && v.recalled, !s.stale && v.explains(&s, output.(string)):
				return []any{v}
			}
			return nil
		},
	}
	return model.ToModel()
}

// explains tells whether a read can have seen what it has. Who answers a stale one has the row of another
// time, but the same time.
func (s row) explains(read *step, seen string) bool {
	for now := read.called.second; now <= read.returned.second; now++ {
		if _, sees := read.model(s.at(now), times{now: now}); sees == seen {
			return true
		}
	}
	return false
}

// after returns what a row may be after a write that has seen what it has. One in doubt may be carried out
// later than its caller has waited; after the last record has expired, it comes to the same whenever.
func (m *model) after(v version, s *step, seen string) (versions []any) {
	latest := s.returned.second
	if seen == unseen {
		latest = max(latest, v.lastExpiry())
	}
	for now := s.called.second; now <= latest; now++ {
		for _, expires := range s.expiries(now) {
			after, sees := s.model(v.row.at(now), times{now, expires})
			if seen == unseen || sees == seen {
				versions = append(versions, m.version(after, v.recalled && !s.drops))
			}
		}
	}
	return versions
}

// byRow takes a history apart.
func byRow(history []porcupine.Operation) map[string][]porcupine.Operation {
	parts := make(map[string][]porcupine.Operation)
	for _, o := range history {
		hashKey := o.Input.(step).hashKey
		parts[hashKey] = append(parts[hashKey], o)
	}
	return parts
}

// explained tells whether the rows of a history can have done what was seen. Each row is checked by
// itself, so that a failure can name it.
func explained(history []porcupine.Operation, patience time.Duration) (verdict porcupine.CheckResult, culprit []porcupine.Operation) {
	deadline := time.Now().Add(patience)
	for _, part := range byRow(history) {
		if verdict, culprit = explainRow(part, deadline); verdict != porcupine.Ok {
			slices.SortFunc(culprit, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
			return verdict, culprit
		}
	}
	return porcupine.Ok, nil
}

// explainRow finds an order of the operations that are not stale, and then a place for each stale read, in
// that order if there is one.
func explainRow(history []porcupine.Operation, deadline time.Time) (porcupine.CheckResult, []porcupine.Operation) {
	var exact, stale []porcupine.Operation
	for _, o := range history {
		if o.Input.(step).stale {
			stale = append(stale, o)
		} else {
			exact = append(exact, o)
		}
	}
	verdict, order := search(&model{}, exact, history, deadline)
	if verdict != porcupine.Ok {
		return verdict, exact
	}
	for i := range stale {
		m := &model{&stale[i]}
		if m.fits(order) {
			continue
		}
		withOne := append(slices.Clone(exact), stale[i])
		if verdict, _ = search(m, withOne, history, deadline); verdict != porcupine.Ok {
			return verdict, withOne
		}
	}
	return porcupine.Ok, nil
}

// fits tells whether the stale read can be explained by the versions that an order makes before it must have
// ended.
func (m *model) fits(order []porcupine.Operation) bool {
	last := slices.IndexFunc(order, func(o porcupine.Operation) bool { return o.Call > m.stale.Return })
	if last < 0 {
		last = len(order)
	}
	model := m.porcupine()
	state := model.Init()
	for _, o := range append(slices.Clone(order[:last]), *m.stale) {
		var ok bool
		if ok, state = model.Step(state, o.Input, o.Output); !ok {
			return false
		}
	}
	return true
}

// search looks for an order of some operations of a history. It tries the few writes in doubt that
// certainly took place before it tries them all. What is explained without a write in doubt is explained
// with it as well, at the end, where nobody looks any more; but each write more may double the work.
func search(m *model, operations, history []porcupine.Operation, deadline time.Time) (verdict porcupine.CheckResult, order []porcupine.Operation) {
	text := new(strings.Builder)
	for _, o := range history {
		text.WriteString(o.Output.(string))
	}
	seen := text.String()
	for _, needed := range []func(step) bool{
		func(s step) bool { return s.fresh != "" && strings.Contains(seen, s.fresh) },
		func(s step) bool { return s.fresh == "" || strings.Contains(seen, s.fresh) },
		func(step) bool { return true },
	} {
		some := slices.DeleteFunc(slices.Clone(operations), func(o porcupine.Operation) bool {
			return o.Output == unseen && !needed(o.Input.(step))
		})
		if len(some) == 0 {
			return porcupine.Ok, nil
		}
		left := max(time.Until(deadline), time.Millisecond) // zero would mean no limit
		var info porcupine.LinearizationInfo
		if verdict, info = porcupine.CheckOperationsVerbose(m.porcupine(), some, left); verdict == porcupine.Ok {
			return verdict, info.PartialLinearizationsOperations()[0][0]
		}
	}
	return verdict, nil
}
