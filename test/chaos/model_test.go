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

// The records of one hash key, by the index of their sort key in sortKeys; "" for one that does not
// exist. Values are never empty. The last one is a counter.
type row [4]string

var sortKeys = [len(row{})][]byte{[]byte("a"), []byte("b"), []byte("c"), []byte("n")}

const (
	plainRecords = len(row{}) - 1 // those before the counter
	counter      = plainRecords
)

// operation is something that can be done to a row. Its two halves must agree: what the caller of
// perform sees is what the model says that it sees.
type operation struct {
	name   string
	write  bool
	fresh  string // the value that it writes, if it writes one
	record int    // the index of the record, of operations in batches
	// perform does it, and describes what the caller sees.
	perform func(ctx context.Context, on database, hashKey []byte) (seen string, err error)
	// model is what the operation does to the row in one moment, and what the caller sees then.
	model func(row) (row, string)
}

// step is an operation of a history: the input of the model.
type step struct {
	hashKey string
	*operation
}

// unseen is what the caller of a write in doubt has seen.
const unseen = "?"

// forever is when an operation ended that has not: it may take effect at any time, or, which is the
// same to all who look, after everything else.
const forever = math.MaxInt64

// rows is the model of a table: rows, each of which changes in one moment per operation. The fake
// cluster promises that for one hash key, as real servers do, and not for several.
var rows = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byRow := make(map[string][]porcupine.Operation)
		for _, o := range history {
			hashKey := o.Input.(step).hashKey
			byRow[hashKey] = append(byRow[hashKey], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range byRow {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return row{} },
	Step: func(state, input, output any) (bool, any) {
		after, seen := input.(step).model(state.(row))
		return output == unseen || output == seen, after
	},
}

// explained tells whether the rows of a history can have done what was seen. Each row is checked by
// itself, so that a failure can name it.
func explained(history []porcupine.Operation, patience time.Duration) (verdict porcupine.CheckResult, culprit []porcupine.Operation) {
	deadline := time.Now().Add(patience)
	for _, part := range rows.Partition(history) {
		if verdict = explainRow(part, deadline); verdict != porcupine.Ok {
			slices.SortFunc(part, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
			return verdict, part
		}
	}
	return porcupine.Ok, nil
}

// explainRow tries the few writes in doubt that certainly took place before it tries them all. What is
// explained without a write in doubt is explained with it as well, at the end, where nobody looks any
// more; but each write more may double the work.
func explainRow(history []porcupine.Operation, deadline time.Time) (verdict porcupine.CheckResult) {
	seen := new(strings.Builder)
	for _, o := range history {
		seen.WriteString(o.Output.(string))
	}
	for _, needed := range []func(step) bool{
		func(s step) bool { return s.fresh != "" && strings.Contains(seen.String(), s.fresh) },
		func(s step) bool { return s.fresh == "" || strings.Contains(seen.String(), s.fresh) },
		func(step) bool { return true },
	} {
		some := slices.DeleteFunc(slices.Clone(history), func(o porcupine.Operation) bool {
			return o.Output == unseen && !needed(o.Input.(step))
		})
		left := max(time.Until(deadline), time.Millisecond) // zero would mean no limit
		if verdict = porcupine.CheckOperationsTimeout(rows, some, left); verdict == porcupine.Ok {
			return verdict
		}
	}
	return verdict
}
