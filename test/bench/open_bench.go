package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// openServer is what the open loop wants of its servers besides answers.
type openServer interface {
	used() (usage, error)
	slowDown(slow slowness) error
}

// foreignServer is a cluster that cannot be asked and is never slowed down.
type foreignServer struct{}

func (foreignServer) used() (usage, error) {
	return usage{CPUSeconds: number(notAvailable), Reads: number(notAvailable)}, nil
}

func (foreignServer) slowDown(slowness) error { return nil }

// openContender is a way of hedging under one condition of the servers, with a client of its own: what
// one has learnt of a slow server's latency is not what another goes by.
type openContender struct {
	hedging hedging
	slow    slowness
	bench   *bench
}

// openRun is one run of the open loop.
type openRun struct {
	settings   *settings
	server     openServer
	loop       *openLoop
	contenders []*openContender
	failure    error // of an operation
}

// runOpenLoop compares ways of hedging at fixed rates, without and with a slow server.
func runOpenLoop(s *settings, stdout, stderr io.Writer) (err error) {
	b := &openRun{settings: s, server: foreignServer{}}
	metas, table, conditions := []string{s.meta}, s.table, []slowness{nil}
	if s.meta == "" {
		server, startErr := startServer(s.servers, s.placement)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		metas, table, b.server = server.greeting.Meta, server.greeting.Table, server
		if s.open.slow != nil {
			conditions = append(conditions, s.open.slow)
		}
	}
	defer func() { err = errors.Join(err, b.closeClients()) }()
	for _, slow := range conditions {
		for _, h := range s.open.hedgings {
			if err := b.enter(h, slow, metas, table); err != nil {
				return err
			}
		}
	}
	alarm, err := newAlarm()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, alarm.close()) }()
	b.loop = &openLoop{limit: s.open.limit, sleep: alarm.sleep}
	return b.runAll(newReport(s, openColumns, stdout, stderr))
}

// enter adds a contender.
func (b *openRun) enter(h hedging, slow slowness, metas []string, table string) error {
	client, err := pegasus.Open(metas, h.options...)
	if err != nil {
		return err
	}
	c := &openContender{hedging: h, slow: slow, bench: &bench{client: client}} // closed in any case
	b.contenders = append(b.contenders, c)
	opened, err := openBench(b.settings, client, table)
	if err != nil {
		return err
	}
	c.bench = opened
	return opened.settle()
}

// settle writes all records once more: a secondary learns that a write is committed from the next one.
func (b *bench) settle() error { return b.fill(b.write) }

// runAll runs all rates and hands the rows to the report as they come.
func (b *openRun) runAll(r *report[openRow]) error {
	if err := r.header(b.describe()); err != nil {
		return err
	}
	for _, rate := range b.settings.open.rates {
		rounds, err := b.compete(rate)
		if err != nil {
			return err
		}
		for i, c := range b.contenders {
			if err := r.add(summarizeOpen(c, rate, rounds[i])); err != nil {
				return err
			}
		}
	}
	return b.failure
}

// compete lets contenders take turns, in reversed order every other round, and returns the slices of
// each. The arrivals of a round are the same for all. A slice that does not count comes first: it shows
// the clients how fast the nodes are.
func (b *openRun) compete(rate int) ([][]*openSlice, error) {
	rounds := make([][]*openSlice, len(b.contenders))
	for round := range b.settings.rounds + 1 {
		random := rand.New(rand.NewPCG(uint64(rate), uint64(round)))
		plan := b.settings.open.arrivals.make(rate, b.settings.duration, random)
		for turn := range b.contenders {
			i := turn
			if round%2 == 1 {
				i = len(b.contenders) - 1 - turn
			}
			s, err := b.measure(b.contenders[i], plan)
			if err != nil {
				return nil, err
			}
			if round > 0 {
				rounds[i] = append(rounds[i], s)
			}
		}
	}
	return rounds, nil
}

// measure runs one slice. Collected garbage is left behind before, and all counters are read around it.
func (b *openRun) measure(c *openContender, plan schedule) (*openSlice, error) {
	if err := b.server.slowDown(c.slow); err != nil {
		return nil, err
	}
	runtime.GC()
	before, err := b.server.used()
	if err != nil {
		return nil, err
	}
	hedges, won := c.hedges()
	cpu := processCPU()
	s, err := b.loop.run(plan, func(i int) error { return c.operate(i, b.settings.deadline) })
	if err != nil {
		return nil, err
	}
	s.cpu = processCPU() - cpu
	s.hedges, s.hedgesWon = c.hedges()
	s.hedges, s.hedgesWon = s.hedges-hedges, s.hedgesWon-won
	after, err := b.server.used()
	s.server = after.since(before)
	if s.failure != nil && b.failure == nil {
		b.failure = fmt.Errorf("%w (and perhaps others, see the rows)", s.failure)
	}
	return s, err
}

// operate is the operation of an arrival: a Get of one record after the other, in their random order.
func (c *openContender) operate(i int, deadline time.Duration) error {
	ctx := context.Background()
	if deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, deadline)
		defer cancel()
	}
	r := &c.bench.records[i%len(c.bench.records)]
	value, err := c.bench.table.Get(ctx, r.hashKey[:], r.sortKey[:])
	return check(value, r, err)
}

// hedges returns how many reads secondaries were asked for so far, and how many they answered first.
func (c *openContender) hedges() (asked, won uint64) {
	for _, op := range c.bench.client.Stats().Operations {
		asked, won = asked+op.Hedges, won+op.HedgesWon
	}
	return asked, won
}

// describe says in some lines what is measured, where and how.
func (b *openRun) describe() []string {
	s := b.settings
	common := describe(s, b.contenders[0].bench.client.Snapshot())
	return append(common[:len(common)-1],
		fmt.Sprintf("slow      %s of one server's answers to reads", orDash(s.open.slow.String())),
		fmt.Sprintf("method    open loop, %s arrivals, at most %d under way; %d x %v, all together",
			s.open.arrivals.name, s.open.limit, s.rounds, s.duration))
}

func (b *openRun) closeClients() error {
	var errs []error
	for _, c := range b.contenders {
		errs = append(errs, c.bench.client.Close())
	}
	return errors.Join(errs...)
}
