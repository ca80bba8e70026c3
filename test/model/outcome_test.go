package model_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// inWords puts an answer in words. Errors are answers if the server executed the operation and refused it
// for what the table holds, or the client for its arguments; others say nothing about the table.
func inWords(answer string, err error) (text string, answered bool) {
	if err == nil {
		return answer, true
	}
	if err == pegasus.ErrNotFound { //nolint:errorlint // it must not be wrapped
		return "not found", true
	}
	var batch *pegasus.BatchError
	if errors.As(err, &batch) {
		return err.Error(), false
	}
	var overflow *pegasus.OverflowError
	if errors.As(err, &overflow) {
		return fmt.Sprintf("overflow %d + %d", overflow.Value, overflow.Increment), true
	}
	for _, known := range []error{
		pegasus.ErrNotInteger, pegasus.ErrNotCounted, pegasus.ErrInvalidArgument, pegasus.ErrInvalidTTL, pegasus.ErrHashKeyEmpty,
	} {
		if errors.Is(err, known) {
			return known.Error(), true
		}
	}
	return err.Error(), false
}

// agree keeps the worlds in which the operation has the given answer.
func (m *machine) agree(t *rapid.T, op operation, answer string) {
	var agreeing []*world
	var wants []string
	for _, w := range m.worlds {
		after := w.clone()
		if want := op.effect(after, answer); want == answer {
			agreeing = append(agreeing, after)
		} else {
			wants = append(wants, want)
		}
	}
	if len(agreeing) == 0 {
		t.Fatalf("%s was answered\n%s\nand should be\n%s", op.name, answer, strings.Join(wants, "\nor "))
	}
	m.worlds = distinct(agreeing)
}

// tolerate is for operations that failed. Those in doubt were executed or not, others were not.
func (m *machine) tolerate(t *rapid.T, op operation, err error, excuse excuse) {
	require.NotErrorIs(t, err, errSummary)
	repeatable := op.kind == reading || op.kind == writing && m.repeats
	inDoubt := false
	for _, failure := range failures(err) {
		require.Contains(t, append(op.inner, op.name), failure.Operation)
		doubt := failure.Outcome == pegasus.InDoubt
		if excuse == noExcuse || excuse == doubtExcuse && (repeatable || !doubt) {
			t.Fatalf("%s failed without need", op.name) // why is in the log: it differs from run to run
		}
		inDoubt = inDoubt || doubt
	}
	var worlds []*world
	for _, w := range m.worlds {
		switch {
		case op.partly != nil:
			worlds = append(worlds, op.partly(w, err)...)
		case op.kind != reading && inDoubt:
			after := w.clone()
			op.effect(after, "")
			worlds = append(worlds, w, after)
		default:
			worlds = append(worlds, w)
		}
	}
	m.worlds = distinct(worlds)
}

// failures returns the failures behind an error, at least one, that are no answers.
func failures(err error) []*pegasus.Error {
	var batch *pegasus.BatchError
	if !errors.As(err, &batch) {
		return []*pegasus.Error{failureOf(err)}
	}
	var all []*pegasus.Error
	for _, cause := range batch.Unwrap() {
		if _, answered := inWords("", cause); !answered {
			all = append(all, failureOf(cause))
		}
	}
	return all
}

// failureOf returns the *pegasus.Error that every failure must be.
func failureOf(err error) *pegasus.Error {
	var failure *pegasus.Error
	if !errors.As(err, &failure) {
		return &pegasus.Error{Operation: fmt.Sprintf("not a failure, but %T", err)}
	}
	return failure
}
