package chaos

import (
	"context"
	"math"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/test/onebox"
)

// remade is a workload: histories of a table that is dropped and made anew under its name all the time. To a
// history, a drop is an operation that deletes every row in one moment: what was acknowledged before it is
// gone, counters begin again, and what happens meanwhile may come before it or after. In between there is no
// table, and no operation can succeed.
type remade struct {
	*histories
	due    atomic.Int64 // when the table is to be made anew, in nanoseconds of Unix time
	drop   func() error
	create func(partitions int) error
}

const (
	// The table exists for so long, and then up to twice that.
	epoch = 150 * time.Millisecond
	// Every other time, there is no table for up to so long.
	gap = 50 * time.Millisecond
)

func newRemade(a *arena) *remade {
	w := &remade{histories: newHistories("remade", fewRows, 5, func(c *caller) handles { return c.remade })}
	w.drop = func() error { return a.DropTable(remadeName) }
	w.create = func(partitions int) error {
		_, err := a.CreateTable(remadeName, onebox.TableOptions{Partitions: partitions})
		return err
	}
	return w
}

func (w *remade) work(ctx context.Context, c *caller) {
	now := time.Now().UnixNano()
	if due := w.due.Load(); now < due || !w.due.CompareAndSwap(due, math.MaxInt64) {
		w.histories.work(ctx, c)
		return
	}
	w.remake(c)
	w.due.Store(time.Now().Add(epoch + upTo(c.Rand, epoch)).UnixNano())
}

// remake drops the table and makes it anew, with any number of partitions. One caller at a time does.
func (w *remade) remake(c *caller) {
	called := w.now()
	if err := w.drop(); err != nil {
		c.findings.add("remade: the table cannot be dropped: %v", err)
	}
	w.dropped(span{called, w.now()})
	if c.IntN(2) == 0 {
		time.Sleep(upTo(c.Rand, gap))
	}
	if err := w.create(1 + c.IntN(6)); err != nil {
		c.findings.add("remade: the table cannot be created: %v", err)
	}
}

func (w *remade) dropped(when span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drops = append(w.drops, when)
}
