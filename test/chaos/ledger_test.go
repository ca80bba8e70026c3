package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// ledger is a workload: callers write records that nobody writes again, so that repeating a write in
// doubt changes nothing, and delete some of them for good. What was acknowledged must be there at any
// later time, whole, and what was not carried out must never be.
type ledger struct {
	mu      sync.Mutex
	entries []*entry
}

// entry is the records that one write wrote, of one hash key. mu guards what follows.
type entry struct {
	hashKey []byte
	records []pegasus.Record

	mu      sync.Mutex
	written ending
	deleted ending // tookNot as long as nobody tried
}

// ledgerSortKeys are the most records of one entry.
const ledgerSortKeys = 3

func (*ledger) callers() int { return 10 }

func (l *ledger) work(ctx context.Context, c *caller) {
	switch c.IntN(8) {
	case 0, 1, 2:
		l.write(ctx, c)
	case 3:
		l.delete(ctx, c)
	default:
		l.look(ctx, c)
	}
}

// write adds an entry. Entries that will be deleted are written by the client that repeats nothing:
// otherwise a first write could be carried out after the deletion.
func (l *ledger) write(ctx context.Context, c *caller) {
	ctx, cancel := c.patient(ctx)
	defer cancel()
	value := c.fresh()
	e := &entry{hashKey: []byte("entry " + value), deleted: tookNot}
	for i := range 1 + c.IntN(ledgerSortKeys) {
		e.records = append(e.records, pegasus.Record{SortKey: fmt.Appendf(nil, "%d", i), Value: fmt.Appendf(nil, "%s.%d", value, i)})
	}
	on := c.lenient
	if e.deletable() {
		on = c.strict
	}
	var err error
	if len(e.records) == 1 {
		err = on.Set(ctx, e.hashKey, e.records[0].SortKey, e.records[0].Value)
	} else {
		err = on.MultiSet(ctx, e.hashKey, e.records)
	}
	e.written = c.ended(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, e)
}

// deletable says whether the entry may be deleted.
func (e *entry) deletable() bool { return e.hashKey[len(e.hashKey)-1]%2 == 0 }

// any returns an entry that was written, or nil.
func (l *ledger) any(c *caller) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		return nil
	}
	return l.entries[c.IntN(len(l.entries))]
}

func (l *ledger) delete(ctx context.Context, c *caller) {
	e := l.any(c)
	if e == nil || !e.deletable() {
		return
	}
	e.mu.Lock() // keeps others from looking meanwhile, who could not know what to expect
	defer e.mu.Unlock()
	if e.deleted != tookNot {
		return
	}
	ctx, cancel := c.patient(ctx)
	defer cancel()
	e.deleted = e.delete(ctx, c)
}

// delete deletes the entry, all of it or nothing.
func (e *entry) delete(ctx context.Context, c *caller) ending {
	if len(e.records) == 1 && c.IntN(2) == 0 {
		// Of more than one record, some could be deleted and others not. The error is about the
		// last of several requests.
		_, err := c.strict.DelRange(ctx, e.hashKey, nil, nil, nil)
		if c.ended(err) == took {
			return took
		}
		return mayTake
	}
	var keys [][]byte
	for _, record := range e.records {
		keys = append(keys, record.SortKey)
	}
	_, err := c.strict.MultiDel(ctx, e.hashKey, keys)
	return c.ended(err)
}

func (l *ledger) look(ctx context.Context, c *caller) {
	e := l.any(c)
	if e == nil {
		return
	}
	ctx, cancel := c.patient(ctx)
	defer cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	on, stale := c.lenient, false
	if c.hedged != nil && c.IntN(2) == 0 {
		on, stale = c.hedged, true
	}
	got, err := e.read(ctx, on)
	if c.ended(err) == took && err == nil {
		e.judge(c, got, stale)
	}
}

// read returns the records of an entry.
func (e *entry) read(ctx context.Context, on database) ([]pegasus.Record, error) {
	result, err := on.MultiGetRange(ctx, e.hashKey, nil, nil, nil)
	switch {
	case err != nil:
		return nil, err
	case !result.Complete:
		return nil, errPartial
	}
	return result.Records, nil
}

// judge compares what was read with what may be there: all of the entry, or nothing. A stale read may not
// know yet that it was written, or deleted.
func (e *entry) judge(c *caller, got []pegasus.Record, stale bool) {
	whole := slices.EqualFunc(got, e.records, func(a, b pegasus.Record) bool {
		return showRecords([]pegasus.Record{a}) == showRecords([]pegasus.Record{b})
	})
	switch {
	case len(got) == 0 && e.written == took && e.deleted == tookNot && !stale:
		c.findings.add("ledger: %s was acknowledged and is lost", e.hashKey)
	case len(got) == 0:
	case !whole:
		c.findings.add("ledger: %s is %s instead of %s", e.hashKey, showRecords(got), showRecords(e.records))
	case e.written == tookNot:
		c.findings.add("ledger: %s was not written, says the client, but is there", e.hashKey)
	case e.deleted == took && e.written == took && !stale:
		c.findings.add("ledger: %s was deleted but is there", e.hashKey)
	}
}

func (l *ledger) check(ctx context.Context, c *caller) {
	for _, e := range l.entries {
		got, err := e.read(ctx, c.lenient)
		if err != nil {
			c.findings.add("ledger: the cluster works, but: %v", err)
			return
		}
		e.judge(c, got, false)
	}
}
