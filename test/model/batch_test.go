package model_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

func drawBatchOptions(t *rapid.T) *pegasus.BatchOptions {
	options := &pegasus.BatchOptions{ChunkItems: rapid.IntRange(0, 3).Draw(t, "chunk items")}
	if options.ChunkItems > 0 {
		options.Concurrency = 1 // which of several requests to one server comes first would be left to chance
	}
	return options
}

func (m *machine) batchGet(t *rapid.T) {
	keys := rapid.SliceOfN(rapid.Custom(drawKey), 1, 8).Draw(t, "keys")
	options := drawBatchOptions(t)
	m.run(t, operation{
		name: "batch get", kind: reading, on: keys[0].hashed(),
		call: func(ctx context.Context) (string, error) {
			results, err := m.table.BatchGet(ctx, m.lendKeys(keys), options)
			var text strings.Builder
			var errs []error
			for _, r := range results {
				answer, _ := inWords(found(m.keep(r.Value), r.Value != nil), r.Err)
				fmt.Fprintln(&text, answer)
				errs = append(errs, r.Err)
			}
			return text.String(), summedUp(err, errs)
		},
		effect: func(w *world, _ string) string {
			var text strings.Builder
			for _, k := range keys {
				answer := "not found"
				if r, ok := w.get(k); ok {
					answer = found(r.value, true)
				}
				fmt.Fprintln(&text, answer)
			}
			return text.String()
		},
	})
}

func (m *machine) lendKeys(keys []key) []pegasus.Key {
	lent := make([]pegasus.Key, len(keys))
	for i, k := range keys {
		lent[i] = pegasus.Key{HashKey: m.lend(k.hash), SortKey: m.lend(k.sort)}
	}
	return lent
}

var errSummary = errors.New("the error of a batch does not fit those of its items")

// summedUp returns the error of a batch, or nil if those of its items are answers. It checks that the
// batch's sums up the items'.
func summedUp(err error, items []error) error {
	var failed []int
	inDoubt, isFailure := 0, false
	for i, item := range items {
		if item == nil || errors.Is(item, pegasus.ErrNotFound) {
			continue
		}
		_, answered := inWords("", item)
		isFailure = isFailure || !answered
		failed = append(failed, i)
		if failureOf(item).Outcome == pegasus.InDoubt {
			inDoubt++
		}
	}
	var batch *pegasus.BatchError
	switch {
	case len(failed) == 0:
		return err
	case !errors.As(err, &batch), fmt.Sprint(batch.Failed) != fmt.Sprint(failed), batch.InDoubt != inDoubt, batch.Items != len(items):
		return fmt.Errorf("%w: %w", errSummary, err)
	case isFailure:
		return err
	}
	return nil
}

// write is a record to be written or, without a value, deleted.
type write struct {
	on    key
	value string
	ttl   time.Duration
	del   bool
}

func (w *world) write(c write) {
	if c.del {
		w.del(c.on)
	} else {
		w.put(c.on, c.value, w.expiry(c.ttl))
	}
}

func (m *machine) batchSet(t *rapid.T) {
	writes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) write {
		return write{on: drawKey(t), value: aValue.Draw(t, "value"), ttl: aTTL.Draw(t, "TTL")}
	}), 1, 5).Draw(t, "records")
	options := drawBatchOptions(t)
	m.batchWrite(t, "batch set", writes, func(ctx context.Context) ([]error, error) {
		records := make([]pegasus.BatchRecord, len(writes))
		for i, c := range writes {
			records[i] = pegasus.BatchRecord{HashKey: m.lend(c.on.hash), SortKey: m.lend(c.on.sort), Value: m.lend(c.value), TTL: c.ttl}
		}
		return m.table.BatchSet(ctx, records, options)
	})
}

func (m *machine) batchDel(t *rapid.T) {
	keys := rapid.SliceOfN(rapid.Custom(drawKey), 1, 5).Draw(t, "keys")
	options := drawBatchOptions(t)
	writes := make([]write, len(keys))
	for i, k := range keys {
		writes[i] = write{on: k, del: true}
	}
	m.batchWrite(t, "batch del", writes, func(ctx context.Context) ([]error, error) {
		return m.table.BatchDel(ctx, m.lendKeys(keys), options)
	})
}

// batchWrite writes records, of which each may fail by itself.
func (m *machine) batchWrite(t *rapid.T, name string, writes []write, call func(ctx context.Context) ([]error, error)) {
	var errs []error
	m.run(t, operation{
		name: name, kind: writing, on: writes[0].on.hashed(),
		call: func(ctx context.Context) (answer string, err error) {
			errs, err = call(ctx)
			return allInWords(errs), summedUp(err, errs)
		},
		effect: func(w *world, _ string) string {
			wants := make([]error, len(writes))
			for i, c := range writes {
				if wants[i] = invalidTTL(c.ttl); wants[i] == nil {
					w.write(c)
				}
			}
			return allInWords(wants)
		},
		partly: func(w *world, _ error) []*world {
			worlds := []*world{w.clone()}
			for i, c := range writes {
				worlds = afterWrite(worlds, c, errs[i])
			}
			return worlds
		},
	})
}

// afterWrite returns the worlds to which a write leads that ends with the given error.
func afterWrite(worlds []*world, c write, err error) (after []*world) {
	inDoubt := err != nil && failureOf(err).Outcome == pegasus.InDoubt
	for _, w := range worlds {
		if err != nil {
			after = append(after, w)
		}
		if err == nil || inDoubt {
			written := w.clone()
			written.write(c)
			after = append(after, written)
		}
	}
	return distinct(after)
}

func allInWords(errs []error) string {
	var text strings.Builder
	for _, err := range errs {
		answer, _ := inWords(done, err)
		fmt.Fprintln(&text, answer)
	}
	return text.String()
}
