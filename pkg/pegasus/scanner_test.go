package pegasus_test

import (
	"context"
	"io"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// withScanner runs a test with 100 records in one partition, and a scanner that fetches 10 at a time ahead.
func withScanner(t *testing.T, test func(t *testing.T, b *box, s *pegasus.Scanner, rows []row)) {
	t.Helper()
	rows := users(1, 100)
	withRows(t, 1, rows, func(t *testing.T, b *box, _ *pegasus.Scanner) {
		s, err := b.table.NewScanner([]byte("user 0"), nil, nil, &pegasus.ScanOptions{BatchSize: 10})
		require.NoError(t, err)
		test(t, b, s, rows)
	})
}

// asked returns how many batches were asked for.
func (b *box) asked() int { return b.requests(wire.GetScanner) + b.requests(wire.Scan) }

// One batch is asked for ahead, and not more however long the caller takes. While it is under way, the
// caller has the records that are there.
func TestPrefetch(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, s *pegasus.Scanner, rows []row) {
		pass(time.Second)
		require.Zero(t, b.asked(), "nothing is asked for before it is needed")
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Delay: time.Second})
		var found []row
		for asked := 2; asked <= 10; asked++ {
			found = append(found, take(t, s, 1)...)
			synctest.Wait()
			require.Equal(t, asked, b.asked())
			require.Zero(t, elapsed(func() { found = append(found, take(t, s, 9)...) }))
			pass(time.Minute)
			require.Equal(t, asked, b.asked())
		}
		require.Equal(t, rows, append(found, rest(t, s)...))
	})
}

// Without it, nothing is asked for ahead.
func TestNoPrefetch(t *testing.T) {
	withRows(t, 1, users(1, 100), func(t *testing.T, b *box, s *pegasus.Scanner) {
		for asked := 1; asked <= 10; asked++ {
			take(t, s, 10)
			pass(time.Second)
			require.Equal(t, asked, b.asked())
		}
	})
}

// The context of the call that began a prefetch can end: the batch is there for the next call.
func TestPrefetchOutlivesItsCall(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, s *pegasus.Scanner, rows []row) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Delay: time.Second / 2})
		var found []row
		for len(found) < len(rows) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			for range 10 {
				record, err := s.Next(ctx)
				require.NoError(t, err)
				found = append(found, rowOf(record))
			}
			cancel()
		}
		require.Equal(t, rows, append(found, rest(t, s)...))
		require.Equal(t, 1, b.requests(wire.GetScanner))
	})
}

// A caller that cannot wait for a prefetch gives up; the prefetch goes on for the next call.
func TestPrefetchIsWaitedFor(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, s *pegasus.Scanner, rows []row) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Delay: 3 * time.Second, Times: 1})
		found := take(t, s, 10)
		for range 2 {
			took := elapsed(func() {
				_, err := s.Next(b.within(time.Second))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, "scan", failed(t, err).Operation)
			})
			require.Equal(t, time.Second, took)
		}
		require.Equal(t, time.Second, elapsed(func() { found = append(found, take(t, s, 1)...) }))
		require.Equal(t, rows, append(found, rest(t, s)...))
		require.Equal(t, 1, b.requests(wire.GetScanner))
	})
}

// A prefetch has as much time as the call that began it, and its failure is nobody's: the next call asks
// again, with time of its own.
func TestPrefetchFails(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, s *pegasus.Scanner, rows []row) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), DropReply: true, Times: 1})
		record, err := s.Next(b.within(2 * time.Second))
		require.NoError(t, err)
		found := append([]row{rowOf(record)}, take(t, s, 9)...)
		took := elapsed(func() { found = append(found, take(t, s, 1)...) })
		require.InDelta(t, 2*time.Second, took, float64(time.Second/5))
		require.Equal(t, 2, b.requests(wire.GetScanner))
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Times: 1})
		require.Equal(t, rows, append(found, rest(t, s)...))
		require.Equal(t, 2, b.requests(wire.GetScanner))
	})
}

// Close during a prefetch takes no time; the context that the prefetch brings is freed, and then nothing
// is left.
func TestCloseDuringPrefetch(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, s *pegasus.Scanner, _ []row) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Delay: time.Second})
		take(t, s, 1)
		synctest.Wait()
		require.Zero(t, elapsed(s.Close))
		pass(time.Second / 2)
		require.Zero(t, b.requests(wire.ClearScanner))
		pass(time.Second)
		require.Equal(t, 1, b.requests(wire.ClearScanner))
		require.Equal(t, 2, b.asked())
	})
}

