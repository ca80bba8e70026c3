package chaos

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// The checks are worth what they find. Here a client with one defect is put between the callers and
// the table, and the workload that is to notice must do so.

// doubtful tells whether an operation is in doubt.
func doubtful(err error) bool {
	out, _ := outcome(err)
	return err != nil && out == pegasus.InDoubt
}

// resendsIncr repeats an Incr that is in doubt.
type resendsIncr struct{ database }

func (d resendsIncr) Incr(ctx context.Context, hashKey, sortKey []byte, increment int64, options ...pegasus.IncrOption) (int64, error) {
	sum, err := d.database.Incr(ctx, hashKey, sortKey, increment, options...)
	for tries := 0; doubtful(err) && tries < 3; tries++ {
		sum, err = d.database.Incr(context.Background(), hashKey, sortKey, increment, options...)
	}
	return sum, err
}

// denies says of writes in doubt that they were never sent.
type denies struct{ database }

func (d denies) Set(ctx context.Context, hashKey, sortKey, value []byte, options ...pegasus.WriteOption) error {
	return denied(d.database.Set(ctx, hashKey, sortKey, value, options...))
}

func (d denies) MultiSet(ctx context.Context, hashKey []byte, records []pegasus.Record, options ...pegasus.WriteOption) error {
	return denied(d.database.MultiSet(ctx, hashKey, records, options...))
}

func denied(err error) error {
	if doubtful(err) {
		return &pegasus.Error{Outcome: pegasus.NotSent, Err: err}
	}
	return err
}

// boasts says of writes in doubt that they were carried out.
type boasts struct{ database }

func (d boasts) Set(ctx context.Context, hashKey, sortKey, value []byte, options ...pegasus.WriteOption) error {
	return boasted(d.database.Set(ctx, hashKey, sortKey, value, options...))
}

func (d boasts) MultiSet(ctx context.Context, hashKey []byte, records []pegasus.Record, options ...pegasus.WriteOption) error {
	return boasted(d.database.MultiSet(ctx, hashKey, records, options...))
}

func (d boasts) BatchSet(ctx context.Context, records []pegasus.BatchRecord, options *pegasus.BatchOptions) ([]error, error) {
	errs, err := d.database.BatchSet(ctx, records, options)
	for i := range errs {
		errs[i] = boasted(errs[i])
	}
	return errs, err
}

func boasted(err error) error {
	if doubtful(err) {
		return nil
	}
	return err
}

// remembers answers every other Get with what the one before brought.
type remembers struct {
	database
	values *sync.Map
}

func (d remembers) Get(ctx context.Context, hashKey, sortKey []byte, options ...pegasus.ReadOption) ([]byte, error) {
	key := name(hashKey, sortKey)
	if value, ok := d.values.LoadAndDelete(key); ok {
		return value.([]byte), nil
	}
	value, err := d.database.Get(ctx, hashKey, sortKey, options...)
	if err == nil {
		d.values.Store(key, value)
	}
	return value, err
}

// tears reads several records one by one.
type tears struct{ database }

func (d tears) MultiGet(ctx context.Context, hashKey []byte, sortKeys [][]byte, options *pegasus.MultiGetOptions) (*pegasus.MultiGetResult, error) {
	torn := &pegasus.MultiGetResult{Complete: true}
	for _, sortKey := range sortKeys {
		value, err := d.database.Get(ctx, hashKey, sortKey)
		time.Sleep(2 * time.Millisecond)
		switch {
		case err == nil:
			torn.Records = append(torn.Records, pegasus.Record{SortKey: sortKey, Value: value})
		case !errors.Is(err, pegasus.ErrNotFound):
			return nil, err
		}
	}
	return torn, nil
}

// skips ends scans a record early; repeats returns a record twice.
type skips struct{ database }

func (d skips) ScanTable(ctx context.Context, options *pegasus.ScanOptions) iter.Seq2[pegasus.ScanRecord, error] {
	return func(yield func(pegasus.ScanRecord, error) bool) {
		left := populationAtFirst - 1
		for record, err := range d.database.ScanTable(ctx, options) {
			if strings.HasPrefix(string(record.SortKey), "stays") {
				left--
			}
			if left < 0 || !yield(record, err) {
				return
			}
		}
	}
}

type repeats struct{ database }

func (d repeats) ScanTable(ctx context.Context, options *pegasus.ScanOptions) iter.Seq2[pegasus.ScanRecord, error] {
	return func(yield func(pegasus.ScanRecord, error) bool) {
		first := true
		for record, err := range d.database.ScanTable(ctx, options) {
			if first && !yield(record, err) || !yield(record, err) {
				return
			}
			first = false
		}
	}
}

