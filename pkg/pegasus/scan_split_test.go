package pegasus_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// scanSplits are what can happen to a table between the batches of a scan.
var scanSplits = map[string][]func(b *box) error{
	"at once": {
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { return b.FinishSplit(tableName) },
	},
	"step by step": {
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { b.registerForASecond(0); return nil },
		func(b *box) error { return b.FinishSplit(tableName, 1) },
	},
	"cancelled": {
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { b.movePrimaries(); return nil },
		func(b *box) error { return b.CancelSplit(tableName) },
		func(b *box) error { b.movePrimaries(); return nil },
	},
	"with failovers": {
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { b.movePrimaries(); return nil },
		func(b *box) error { return b.FinishSplit(tableName, 1) },
		func(b *box) error { b.movePrimaries(); return nil },
		func(b *box) error { return b.FinishSplit(tableName) },
		func(b *box) error { b.movePrimaries(); return nil },
	},
	"thrice": {
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { return b.FinishSplit(tableName) },
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { return b.FinishSplit(tableName) },
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { return b.FinishSplit(tableName, 0, 1, 2, 3) },
		func(b *box) error { return b.FinishSplit(tableName) },
	},
	"cancelled and begun again": {
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { b.movePrimaries(); return nil },
		func(b *box) error { return b.CancelSplit(tableName) },
		func(b *box) error { return b.StartSplit(tableName) },
		func(b *box) error { return b.FinishSplit(tableName) },
	},
	"all at once, twice": {
		func(b *box) error {
			for range 2 {
				if err := b.StartSplit(tableName); err != nil {
					return err
				}
				if err := b.FinishSplit(tableName); err != nil {
					return err
				}
			}
			return nil
		},
	},
}

// registerForASecond has a child registered of which the meta servers do not tell for a second.
func (b *box) registerForASecond(parent int) {
	b.t.Helper()
	require.NoError(b.t, b.RegisterSplit(tableName, parent))
	b.t.Cleanup(b.inBackground(func() {
		pass(time.Second)
		require.NoError(b.t, b.FinishSplit(tableName, parent))
	}))
}

// TestScanThroughSplits has the steps of splits happen at every place of a scan, many or few records
// apart: nothing is lost and nothing returned twice, whether the client hears of the split at once, by a
// refusal, or only at the end, and also if the scan is saved and resumed in between.
func TestScanThroughSplits(t *testing.T) {
	rows := users(60, 2)
	for name, steps := range scanSplits {
		for _, told := range []bool{false, true} {
			for _, resumed := range []bool{false, true} {
				for first := 0; first < len(rows); first += 23 {
					for _, apart := range []int{1, 11} {
						splitDuringScan(t, rows, steps, fmt.Sprint(name, told, resumed, first, apart), func(b *box, s *pegasus.Scanner, step int) (*pegasus.Scanner, int) {
							if told {
								b.tell()
							}
							if resumed {
								s = b.resume(s)
							}
							if step == 0 {
								return s, first
							}
							return s, apart
						})
					}
				}
			}
		}
	}
}

// splitDuringScan runs a scan, with a step of a split after every so many records as between says.
func splitDuringScan(t *testing.T, rows []row, steps []func(b *box) error, name string, between func(b *box, s *pegasus.Scanner, step int) (*pegasus.Scanner, int)) {
	t.Helper()
	withRows(t, 2, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		var found []row
		left := len(rows)
		for step := range steps {
			var n int
			s, n = between(b, s, step)
			n = min(n, left)
			left -= n
			found = append(found, take(t, s, n)...)
			require.NoError(t, steps[step](b))
		}
		found = append(found, rest(t, s)...)
		require.Equal(t, rows, sorted(found), name)
		s.Close()
	})
}

// tell has the client ask for the routing.
func (b *box) tell() {
	b.t.Helper()
	before := b.queries()
	for _, node := range b.Replicas() {
		remove := node.Inject(onebox.Fault{Match: onebox.OnMethod(wire.TTL), Error: wire.ErrObjectNotFound})
		defer remove()
	}
	_, err := b.table.Exist(b.within(time.Second), []byte("somebody"), nil)
	require.Error(b.t, err)
	require.Greater(b.t, b.queries(), before)
}

// resume takes a scanner's cursor to another one.
func (b *box) resume(s *pegasus.Scanner) *pegasus.Scanner {
	b.t.Helper()
	cursor := s.Cursor()
	s.Close()
	again, err := b.table.ResumeScanner(cursor, batches(10))
	require.NoError(b.t, err)
	require.Equal(b.t, cursor, again.Cursor())
	return again
}

