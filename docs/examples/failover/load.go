package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// load is the work of all callers and what came of it.
type load struct {
	settings   settings
	name       uint32 // tells the records of this run from those of others
	table      *pegasus.Table
	callers    []*caller
	background sync.WaitGroup

	failures atomic.Uint32 // operations that returned an error
	lost     atomic.Uint32 // reads that did not see the last acknowledged write
	written  atomic.Uint32 // writes acknowledged

	mu       sync.Mutex
	examples []string // the first failures, for the summary
}

// caller works on records of its own, one operation at a time, so that it knows what each must hold.
type caller struct {
	load  *load
	index int
	acked []uint64 // version of each record's last acknowledged write; 0: none
	doubt []uint64 // version of a later write whose outcome is unknown; 0: none

	mu    sync.Mutex // guards times, which the display takes away
	times *hdrhistogram.Histogram
}

// keep is how long the records of a run stay.
const keep = time.Hour

const (
	longestTime   = int64(time.Minute / time.Microsecond)
	timePrecision = 3
)

func newTimes() *hdrhistogram.Histogram { return hdrhistogram.New(1, longestTime, timePrecision) }

func newLoad(s settings, table *pegasus.Table) *load {
	l := &load{settings: s, name: rand.Uint32(), table: table}
	for i := range s.callers {
		l.callers = append(l.callers, &caller{
			load: l, index: i, acked: make([]uint64, s.keys), doubt: make([]uint64, s.keys), times: newTimes(),
		})
	}
	return l
}

// run lets every caller work until ctx ends, and waits for them.
func (l *load) run(ctx context.Context) {
	var working sync.WaitGroup
	for _, c := range l.callers {
		working.Go(func() {
			for ctx.Err() == nil {
				key := rand.IntN(l.settings.keys)
				if rand.Float64() < l.settings.readShare {
					c.read(key)
				} else {
					c.write(key)
				}
			}
		})
	}
	working.Wait()
	l.background.Wait()
}

// verify reads every record back.
func (l *load) verify(ctx context.Context) {
	var working sync.WaitGroup
	for _, c := range l.callers {
		working.Go(func() {
			for key := 0; key < l.settings.keys && ctx.Err() == nil; key++ {
				c.read(key)
			}
		})
	}
	working.Wait()
}

func (c *caller) key(key int) []byte {
	return fmt.Appendf(nil, "run %08x caller %d record %d", c.load.name, c.index, key)
}

// timed runs one operation. Its context is not the load's: an operation under way when the load ends
// is allowed to end well.
func (c *caller) timed(operation func(context.Context) error) error {
	began := time.Now()
	err := operation(context.Background())
	took := time.Since(began).Microseconds()
	c.mu.Lock()
	_ = c.times.RecordValue(min(max(took, 1), longestTime))
	c.mu.Unlock()
	return err
}

func (c *caller) write(key int) {
	version := max(c.acked[key], c.doubt[key]) + 1
	value := make([]byte, c.load.settings.valueSize)
	binary.BigEndian.PutUint64(value, version)
	binary.BigEndian.PutUint64(value[8:], uint64(c.index))
	err := c.timed(func(ctx context.Context) error {
		return c.load.table.Set(ctx, c.key(key), nil, value, pegasus.WithTTL(keep))
	})
	if err != nil {
		c.doubt[key] = version
		c.load.failed(err)
		return
	}
	c.acked[key], c.doubt[key] = version, 0
	c.load.written.Inc()
}

func (c *caller) read(key int) {
	var value []byte
	err := c.timed(func(ctx context.Context) (err error) {
		value, err = c.load.table.Get(ctx, c.key(key), nil)
		if errors.Is(err, pegasus.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		c.load.failed(err)
		return
	}
	found := version(value)
	if mayBe := found == c.acked[key] || found != 0 && found == c.doubt[key]; !mayBe {
		c.load.lost.Inc()
		c.load.note(fmt.Sprintf("%s holds version %d, version %d was acknowledged", c.key(key), found, c.acked[key]))
	}
}

// version returns the number that a value was written with; 0 for no value.
func version(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// flawless says whether every operation succeeded and every acknowledged write was kept.
func (l *load) flawless() bool { return l.failures.Load() == 0 && l.lost.Load() == 0 }

func (l *load) failed(err error) {
	l.failures.Inc()
	l.note(err.Error())
}

func (l *load) note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const enough = 5
	if len(l.examples) < enough {
		l.examples = append(l.examples, text)
	}
}

// takeTimes returns the times recorded since the last call.
func (l *load) takeTimes() *hdrhistogram.Histogram {
	all := newTimes()
	for _, c := range l.callers {
		c.mu.Lock()
		all.Merge(c.times)
		c.times.Reset()
		c.mu.Unlock()
	}
	return all
}
