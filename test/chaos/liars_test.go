package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// More defects, of clients and of the cluster: those in what is about stale reads, time, and tables made
// anew.

// keenly hedges reads whenever it can.
var keenly = pegasus.WithHedgedReads(pegasus.Hedging{Delay: time.Millisecond, MaxExtraLoad: 1, Burst: 1_000_000})

// hedgesSecretly has a client hedge whose reads must not be stale.
func hedgesSecretly(a *arena) {
	for i := range a.users {
		u := &a.users[i]
		a.open(rand.New(rand.NewPCG(1, 1)), &u.strict, &u.remade.strict, pegasus.WithRetryDoubtfulWrites(false), keenly)
	}
}

// byHedging has the clients lie whose reads may be stale, and others not.
func byHedging(lie func(database) database) func(a *arena) {
	return func(a *arena) {
		for i := range a.users {
			u := &a.users[i]
			a.open(rand.New(rand.NewPCG(1, 1)), &u.hedged, &u.remade.hedged, pegasus.WithRetryDoubtfulWrites(false), keenly)
			u.hedged = lie(u.hedged)
		}
	}
}

// nothing is the lie of no client.
func nothing(*arena) {}

// invents reads values that nobody wrote.
type invents struct{ database }

func (d invents) Get(ctx context.Context, hashKey, sortKey []byte, options ...pegasus.ReadOption) ([]byte, error) {
	value, err := d.database.Get(ctx, hashKey, sortKey, options...)
	return append(value, '!'), err
}

// compares evaluates a condition on what it reads, which may be stale.
type compares struct{ database }

func (d compares) CompareExchange(ctx context.Context, hashKey, sortKey, expected, desired []byte, options ...pegasus.WriteOption) (bool, []byte, error) {
	value, err := d.database.Get(ctx, hashKey, sortKey)
	switch {
	case errors.Is(err, pegasus.ErrNotFound):
		value = nil
	case err != nil:
		return false, nil, &pegasus.Error{Outcome: pegasus.NotSent, Err: err}
	}
	if string(value) != string(expected) {
		return false, value, nil
	}
	return true, value, d.database.Set(ctx, hashKey, sortKey, desired, options...)
}

// halves reads one record of several.
type halves struct{ database }

func (d halves) MultiGetRange(ctx context.Context, hashKey, start, stop []byte, options *pegasus.RangeOptions) (*pegasus.RangeResult, error) {
	result, err := d.database.MultiGetRange(ctx, hashKey, start, stop, options)
	if err == nil && len(result.Records) > 1 {
		result.Records = result.Records[:1]
	}
	return result, err
}

// forgetsTTLs writes records that stay.
type forgetsTTLs struct{ database }

func (d forgetsTTLs) Set(ctx context.Context, hashKey, sortKey, value []byte, _ ...pegasus.WriteOption) error {
	return d.database.Set(ctx, hashKey, sortKey, value)
}

func (d forgetsTTLs) MultiSet(ctx context.Context, hashKey []byte, records []pegasus.Record, _ ...pegasus.WriteOption) error {
	return d.database.MultiSet(ctx, hashKey, records)
}

// shortens writes records that stay for a second.
type shortens struct{ database }

func (d shortens) Set(ctx context.Context, hashKey, sortKey, value []byte, options ...pegasus.WriteOption) error {
	return d.database.Set(ctx, hashKey, sortKey, value, append(options, pegasus.WithTTL(time.Second))...)
}

func (d shortens) MultiSet(ctx context.Context, hashKey []byte, records []pegasus.Record, options ...pegasus.WriteOption) error {
	return d.database.MultiSet(ctx, hashKey, records, append(options, pegasus.WithTTL(time.Second))...)
}

// misreads tells of a second more than records have to live.
type misreads struct{ database }

func (d misreads) TTL(ctx context.Context, hashKey, sortKey []byte, options ...pegasus.ReadOption) (time.Duration, bool, error) {
	left, expires, err := d.database.TTL(ctx, hashKey, sortKey, options...)
	return left + time.Second, expires, err
}

// pleases acknowledges writes for which there is no table.
type pleases struct{ database }

func (d pleases) Set(ctx context.Context, hashKey, sortKey, value []byte, options ...pegasus.WriteOption) error {
	return pleased(d.database.Set(ctx, hashKey, sortKey, value, options...))
}

func (d pleases) MultiSet(ctx context.Context, hashKey []byte, records []pegasus.Record, options ...pegasus.WriteOption) error {
	return pleased(d.database.MultiSet(ctx, hashKey, records, options...))
}

func pleased(err error) error {
	if errors.Is(err, pegasus.ErrNoSuchTable) {
		return nil
	}
	return err
}

// tardy has a table that is away for longer than usual.
func tardy(a *arena) workload {
	w := newRemade(a)
	create := w.create
	w.create = func(partitions int) error {
		time.Sleep(2 * gap)
		return create(partitions)
	}
	return w
}

// undropped has a table that is only said to be made anew.
func undropped(a *arena) workload {
	w := newRemade(a)
	w.drop = func() error { return nil }
	w.create = func(int) error { return nil }
	return w
}

// sparing has a table of which some records are there again when it is made anew.
func sparing(a *arena) workload {
	w := newRemade(a)
	drop, create := w.drop, w.create
	var spared []pegasus.ScanRecord
	w.drop = func() error {
		spared = nil
		for i := range fewRows {
			hashKey := []byte(w.row(i))
			if value, ok := a.Peek(remadeName, hashKey, sortKeys[0]); ok {
				spared = append(spared, pegasus.ScanRecord{HashKey: hashKey, SortKey: sortKeys[0], Value: value})
			}
		}
		return drop()
	}
	w.create = func(partitions int) error {
		return errors.Join(create(partitions), a.Load(remadeName, len(spared), func(i int) (hashKey, sortKey, value []byte) {
			return spared[i].HashKey, spared[i].SortKey, spared[i].Value
		}))
	}
	return w
}

// lagging is a while in which secondaries lag and are asked for what primaries are slow to tell.
func lagging() []event {
	return []event{
		{lasts: 2 * spell, fault: named("secondaries lag")},
		{lasts: 2 * spell, fault: named("slow primaries"), all: true},
	}
}

// aSecond is a little more than that: some records expire meanwhile.
func aSecond() []event { return []event{{lasts: 1300 * time.Millisecond, fault: named("duplicate")}} }
