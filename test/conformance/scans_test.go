package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// library is a cluster whose table has records to scan: for each of some hash keys, some sort keys.
type library struct {
	*onebox.Cluster
	seen  *observer
	table *pegasus.Table
	clock *atomic.Time
	all   []string // in the order of raw keys, which is also that of a table of one partition
}

const (
	shelves = 5  // hash keys
	books   = 12 // sort keys of each
)

func newLibrary(t *testing.T, partitions int) *library {
	t.Helper()
	l := &library{clock: atomic.NewTime(time.Date(2030, time.May, 1, 12, 0, 0, 0, time.UTC))}
	config := onebox.Config{
		Now:          l.clock.Load,
		FirstContext: func(*onebox.Node, wire.GPID) int64 { return -1 << 40 },
	}
	l.Cluster, l.seen, l.table = openTableOf(t, config, partitions)
	require.NoError(t, l.Load(clientTable, shelves*books, func(i int) (hashKey, sortKey, value []byte) {
		shelf, book := fmt.Appendf(nil, "shelf %d", i/books), fmt.Appendf(nil, "book %02d", i%books)
		l.all = append(l.all, string(shelf)+" "+string(book))
		return shelf, book, []byte("value")
	}))
	l.seen.take(wire.GetScanner)
	return l
}

// ending returns the records whose sort keys end in the given way.
func (l *library) ending(postfix string) (titles []string) {
	for _, title := range l.all {
		if title[len(title)-len(postfix):] == postfix {
			titles = append(titles, title)
		}
	}
	return titles
}

// read returns what a scanner finds. Before each batch of so many records it calls disturb.
func read(t *testing.T, scanner *pegasus.Scanner, every int, disturb func()) (titles []string) {
	t.Helper()
	defer scanner.Close()
	for i := 0; ; i++ {
		if every > 0 && i%every == every-1 {
			disturb()
		}
		record, err := scanner.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return titles
		}
		require.NoError(t, err)
		titles = append(titles, string(record.HashKey)+" "+string(record.SortKey))
	}
}

// scanner returns a scanner of the whole table, which asks for batches only when it needs them.
func (l *library) scanner(t *testing.T, batchSize int, sortKeys pegasus.Filter) *pegasus.Scanner {
	t.Helper()
	scanners, err := l.table.TableScanners(1, &pegasus.ScanOptions{
		BatchSize: batchSize, SortKeyFilter: sortKeys, NoPrefetch: true,
	})
	require.NoError(t, err)
	require.Len(t, scanners, 1)
	return scanners[0]
}

// endingIn wants the sort keys that end in the given way. As servers examine as many records for a batch as it may
// have, most batches are then empty.
func endingIn(postfix string) pegasus.Filter {
	return pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte(postfix)}
}

// The ids of this cluster are negative. Only the newest is of use, so a client that took an older one, or took an
// empty batch or a negative id for the end, would have to begin anew or lose records.
func TestScanFollowsContexts(t *testing.T) {
	l := newLibrary(t, 1)
	require.Equal(t, l.ending("7"), read(t, l.scanner(t, 2, endingIn("7")), 0, nil))
	require.Len(t, l.seen.take(wire.GetScanner), 1)

	require.Equal(t, l.all, read(t, l.scanner(t, 7, pegasus.Filter{}), 0, nil))
	require.Len(t, l.seen.take(wire.Scan), len(l.all)/7)
}

func TestScanResumesAfterLostContexts(t *testing.T) {
	for name, lose := range map[string]func(l *library){
		"expired": func(l *library) { l.clock.Store(l.clock.Load().Add(6 * time.Minute)) },
		"moved": func(l *library) {
			primary := l.Primary(clientTable, 0)
			_ = l.MovePrimary(clientTable, 0, (primary.Index()+1)%3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLibrary(t, 1)
			require.Equal(t, l.all, read(t, l.scanner(t, 5, pegasus.Filter{}), 3, func() { lose(l) }))
			require.Greater(t, len(l.seen.take(wire.GetScanner)), 5)

			require.Equal(t, l.ending("7"), read(t, l.scanner(t, 2, endingIn("7")), 1, func() { lose(l) }))
			require.Greater(t, len(l.seen.take(wire.GetScanner)), 1)
		})
	}
}

// A batch that is lost with its context may follow an empty one, of which there is no last record.
func TestScanResumesAfterAnEmptyBatch(t *testing.T) {
	l := newLibrary(t, 1)
	batches := 0
	l.Primary(clientTable, 0).Inject(onebox.Fault{Match: func(r *onebox.Request) bool {
		if r.Is(wire.Scan) {
			if batches++; batches%3 == 0 {
				l.clock.Store(l.clock.Load().Add(6 * time.Minute))
			}
		}
		return false
	}})
	require.Equal(t, l.ending("7"), read(t, l.scanner(t, 2, endingIn("7")), 0, nil))
	require.Greater(t, len(l.seen.take(wire.GetScanner)), 1)
}

func TestScanResumesWhenTheServerRanOutOfTime(t *testing.T) {
	l := newLibrary(t, 1)
	l.LimitIterations(4)
	require.Equal(t, l.all, read(t, l.scanner(t, 0, pegasus.Filter{}), 0, nil))
	require.GreaterOrEqual(t, len(l.seen.take(wire.GetScanner)), len(l.all)/4)
}

func TestCountOfATable(t *testing.T) {
	l := newLibrary(t, 8)
	count, err := l.table.CountTable(context.Background(), &pegasus.ScanOptions{BatchSize: 3})
	require.NoError(t, err)
	require.EqualValues(t, len(l.all), count)
}

// After a split, a child and its parent both hold the records of both.
func TestScanAfterASplit(t *testing.T) {
	for name, table := range map[string]func(t *testing.T, l *library) *pegasus.Table{
		"known":          func(t *testing.T, l *library) *pegasus.Table { return reopen(t, l.Cluster) },
		"not yet known":  func(_ *testing.T, l *library) *pegasus.Table { return l.table },
		"while it scans": nil,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLibrary(t, 2)
			split := func() { // a second time it fails, having done everything
				_ = l.StartSplit(clientTable)
				_ = l.FinishSplit(clientTable)
			}
			every := 1
			if table != nil {
				split()
				l.table, every = table(t, l), 0
			}
			once := true
			found := read(t, l.scanner(t, 3, pegasus.Filter{}), every, func() {
				if once {
					split()
				}
				once = false
			})
			slices.Sort(found)
			require.Equal(t, l.all, found, "each once")
		})
	}
}

// There is no reply to clear_scanner, unless it is an error that nobody waits for.
func TestCloseOfAScannerWaitsForNothing(t *testing.T) {
	l := newLibrary(t, 1)
	primary := l.Primary(clientTable, 0)
	for _, denied := range []bool{false, true} {
		scanner := l.scanner(t, 2, pegasus.Filter{})
		_, err := scanner.Next(context.Background())
		require.NoError(t, err)
		if denied {
			require.NoError(t, l.SetTableEnv(clientTable, "replica.deny_client_request", "reconfig*read"))
		}
		before := primary.Requests(wire.ClearScanner)
		scanner.Close()
		eventually(t, func() bool { return primary.Requests(wire.ClearScanner) == before+1 })
		require.NoError(t, l.table.Set(context.Background(), []byte("shelf 9"), nil, []byte("value")))
	}
	require.NoError(t, l.SetTableEnv(clientTable, "replica.deny_client_request", ""))
	_, err := l.table.Get(context.Background(), []byte("shelf 9"), nil)
	require.NoError(t, err)
	require.Equal(t, 1, primary.Accepted(), "the connection was given up")
}