// lies are the defects, and what must be found of each by the workload that is to notice.
var lies = map[string]struct {
	tell     func(a *arena)
	workload func(a *arena) workload
	events   []event
	found    string
}{
	"resends incr in doubt":     {byAll(func(d database) database { return resendsIncr{d} }), aCounters, doubts(), "counters: counter"},
	"denies writes":             {byAll(func(d database) database { return denies{d} }), aLedger, doubts(), "was not written, says the client, but is there"},
	"denies writes, in history": {byAll(func(d database) database { return denies{d} }), aHistory, doubts(), unexplained},
	"boasts of writes":          {byAll(func(d database) database { return boasts{d} }), aLedger, doubts(), "was acknowledged and is lost"},
	"boasts of writes, history": {byAll(func(d database) database { return boasts{d} }), aHistory, doubts(), unexplained},
	"reads what it remembers":   {byAll(func(d database) database { return remembers{d, new(sync.Map)} }), aHistory, calm(), unexplained},
	"reads records one by one":  {byAll(func(d database) database { return tears{d} }), aHistory, calm(), unexplained},
	"skips a record in scans":   {byAll(func(d database) database { return skips{d} }), aScans, doubts(), "scans: the last scan ended without"},
	"returns a record twice":    {byAll(func(d database) database { return repeats{d} }), aScans, doubts(), "twice"},

	"hedges, not saying so":      {hedgesSecretly, aHistory, lagging(), unexplained},
	"invents what it hedges":     {byHedging(func(d database) database { return invents{d} }), aHistory, calm(), unexplained},
	"hedges conditions":          {byHedging(func(d database) database { return compares{d} }), aHistory, lagging(), unexplained},
	"hedges half of an entry":    {byHedging(func(d database) database { return halves{d} }), aLedger, calm(), "instead of"},
	"forgets TTLs":               {byAll(func(d database) database { return forgetsTTLs{d} }), aFleeting, aSecond(), unexplained},
	"lets records expire early":  {byAll(func(d database) database { return shortens{d} }), aFleeting, aSecond(), unexplained},
	"tells the wrong TTL":        {byAll(func(d database) database { return misreads{d} }), aFleeting, calm(), unexplained},
	"acknowledges to no table":   {byAll(func(d database) database { return pleases{d} }), tardy, aSecond(), unexplained},
	"a drop that drops nothing":  {nothing, undropped, calm(), unexplained},
	"a drop that spares records": {nothing, sparing, calm(), unexplained},
}

const unexplained = "histories: no order"

func aCounters(*arena) workload { return newCounters() }
func aLedger(*arena) workload   { return &ledger{} }
func aHistory(*arena) workload  { return contended() }
func aFleeting(*arena) workload { return fleeting() }
func aScans(a *arena) workload  { return populated(a) }

// byAll has all clients lie.
func byAll(lie func(database) database) func(a *arena) {
	return func(a *arena) { a.each(func(handle *database) { *handle = lie(*handle) }) }
}

// named returns a fault by its name.
func named(name string) *fault {
	i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
	return &faults[i]
}

// calm is a while in which hardly anything happens.
func calm() []event { return []event{{lasts: spell, fault: named("duplicate")}} }

// doubts are faults that leave writes in doubt, of which some were carried out and some not.
func doubts() (events []event) {
	for i := range 12 {
		cause := named([]string{"close after", "drop requests", "drop replies"}[i%3])
		events = append(events, event{at: time.Duration(i) * moment / 2, lasts: moment, fault: cause, all: true})
	}
	return events
}

// chances are how many runs a lie may take to come out: what is hardly noticed once is noticed in the end.
const chances = 6

func TestChecksFindLies(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			a := newArena(t, 1, networkOf(1))
			lie.tell(a)
			for seed := range uint64(chances) {
				a.run(1+seed, lie.events, lie.workload(a))
				if len(a.findings.all()) > 0 {
					break
				}
			}
			require.Contains(t, strings.Join(a.findings.all(), "\n"), lie.found, a.tally.String())
		})
	}
}

// Without a lie there is nothing to find.
func TestChecksFindNothing(t *testing.T) {
	a := newArena(t, 2, networkOf(2))
	a.run(1, doubts(), allWorkloads(a)...)
	require.Empty(t, a.findings.all())
	require.NotZero(t, a.tally.inDoubt.Load())
}
