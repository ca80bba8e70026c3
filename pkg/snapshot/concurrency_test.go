package snapshot_test

import (
	"errors"
	"maps"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// together runs f(0) to f(n-1) in goroutines of their own, which start at the
// same time, and returns when all are done.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

// yielding is increment with an invitation to other writers to come between.
func yielding(n int) (int, bool) {
	runtime.Gosched()
	return n + 1, true
}

func TestCountersLoseNothing(t *testing.T) {
	const writers, each = 8, 200
	c := snapshot.New(0)
	together(writers, func(int) {
		for range each {
			v, changed := c.Update(yielding)
			if !changed || uint64(v.Value()) != v.Serial()-1 {
				t.Errorf("version %d holds %d, changed %v", v.Serial(), v.Value(), changed)
			}
		}
	})
	requireVersion(t, c.Load(), writers*each+1, writers*each, false)
}

// Two writers who each find something unknown end with both in the set; what
// several find at once is added once.
func TestMergedSetsLoseNothing(t *testing.T) {
	const writers, each = 8, 40
	c := snapshot.New(map[int]bool{})
	together(writers, func(w int) {
		for i := range each {
			found := w*each/2 + i // half of it is also found by the next writer
			c.Update(func(old map[int]bool) (map[int]bool, bool) {
				runtime.Gosched()
				if old[found] {
					return old, false
				}
				merged := maps.Clone(old)
				merged[found] = true
				return merged, true
			})
		}
	})
	want := make(map[int]bool)
	for found := range (writers + 1) * each / 2 {
		want[found] = true
	}
	requireVersion(t, c.Load(), uint64(1+len(want)), want, false)
}

// The parts of a value are seen together, and nobody sees time run backwards.
func TestReadersNeverGoBackwards(t *testing.T) {
	type pair struct{ left, right uint64 }
	const writers, readers, each = 2, 4, 500
	c := snapshot.New(&pair{1, 1})
	var reading sync.WaitGroup
	var written atomic.Bool
	for range readers {
		reading.Go(func() {
			for seen := uint64(0); !written.Load(); runtime.Gosched() {
				v := c.Load()
				if v.Serial() < seen || v.Value().left != v.Serial() || v.Value().right != v.Serial() {
					t.Errorf("after version %d came version %d with %v", seen, v.Serial(), *v.Value())
					return
				}
				seen = v.Serial()
			}
		})
	}
	together(writers, func(int) {
		for range each {
			c.Update(func(old *pair) (*pair, bool) { return &pair{old.left + 1, old.right + 1}, true })
			runtime.Gosched()
		}
	})
	written.Store(true)
	reading.Wait()
	require.Equal(t, uint64(1+writers*each), c.Load().Serial())
}

// The more goroutines wait for a channel, the longer it takes to close it: the
// first of a crowd runs while the last is still being woken, and would see that
// the newer version is not there yet if it were installed after the close.
func TestSignalComesAfterTheNewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds, crowd = 10, 1000
		c := snapshot.New(0)
		for round := range rounds {
			var waiting sync.WaitGroup
			var early atomic.Int64
			seen := c.Load()
			for range crowd {
				waiting.Go(func() {
					<-seen.Superseded()
					if c.Load().Serial() == seen.Serial() && !c.IsShut() {
						early.Inc()
					}
				})
			}
			synctest.Wait()
			if round < rounds-1 {
				c.Update(increment)
			} else {
				c.Shut()
			}
			waiting.Wait()
			require.Zero(t, early.Load(), "waiters woken before there was anything new")
		}
	})
}

