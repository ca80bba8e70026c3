package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// load is work on a table that goes on while its cluster is disturbed. No operation may fail, and
// every read must bring what was written last.
type load struct {
	t       testing.TB
	table   *pegasus.Table
	pace    time.Duration // between two operations of a worker; virtual time needs one to move on
	workers []*worker
	working sync.WaitGroup
	ending  chan struct{}
	done    *progress
}

// progress lets a test follow how many operations others have done.
type progress struct {
	step chan struct{}
	over chan struct{} // closed when there will be no more
}

func newProgress() *progress { return &progress{step: make(chan struct{}), over: make(chan struct{})} }

func (p *progress) made() {
	select {
	case p.step <- struct{}{}:
	default: // nobody follows
	}
}

// await waits for so many more operations, or until it is over.
func (p *progress) await(steps int) {
	for range steps {
		select {
		case <-p.step:
		case <-p.over:
			return
		}
	}
}

// worker works on records of its own, one operation at a time, so that it knows what they hold.
type worker struct {
	load    *load
	name    int
	written []int // by record; 0: never
}

// startLoad has the given number of goroutines work on as many records each.
func startLoad(t testing.TB, table *pegasus.Table, workers, records int, pace time.Duration) *load {
	l := &load{t: t, table: table, pace: pace, ending: make(chan struct{}), done: newProgress()}
	for i := range workers {
		w := &worker{load: l, name: i, written: make([]int, records)}
		l.workers = append(l.workers, w)
		l.working.Go(w.work)
	}
	go func() {
		l.working.Wait()
		close(l.done.over)
	}()
	return l
}

// stop ends the load and reads every record back.
func (l *load) stop() {
	l.t.Helper()
	close(l.ending)
	l.working.Wait()
	for _, w := range l.workers {
		for record := range w.written {
			w.read(record)
		}
	}
}

func (w *worker) work() {
	for !w.load.t.Failed() {
		select {
		case <-w.load.ending:
			return
		case <-time.After(w.load.pace):
		}
		record := rand.IntN(len(w.written))
		if rand.IntN(2) == 0 {
			w.write(record)
		} else {
			w.read(record)
		}
		w.load.done.made()
	}
}

func (w *worker) key(record int) (hashKey, sortKey []byte) {
	return fmt.Appendf(nil, "worker %d record %d", w.name, record), []byte("sort")
}

func (w *worker) write(record int) {
	hashKey, sortKey := w.key(record)
	next := w.written[record] + 1
	if err := w.load.table.Set(context.Background(), hashKey, sortKey, strconv.AppendInt(nil, int64(next), 10)); err != nil {
		w.load.t.Errorf("%s: %v", hashKey, err)
		return
	}
	w.written[record] = next
}

func (w *worker) read(record int) {
	hashKey, sortKey := w.key(record)
	value, err := w.load.table.Get(context.Background(), hashKey, sortKey)
	if errors.Is(err, pegasus.ErrNotFound) {
		value, err = []byte("0"), nil
	}
	if err != nil {
		w.load.t.Errorf("%s: %v", hashKey, err)
		return
	}
	if want := strconv.Itoa(w.written[record]); string(value) != want {
		w.load.t.Errorf("%s holds %s instead of %s", hashKey, value, want)
	}
}