// The client learns of a split only at the end, when the meta servers are asked: the children are
// scanned from the keys up to which their parents had delivered.
func TestSplitIsFoundAtTheEnd(t *testing.T) {
	rows := users(100, 1)
	withRows(t, 1, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		found := take(t, s, 50)
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.FinishSplit(tableName))
		before := b.requests(wire.GetScanner)
		found = append(found, rest(t, s)...)
		require.Equal(t, rows, sorted(found))
		require.Equal(t, 1, b.requests(wire.GetScanner)-before, "one for the child")
	})
}

// Scans that begin while a split is under way return each record once, although both indexes lead to the
// parent (docs/protocol.md, splitting a table scan).
func TestDefect07ScanDuringSplit(t *testing.T) {
	rows := users(100, 1)
	for name, begin := range map[string]func(b *box) error{
		"started":    func(*box) error { return nil },
		"registered": func(b *box) error { return b.RegisterSplit(tableName, 1) },
		"half":       func(b *box) error { return b.FinishSplit(tableName, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
				b.load(rows)
				require.NoError(t, b.StartSplit(tableName))
				require.NoError(t, begin(b))
				b.tell()
				b.t.Cleanup(b.inBackground(func() {
					pass(time.Second)
					require.NoError(t, b.FinishSplit(tableName))
				}))
				for range 2 { // the first time during the split, the second after it
					count, err := b.table.CountTable(t.Context(), nil)
					require.NoError(t, err)
					require.EqualValues(t, len(rows), count)
					require.Equal(t, rows, sorted(drain(t, b.table.ScanTable(t.Context(), batches(7)))))
					pass(2 * time.Second)
				}
			})
		})
	}
}

// A count during which the table is split is discarded: servers have counted what belongs to others.
func TestCountThroughSplit(t *testing.T) {
	rows := users(200, 1)
	for at := 1; at < 24; at++ {
		withRows(t, 2, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
			requests := 0
			b.injectAll(onebox.Fault{Match: func(r *onebox.Request) bool {
				if r.Is(wire.Scan) || r.Is(wire.GetScanner) {
					requests++
				}
				if requests == at && b.PartitionCount(tableName) == 2 {
					require.NoError(t, b.StartSplit(tableName))
					require.NoError(t, b.FinishSplit(tableName))
				}
				return false
			}})
			count, err := s.Count(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, len(rows), count)
		})
	}
}

// A scan of one hash key follows it to the child of a split.
func TestHashKeyScanThroughSplit(t *testing.T) {
	for name, steps := range scanSplits {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
				for _, key := range []string{keyIn(0, 16), keyIn(2, 16), keyIn(11, 16)} {
					var rows []row
					for i := range 100 {
						rows = append(rows, row{key, fmt.Sprintf("%03d", i), ""})
					}
					b.load(rows)
				}
				var scanners []*pegasus.Scanner
				for _, key := range []string{keyIn(0, 16), keyIn(2, 16), keyIn(11, 16)} {
					s, err := b.table.NewScanner([]byte(key), nil, nil, batches(3))
					require.NoError(t, err)
					scanners = append(scanners, s)
				}
				found := make([]int, len(scanners))
				for _, step := range steps {
					for i, s := range scanners {
						found[i] += len(take(t, s, 10))
					}
					require.NoError(t, step(b))
				}
				for i, s := range scanners {
					require.Equal(t, 100, found[i]+len(rest(t, s)))
				}
			})
		})
	}
}

// A partition count that no splits lead to is an error, not a loss.
func TestScanOfImpossibleCount(t *testing.T) {
	withStub(t, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		return "", &wire.ScanResponse{ContextID: wire.ScanComplete}
	}, func(t *testing.T, s *stub) {
		scanners, err := s.table.TableScanners(1, nil)
		require.NoError(t, err)
		s.setPartitions(3)
		_, err = scanners[0].Next(t.Context())
		require.ErrorContains(t, err, "partition count")
		require.Equal(t, "scan", failed(t, err).Operation)
	})
}

// setPartitions changes what the stub answers as meta server.
func (s *stub) setPartitions(count int) {
	routing := s.routing
	routing.PartitionCount = int32(count)
	routing.Partitions = nil
	for i := range count {
		p := s.routing.Partitions[0]
		p.GPID.PartitionIndex = int32(i)
		routing.Partitions = append(routing.Partitions, p)
	}
	s.routing = routing
}