// A chaser that misses a wake-up blocks for ever, which the bubble reports as a
// deadlock. Half of them use the channel, half Await; the latter go on until
// the cell is shut and must have seen the last version by then.
func TestChasersReachTheLastVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, chasers, each = 2, 8, 300
		const last = 1 + writers*each
		c := snapshot.New(0)
		var writing, chasing sync.WaitGroup
		for i := range chasers {
			chase := chaseBySignal
			if i%2 == 0 {
				chase = chaseByAwait
			}
			chasing.Go(func() { chase(t, c, last) })
		}
		for range writers {
			writing.Go(func() {
				for range each {
					c.Update(yielding)
				}
			})
		}
		writing.Wait()
		synctest.Wait() // every chaser has come to rest at the last version
		c.Shut()
		chasing.Wait()
	})
}

// chaseBySignal follows the versions by their channels until version last.
func chaseBySignal(t *testing.T, c *snapshot.Cell[int], last uint64) {
	for v := c.Load(); v.Serial() < last; {
		<-v.Superseded()
		next := c.Load()
		if next.Serial() <= v.Serial() {
			t.Errorf("woken from version %d to find version %d", v.Serial(), next.Serial())
		}
		v = next
	}
}

// chaseByAwait follows the versions with Await until the cell is shut, which
// must happen at version last.
func chaseByAwait(t *testing.T, c *snapshot.Cell[int], last uint64) {
	v := c.Load()
	for {
		next, err := c.Await(t.Context(), v)
		if err != nil {
			if !errors.Is(err, snapshot.ErrShut) || v.Serial() != last {
				t.Errorf("ended at version %d of %d: %v", v.Serial(), last, err)
			}
			return
		}
		if next.Serial() <= v.Serial() {
			t.Errorf("waited for something newer than %d, got %d", v.Serial(), next.Serial())
		}
		v = next
	}
}

// Writers run until they are refused. What they were told is installed must be
// there in the end, not less (Shut took it back) and not more (it was
// published after Shut).
func TestShutRacingWriters(t *testing.T) {
	const rounds, writers, shutters = 100, 2, 2
	for range rounds {
		c := snapshot.New(0)
		var installed [writers]int
		var atShut [shutters]*snapshot.Version[int]
		together(writers+shutters, func(i int) {
			if i < writers {
				installed[i] = updateUntilRefused(t, c)
			} else {
				atShut[i-writers] = shutInFullFlight(t, c)
			}
		})
		want := installed[0] + installed[1]
		requireVersion(t, c.Load(), uint64(1+want), want, true)
		for _, v := range atShut {
			require.Same(t, c.Load(), v, "something changed after Shut had returned")
		}
	}
}

// updateUntilRefused returns how many updates were reported as installed.
func updateUntilRefused(t *testing.T, c *snapshot.Cell[int]) (installed int) {
	for ; ; installed++ {
		v, changed := c.Update(increment)
		if !changed {
			if !closed(v) {
				t.Errorf("refused, but the signal of version %d is pending", v.Serial())
			}
			return installed
		}
	}
}

// shutInFullFlight shuts c when its writers are busy, and returns what c holds
// then.
func shutInFullFlight(t *testing.T, c *snapshot.Cell[int]) *snapshot.Version[int] {
	for c.Load().Serial() < 100 {
		runtime.Gosched()
	}
	for c.Shut(); !c.IsShut(); c.Shut() {
		t.Error("Shut has returned, but the cell is not shut")
	}
	return c.Load()
}

// Who learns that a cell is shut, in whatever way, must find the signal of what
// it loads next. The watcher keeps the lock of the channel busy by selecting on
// it: a Shut that closed it a moment too late would have to wait for that lock.
func TestShutIsSeenWithTheSignal(t *testing.T) {
	const rounds = 5000
	always := make(chan struct{})
	close(always)
	cells := make([]*snapshot.Cell[int], rounds)
	for i := range cells {
		cells[i] = snapshot.New(i)
	}
	together(2, func(i int) {
		for _, c := range cells {
			if i == 0 {
				c.Shut()
				continue
			}
			for first := c.Load(); !c.IsShut(); {
				select {
				case <-first.Superseded():
				case <-always:
				}
			}
			if !closed(c.Load()) {
				t.Error("the cell is shut, but the signal of its last version is pending")
			}
		}
	})
}
