package model_test

import (
	"context"
	"errors"
	"fmt"

	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// delRange deletes a range batch by batch. If it fails, it has deleted as many records as its error says,
// from the beginning of the range, and in doubt a batch more.
func (m *machine) delRange(t *rapid.T) {
	hash, s := aHashKeyOfSeveral.Draw(t, "hash key"), drawSpan(t)
	batch := rapid.IntRange(1, 3).Draw(t, "batch size")
	m.run(t, operation{
		name: "del range", inner: []string{"scan", "multi del"}, kind: writing, on: hashed(hash), excuse: m.outOfTime(),
		call: func(ctx context.Context) (string, error) {
			deleted, err := m.table.DelRange(ctx, m.lend(hash), m.lend(s.start), m.lend(s.stop), &pegasus.DelRangeOptions{
				StartExclusive: s.startExclusive, StopInclusive: s.stopInclusive,
				SortKeyFilter: pegasus.Filter{Type: s.filter, Pattern: m.lend(s.pattern)}, BatchSize: batch,
			})
			return fmt.Sprint(deleted), err
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(hash), invalidFilter(s.filter)); isRefused {
				return want
			}
			return fmt.Sprint(w.delFirst(hash, &s, -1))
		},
		partly: func(w *world, err error) []*world {
			var partly *pegasus.DelRangeError
			if !errors.As(err, &partly) || !fits(partly, w.in(hash, &s)) {
				return nil
			}
			after := w.clone()
			after.delFirst(hash, &s, int(partly.Deleted))
			if failureOf(err).Outcome != pegasus.InDoubt {
				return []*world{after}
			}
			further := after.clone()
			further.delFirst(hash, &s, batch)
			return []*world{after, further}
		},
	})
}

// fits says whether an error tells how far a range was deleted.
func fits(err *pegasus.DelRangeError, all []entry) bool {
	switch deleted := int(err.Deleted); {
	case deleted == 0:
		return err.NextSortKey == nil
	case deleted < len(all):
		return err.NextSortKey != nil && string(err.NextSortKey) == all[deleted].sortKey
	}
	return false
}

// delFirst deletes the first records of a range, all if most is negative, and returns how many there were.
func (w *world) delFirst(hash string, s *span, most int) (deleted int) {
	for _, e := range w.in(hash, s) {
		if deleted == most {
			break
		}
		w.del(key{hash, e.sortKey})
		deleted++
	}
	return deleted
}

// outOfTime excuses scans while servers run out of time: those that meet nothing to be found do not come
// past it.
func (m *machine) outOfTime() excuse {
	if m.limited {
		return anyExcuse
	}
	return noExcuse
}
