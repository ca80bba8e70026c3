package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// bench is one run of the benchmark against one table.
type bench struct {
	settings *settings
	meter    meter
	client   *pegasus.Client
	table    *pegasus.Table
	records  []record
}

// openBench opens the table and fills it.
func openBench(s *settings, client *pegasus.Client, table string) (*bench, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b := &bench{settings: s, client: client, records: newRecords(s.records, s.valueSize)}
	var err error
	if b.table, err = client.OpenTable(ctx, table); err != nil {
		return nil, err
	}
	return b, b.fill(b.write)
}

func (b *bench) write(r *record) error {
	return b.table.Set(context.Background(), r.hashKey[:], r.sortKey[:], r.value)
}

// fillers is how many goroutines write the records at the beginning.
const fillers = 64

// fill writes every record.
func (b *bench) fill(write func(r *record) error) error {
	var running sync.WaitGroup
	errs := make([]error, fillers)
	for i := range fillers {
		running.Go(func() {
			for j := i; j < len(b.records) && errs[i] == nil; j += fillers {
				errs[i] = write(&b.records[j])
			}
		})
	}
	running.Wait()
	if err := firstOf(errs); err != nil {
		return fmt.Errorf("cannot write the records: %w", err)
	}
	return nil
}

// runAll compares everything and hands the rows to the report as they come.
func (b *bench) runAll(r *report[row]) error {
	for _, group := range groups(b.settings.operations) {
		if err := b.runGroup(group, r); err != nil {
			return err
		}
	}
	return nil
}

// groups splits operations by kind.
func groups(operations []operation) [][]operation {
	var result [][]operation
	for _, op := range operations {
		last := len(result) - 1
		if last >= 0 && result[last][0].kind == op.kind {
			result[last] = append(result[last], op)
		} else {
			result = append(result, []operation{op})
		}
	}
	return result
}

// runGroup compares operations of one kind with their floor.
func (b *bench) runGroup(group []operation, r *report[row]) (err error) {
	k := group[0].kind
	if k.prepare != nil {
		if err := k.prepare(b); err != nil {
			return err
		}
	}
	base, err := b.newFloor(k)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.close()) }()
	contenders := []contender{base}
	for _, op := range group {
		c := b.contender(op)
		if bare, ok := base.(*floor); ok && op.woken {
			c = &woken{bare}
		}
		contenders = append(contenders, c)
	}
	for _, callers := range b.callersOf(k) {
		rounds, err := b.compete(contenders, callers)
		if err != nil {
			return err
		}
		for i, c := range contenders {
			line := summarize(c.name(), callers, rounds[i], rounds[0])
			line.MegabytesPerSecond = line.PerSecond * number(base.bytesPerOperation()/1e6)
			if err := r.add(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// newFloor makes the floor for operations of a kind.
func (b *bench) newFloor(k *kind) (base, error) {
	if k.newFloor != nil {
		return k.newFloor(b)
	}
	return newFloor(k, b.routing(), b.records)
}

// callersOf returns the numbers of callers that operations of a kind are measured with.
func (b *bench) callersOf(k *kind) []int {
	if k.callers != nil {
		return k.callers
	}
	return b.settings.callers
}

// routing returns what the client knows of the table. It has no other open.
func (b *bench) routing() pegasus.TableSnapshot { return b.client.Snapshot().Tables[0] }

func (b *bench) contender(op operation) contender {
	if op.scanner != nil {
		return &scanning{scanner: op.scanner(b), title: op.name}
	}
	return &callers{operation: op, table: b.table, records: b.records, deadline: b.settings.deadline}
}

// compete lets contenders take turns, after a warm-up, and returns the slices of each. The order is
// reversed every other round, so that a machine that grows slower or faster favours nobody.
func (b *bench) compete(contenders []contender, callers int) ([][]*slice, error) {
	for _, c := range contenders {
		if _, err := b.meter.measure(c, callers, b.settings.warmUp); err != nil {
			return nil, err
		}
	}
	rounds := make([][]*slice, len(contenders))
	for round := range b.settings.rounds {
		for turn := range contenders {
			i := turn
			if round%2 == 1 {
				i = len(contenders) - 1 - turn
			}
			s, err := b.meter.measure(contenders[i], callers, b.settings.duration)
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], s)
		}
	}
	return rounds, nil
}

// profile runs every operation once more and writes the CPU profile of that. It is not part of the
// comparison, which it would distort, and without the floor, which would dilute it.
func (b *bench) profile(file string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := pprof.StartCPUProfile(out); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	for _, op := range b.settings.operations {
		if op.woken {
			continue
		}
		for _, callers := range b.callersOf(op.kind) {
			if _, err := b.meter.measure(b.contender(op), callers, b.settings.duration); err != nil {
				return err
			}
		}
	}
	return nil
}
