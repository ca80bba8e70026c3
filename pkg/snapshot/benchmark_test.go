package snapshot_test

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// routing is what the benchmarks read: load it, pick a member, use the member.
type routing struct{ members []*member }

type member struct{ port int }

func newRouting() *routing {
	r := &routing{}
	for i := range 8 {
		r.members = append(r.members, &member{port: 34801 + i})
	}
	return r
}

// renewed returns a changed copy, as a writer makes it.
func (r *routing) renewed() *routing {
	return &routing{members: append([]*member(nil), r.members...)}
}

func (r *routing) pick(key uint32) *member { return r.members[key%uint32(len(r.members))] }

// holder is one way to share a routing. Each reads in a loop of its own, so
// that no indirect call per pick hides the differences. read returns the sum of
// what it picked to keep the compiler from dropping the work.
type holder interface {
	read(picks int) int
	publish()
}

type inCell struct{ cell *snapshot.Cell[*routing] }

func (h *inCell) read(picks int) (sum int) {
	for key := range uint32(picks) {
		sum += h.cell.Load().Value().pick(key).port
	}
	return sum
}

func (h *inCell) publish() {
	h.cell.Update(func(old *routing) (*routing, bool) { return old.renewed(), true })
}

// underRWMutex picks while it holds the lock, which is the least that makes the
// read safe; the writer builds its copy outside of the readers' way.
type underRWMutex struct {
	writing sync.Mutex
	mu      sync.RWMutex
	current *routing
}

func (h *underRWMutex) read(picks int) (sum int) {
	for key := range uint32(picks) {
		h.mu.RLock()
		m := h.current.pick(key)
		h.mu.RUnlock()
		sum += m.port
	}
	return sum
}

func (h *underRWMutex) publish() {
	h.writing.Lock()
	defer h.writing.Unlock()
	next := h.current.renewed()
	h.mu.Lock()
	h.current = next
	h.mu.Unlock()
}

// inSyncMap keeps the routing under the name of its table.
type inSyncMap struct{ tables sync.Map }

const tableName = "temp"

func newInSyncMap() *inSyncMap {
	h := &inSyncMap{}
	h.tables.Store(tableName, newRouting())
	return h
}

func (h *inSyncMap) current() *routing {
	r, _ := h.tables.Load(tableName)
	return r.(*routing)
}

func (h *inSyncMap) read(picks int) (sum int) {
	for key := range uint32(picks) {
		sum += h.current().pick(key).port
	}
	return sum
}

func (h *inSyncMap) publish() { h.tables.Store(tableName, h.current().renewed()) }

// pace says how the one writer publishes while readers read.
type pace string

const (
	// never: nothing is published.
	never pace = "never"
	// paced: once per stretch picks of the first reader, which waits until the
	// writer has taken the order. All holders get the same number of
	// publications per pick, however fast they are.
	paced pace = "paced"
	// continuous: without a pause. A holder that is slow for writers gets fewer
	// publications, therefore their rate is reported too.
	continuous pace = "continuous"
)

// stretch is the number of picks that a reader makes between two looks at
// anything but the holder.
const stretch = 1 << 14

// race lets readers read picks times each, while a writer publishes at the
// given pace, and returns how long the readers took and how often the writer
// published. The number of goroutines is fixed; what runs in parallel is up to
// GOMAXPROCS, as in a program.
func race(h holder, readers, picks int, p pace) (took time.Duration, published int) {
	var (
		writer sync.WaitGroup
		sink   atomic.Int64
		orders = make(chan struct{})
	)
	if p != never {
		writer.Go(func() { published = write(h, p, orders) })
	}
	start := time.Now()
	together(readers, func(i int) {
		for left := picks; left > 0; left -= stretch {
			sink.Add(int64(h.read(min(stretch, left))))
			if i == 0 && p == paced {
				orders <- struct{}{}
			}
		}
	})
	took = time.Since(start)
	close(orders)
	writer.Wait()
	return took, published
}

// write publishes at the given pace until orders is closed, and returns how
// often it did.
func write(h holder, p pace, orders <-chan struct{}) (published int) {
	if p == paced {
		for range orders {
			h.publish()
			published++
		}
		return published
	}
	for ; ; published++ {
		select {
		case <-orders:
			return published
		default:
			h.publish()
			runtime.Gosched()
		}
	}
}

// BenchmarkHolders times the cell, an RWMutex and a sync.Map in one run, in
// turns, so that whatever else the machine does hits all three alike. It
// reports wall time per pick with all readers together, and how many times
// faster the cell is; b.N is the number of picks of each reader.
func BenchmarkHolders(b *testing.B) {
	for _, p := range []pace{never, paced, continuous} {
		for _, readers := range []int{1, 2, 4, 8} {
			b.Run(fmt.Sprintf("writer=%s/readers=%d", p, readers), func(b *testing.B) {
				compareHolders(b, readers, p)
			})
		}
	}
}

func compareHolders(b *testing.B, readers int, p pace) {
	const turns = 5
	names := []string{"cell", "rwmutex", "syncmap"}
	holders := []holder{&inCell{snapshot.New(newRouting())}, &underRWMutex{current: newRouting()}, newInSyncMap()}

	took := make([]time.Duration, len(holders))
	published := make([]int, len(holders))
	for turn := range turns {
		for i := range holders {
			at := (turn + i) % len(holders)
			d, n := race(holders[at], readers, b.N/turns+1, p)
			took[at] += d
			published[at] += n
		}
	}
	picks := float64(turns * (b.N/turns + 1) * readers)
	for i, name := range names {
		b.ReportMetric(float64(took[i].Nanoseconds())/picks, name+"_ns/pick")
		if p == continuous {
			b.ReportMetric(float64(published[i])/took[i].Seconds(), name+"_writes/s")
		}
	}
	b.ReportMetric(float64(took[1])/float64(took[0]), "x_vs_rwmutex")
	b.ReportMetric(float64(took[2])/float64(took[0]), "x_vs_syncmap")
	b.ReportMetric(0, "ns/op") // the sum of the three means nothing
}

func BenchmarkLoad(b *testing.B) {
	h := &inCell{snapshot.New(newRouting())}
	b.ReportAllocs()
	sum := 0
	for b.Loop() {
		sum += h.cell.Load().Value().pick(7).port
	}
}

func BenchmarkUpdate(b *testing.B) {
	h := &inCell{snapshot.New(newRouting())}
	b.ReportAllocs()
	for b.Loop() {
		h.publish()
	}
}