// A prefetch that is refused over and over stops when the scanner is closed.
func TestCloseStopsPrefetch(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, s *pegasus.Scanner, _ []row) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Error: wire.ErrSplitting})
		take(t, s, 1)
		pass(time.Second)
		s.Close()
		before := b.asked()
		require.Greater(t, before, 3)
		pass(time.Minute)
		require.Equal(t, before, b.asked())
		require.Equal(t, 1, b.requests(wire.ClearScanner), "the refused context is still there")
	})
}

// Leaving an iterator, at any place, frees the server's context, and leaves no goroutine.
func TestLeavingAnIterator(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, _ *pegasus.Scanner, rows []row) {
		for leave := range rows {
			before, n := b.requests(wire.ClearScanner), 0
			for record, err := range b.table.Scan(t.Context(), []byte("user 0"), nil, nil, &pegasus.ScanOptions{BatchSize: 10}) {
				require.NoError(t, err)
				require.Equal(t, rows[n], rowOf(record))
				if n++; n > leave {
					break
				}
			}
			synctest.Wait()
			freed := 1
			if leave >= 90 {
				freed = 0 // the last batch was there, or on its way
			} else if leave >= 80 {
				freed = b.requests(wire.ClearScanner) - before // the prefetch may have brought the end
			}
			require.Equal(t, freed, b.requests(wire.ClearScanner)-before, leave)
		}
	})
}

// Several loops over one iterator are scans of their own.
func TestIteratorsBeginAnew(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, _ *pegasus.Scanner, rows []row) {
		seq := b.table.Scan(t.Context(), []byte("user 0"), nil, nil, nil)
		for range 3 {
			require.Equal(t, rows, drain(t, seq))
		}
	})
}

// An iterator yields an error once, as its end.
func TestIteratorYieldsErrors(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, _ *pegasus.Scanner, _ []row) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Error: wire.ErrACLDeny})
		yields, errs := 0, 0
		for record, err := range b.table.Scan(t.Context(), []byte("user 0"), nil, nil, &pegasus.ScanOptions{BatchSize: 10}) {
			if yields++; err != nil {
				errs++
				require.Zero(t, record)
				require.Equal(t, wire.ErrACLDeny, failed(t, err).Server)
			}
		}
		require.Equal(t, 11, yields)
		require.Equal(t, 1, errs)
	})
}

// A scanner that is forgotten leaves no goroutine behind once its prefetch has ended, and its memory can
// go.
func TestForgottenScanner(t *testing.T) {
	withScanner(t, func(t *testing.T, b *box, s *pegasus.Scanner, _ []row) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), DropReply: true})
		take(t, s, 1)
		collected := new(atomic.Bool)
		runtime.AddCleanup(s, func(gone *atomic.Bool) { gone.Store(true) }, collected)
		s = nil //nolint:ineffassign,wastedassign // that is the point
		pass(2 * pegasus.DefaultOperationTimeout)
		for range 100 {
			runtime.GC()
			if collected.Load() {
				return
			}
			runtime.Gosched()
		}
		t.Error("somebody keeps the scanner")
	})
}

// Close may come at any moment, from any goroutine, also many times: Next fails with ErrScannerClosed or
// has been quicker, and every context that was not used up is freed once.
func TestCloseAtAnyTime(t *testing.T) {
	rows := users(1, 100)
	b := newBox(t, onebox.Config{}, single)
	b.load(rows)
	for range 50 {
		s, err := b.table.NewScanner([]byte("user 0"), nil, nil, &pegasus.ScanOptions{BatchSize: 5})
		require.NoError(t, err)
		var working sync.WaitGroup
		for range 2 {
			working.Go(func() {
				runtime.Gosched()
				s.Close()
			})
		}
		for n := 0; ; n++ {
			record, err := s.Next(t.Context())
			if err == io.EOF { //nolint:errorlint // the very one
				break
			}
			if err != nil {
				require.ErrorIs(t, err, pegasus.ErrScannerClosed)
				break
			}
			require.Equal(t, rows[n], rowOf(record))
		}
		working.Wait()
		again, err := b.table.ResumeScanner(s.Cursor(), nil)
		require.NoError(t, err)
		again.Close()
	}
}

// Scanners of one table share nothing that would have to be guarded.
func TestScannersSideBySide(t *testing.T) {
	rows := users(100, 10)
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 4})
	b.load(rows)
	scanners, err := b.table.TableScanners(4, &pegasus.ScanOptions{BatchSize: 20})
	require.NoError(t, err)
	found := make([][]row, len(scanners))
	var working sync.WaitGroup
	for i, s := range scanners {
		working.Go(func() {
			for {
				record, err := s.Next(context.Background())
				if err != nil {
					return
				}
				found[i] = append(found[i], rowOf(record))
			}
		})
	}
	working.Wait()
	var all []row
	for _, part := range found {
		all = append(all, part...)
	}
	require.Equal(t, rows, sorted(all))
}
