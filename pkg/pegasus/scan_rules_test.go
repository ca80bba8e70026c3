package pegasus_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// batches are options for answers of a few records, one at a time.
func batches(size int) *pegasus.ScanOptions {
	return &pegasus.ScanOptions{BatchSize: size, NoPrefetch: true}
}

// withRows runs a test with rows in a table of some partitions, and a scanner of all of them that has
// batches of 10.
func withRows(t *testing.T, partitions int, rows []row, test func(t *testing.T, b *box, s *pegasus.Scanner)) {
	t.Helper()
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions}, func(t *testing.T, b *box) {
		b.load(rows)
		scanners, err := b.table.TableScanners(1, batches(10))
		require.NoError(t, err)
		test(t, b, scanners[0])
	})
}

// losses are the ways in which a server comes not to know a context, or the client not to know whether
// it does.
var losses = map[string]func(b *box){
	"forgotten":  func(*box) { pass(6 * time.Minute) },
	"failover":   func(b *box) { b.movePrimaries() },
	"restart":    func(b *box) { b.restartAll() },
	"lost reply": func(b *box) { b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Times: 1, CloseAfter: true}) },
	"lost request": func(b *box) {
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), Times: 1, CloseBefore: true})
	},
	"refused":         func(b *box) { b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Times: 2}) },
	"refused by name": func(b *box) { b.injectAll(onebox.Fault{Error: wire.ErrInvalidState, Times: 1}) },
	"out of time":     func(b *box) { b.LimitIterations(25); b.movePrimaries() },
}

// movePrimaries gives every partition that has a primary another one.
func (b *box) movePrimaries() {
	b.t.Helper()
	for i := range b.PartitionCount(tableName) {
		if primary := b.Primary(tableName, i); primary != nil {
			require.NoError(b.t, b.MovePrimary(tableName, i, (primary.Index()+1)%len(b.Replicas())))
		}
	}
}

// restartAll restarts every replica server, one after the other.
func (b *box) restartAll() {
	for _, node := range b.Replicas() {
		node.Kill()
		node.Restart()
		pass(time.Second)
	}
}

// TestScanSurvives has scans of a table go on after whatever happens after each batch.
func TestScanSurvives(t *testing.T) {
	rows := users(20, 20)
	for name, lose := range losses {
		for _, prefetch := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", prefetch), func(t *testing.T) {
				withRows(t, 3, rows, func(t *testing.T, b *box, _ *pegasus.Scanner) {
					scanners, err := b.table.TableScanners(1, &pegasus.ScanOptions{BatchSize: 10, NoPrefetch: !prefetch})
					require.NoError(t, err)
					found := take(t, scanners[0], 15)
					for range 4 {
						lose(b)
						found = append(found, take(t, scanners[0], 37)...)
					}
					found = append(found, rest(t, scanners[0])...)
					require.Equal(t, rows, sorted(found))
				})
			})
		}
	}
}

// TestDefect09ResumedTableScanIsFull has a scan of a table lose its context in a hash key that is not the
// partition's last: the request that goes on must say that it spans hash keys, or the server ends at
// that one.
func TestDefect09ResumedTableScanIsFull(t *testing.T) {
	rows := users(10, 3)
	withRows(t, 1, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		found := take(t, s, 10)
		pass(6 * time.Minute)
		require.Equal(t, rows, append(found, rest(t, s)...))
		require.Equal(t, 2, b.requests(wire.GetScanner))
	})
}

// TestDefect10SortKeysOfAllOnes has records beyond the sort key ff ff, where scans and DelRange without
// a stop used to end.
func TestDefect10SortKeysOfAllOnes(t *testing.T) {
	rows := []row{{"h", "\xff", ""}, {"h", "\xff\xff", ""}, {"h", "\xff\xff\xff\xff", ""}}
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.load(append(rows, row{"i", "", ""}))
		require.Equal(t, rows, drain(t, b.table.Scan(t.Context(), []byte("h"), nil, nil, nil)))
		deleted, err := b.table.DelRange(t.Context(), []byte("h"), nil, nil, nil)
		require.NoError(t, err)
		require.EqualValues(t, len(rows), deleted)
		require.Equal(t, []row{{"i", "", ""}}, drain(t, b.table.ScanTable(t.Context(), nil)))
	})
}

// TestDefect22CloseDoesNotWait has Close take no time, leave no call behind, and ignore an error that it
// is answered with.
func TestDefect22CloseDoesNotWait(t *testing.T) {
	withRows(t, 1, users(10, 10), func(t *testing.T, b *box, s *pegasus.Scanner) {
		take(t, s, 5)
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.ClearScanner), Error: wire.ErrBusy})
		require.Zero(t, elapsed(s.Close))
		pass(10 * time.Second)
		require.Equal(t, 1, b.requests(wire.ClearScanner))
		for _, node := range b.client.Snapshot().Nodes {
			require.Zero(t, node.InFlight)
			require.Zero(t, node.Abandoned)
		}
		b.set("the connection", "is of use")
		require.Equal(t, 1, b.Primary(tableName, 0).Accepted())
	})
}

// Contexts of any sign are used and freed; only -1 means the end.
func TestNegativeContextIDs(t *testing.T) {
	for _, first := range []int64{-1 << 63, -100, 0, 5 << 32} {
		config := onebox.Config{FirstContext: func(*onebox.Node, wire.GPID) int64 { return first }}
		inBubble(t, config, single, func(t *testing.T, b *box) {
			rows := users(10, 10)
			b.load(rows)
			s, err := b.table.TableScanners(1, batches(7))
			require.NoError(t, err)
			require.Equal(t, rows, append(take(t, s[0], 50), rest(t, s[0])...))
			count, err := b.table.CountTable(t.Context(), batches(7))
			require.NoError(t, err)
			require.EqualValues(t, len(rows), count)
			s, err = b.table.TableScanners(1, batches(7))
			require.NoError(t, err)
			take(t, s[0], 1)
			s[0].Close()
			pass(time.Second)
			require.Equal(t, 1, b.requests(wire.ClearScanner))
		})
	}
}

// Answers without a record that passes the filter are no end.
func TestEmptyBatches(t *testing.T) {
	rows := users(1, 3000)
	rows[2500].sortKey = "250 wanted"
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.load(rows)
		o := batches(5)
		o.SortKeyFilter = pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("wanted")}
		found := drain(t, b.table.Scan(t.Context(), []byte("user 0"), nil, nil, o))
		require.Equal(t, []string{"250 wanted"}, suffixes(found))
		require.Greater(t, b.requests(wire.Scan), 300)
		require.Equal(t, 1, b.requests(wire.GetScanner))
	})
}

// A context is lost after answers without records: what was received before them is not returned again.
func TestContextLostAfterEmptyBatch(t *testing.T) {
	rows := users(1, 4000)
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.load(rows)
		requests := atomic.Int64{}
		for _, node := range b.Replicas() {
			b.t.Cleanup(node.Inject(onebox.Fault{CloseBefore: true, Match: func(r *onebox.Request) bool {
				return r.Is(wire.Scan) && requests.Inc()%50 == 20
			}}))
		}
		o := batches(10)
		o.SortKeyFilter = pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("00")} // one in ten answers
		found := drain(t, b.table.Scan(t.Context(), []byte("user 0"), nil, nil, o))
		require.Len(t, found, 40)
		require.Equal(t, found, sorted(slices.Clone(found)))
		require.Greater(t, b.requests(wire.GetScanner), 2)
	})
}

// TestDefect30OutOfTime has a server run out of time in every answer: the records are returned all the
// same, and the scan goes on after them, whatever context the answer names.
func TestDefect30OutOfTime(t *testing.T) {
	rows := users(10, 10)
	withRows(t, 1, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		b.LimitIterations(7)
		require.Equal(t, rows, rest(t, s))
		require.Zero(t, b.requests(wire.Scan))
		count, err := b.table.CountTable(t.Context(), batches(10))
		require.NoError(t, err, "counted by keys, since numbers cannot be continued")
		require.EqualValues(t, len(rows), count)
	})
}

// A server that finds nothing in its time, over and over, is asked again with pauses, and for no longer
// than the call may take.
func TestOutOfTimeWithoutRecords(t *testing.T) {
	withRows(t, 1, users(10, 10), func(t *testing.T, b *box, _ *pegasus.Scanner) {
		b.LimitIterations(5)
		o := batches(10)
		o.HashKeyFilter = pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("nobody")}
		scanners, err := b.table.TableScanners(1, o)
		require.NoError(t, err)
		for _, limit := range []time.Duration{pegasus.DefaultOperationTimeout, 3 * time.Second, 20 * time.Second} {
			ctx, before := t.Context(), b.requests(wire.GetScanner)
			if limit != pegasus.DefaultOperationTimeout {
				ctx = b.within(limit)
			}
			took := elapsed(func() { _, err = scanners[0].Next(ctx) })
			require.LessOrEqual(t, took, limit)
			require.GreaterOrEqual(t, took, limit-time.Second)
			require.Less(t, b.requests(wire.GetScanner)-before, 70)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Equal(t, wire.StatusIncomplete, failed(t, err).Status)
		}
		b.LimitIterations(0)
		require.Empty(t, rest(t, scanners[0]), "the failure was not final")
	})
}

// An answer that says neither that the scan is over nor how to go on is its end.
func TestEmptyAnswerDoesNotLoop(t *testing.T) {
	requests := 0
	withStub(t, func(*wire.Request) (wire.ErrorName, wire.Arguments) {
		requests++
		return "", &wire.ScanResponse{ContextID: wire.ScanNoContext}
	}, func(t *testing.T, s *stub) {
		require.Empty(t, drain(t, s.table.Scan(t.Context(), hashKey, nil, nil, nil)))
		require.Equal(t, 1, requests)
		count, err := s.table.CountTable(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, count)
	})
}

// A request that is refused has not used up its context; one that may have been executed has, and the
// same request is never sent twice.
func TestBusyKeepsTheContext(t *testing.T) {
	rows := users(10, 10)
	withRows(t, 1, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		found := take(t, s, 10)
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Times: 1})
		_, err := s.Next(t.Context())
		require.ErrorIs(t, err, pegasus.ErrBusy)
		require.Equal(t, rows, append(found, rest(t, s)...))
		require.Equal(t, 1, b.requests(wire.GetScanner))

		withTimeout, err := b.table.TableScanners(1, batches(10))
		require.NoError(t, err)
		found = take(t, withTimeout[0], 10)
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.Scan), DropReply: true, Times: 1})
		_, err = withTimeout[0].Next(b.within(time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, failed(t, err).Timeout())
		require.Equal(t, pegasus.InDoubt, failed(t, err).Outcome)
		before := b.requests(wire.Scan)
		found = append(found, take(t, withTimeout[0], 1)...)
		require.Equal(t, before, b.requests(wire.Scan), "a used context was sent again")
		require.Equal(t, rows, append(found, rest(t, withTimeout[0])...))
	})
}

// Every batch is asked for with the context of the answer before it.
func TestContextsAreUsedOnce(t *testing.T) {
	var ids []int64
	answered := 0
	withStub(t, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		if methodOf(request.Name) == wire.Scan {
			var got wire.ScanRequest
			arguments(t, request, &got)
			ids = append(ids, got.ContextID)
		}
		answered++
		if answered == 4 {
			return "", &wire.ScanResponse{ContextID: wire.ScanComplete}
		}
		return "", &wire.ScanResponse{
			Records:   []wire.KeyValue{{Key: fmt.Appendf(nil, "\x00\x04hash%d", answered)}},
			ContextID: -10 * int64(answered),
		}
	}, func(t *testing.T, s *stub) {
		require.Len(t, drain(t, s.table.Scan(t.Context(), hashKey, nil, nil, nil)), 3)
		require.Equal(t, []int64{-10, -20, -30}, ids)
	})
}

// TestScanBadAnswers has answers that no sound server gives. They fail the scan, which can go on.
func TestScanBadAnswers(t *testing.T) {
	record := func(keys ...string) *wire.ScanResponse {
		answer := &wire.ScanResponse{ContextID: 7}
		for _, key := range keys {
			answer.Records = append(answer.Records, wire.KeyValue{Key: []byte(key)})
		}
		return answer
	}
	for name, test := range map[string]struct {
		answer wire.Arguments
		want   error
		status wire.Status
	}{
		"same key twice":  {record("\x00\x04hashb", "\x00\x04hashb"), pegasus.ErrBadAnswer, 0},
		"descending":      {record("\x00\x04hashc", "\x00\x04hashb"), pegasus.ErrBadAnswer, 0},
		"old key":         {record("\x00\x04hasha"), pegasus.ErrBadAnswer, 0},
		"no key":          {record(""), pegasus.ErrBadAnswer, 0},
		"half a key":      {record("\x00\x09hash"), pegasus.ErrBadAnswer, 0},
		"hash key behind": {record("\x00\x04hasha\x00", "\x00\x04hasi"), pegasus.ErrBadAnswer, 0},
		"hash key before": {record("\x00\x04hasa"), pegasus.ErrBadAnswer, 0},
		"no end": {&wire.ScanResponse{
			ContextID: wire.ScanComplete, Records: []wire.KeyValue{{Key: []byte("\x00\x04hasa")}},
		}, pegasus.ErrBadAnswer, 0},
		"undecodable": {wire.Int64(5), nil, 0},
		"status":      {&wire.ScanResponse{Status: wire.StatusInvalidArgument}, nil, wire.StatusInvalidArgument},
		"corruption":  {&wire.ScanResponse{Status: wire.StatusCorruption}, nil, wire.StatusCorruption},
	} {
		t.Run(name, func(t *testing.T) {
			answers := []wire.Arguments{record("\x00\x04hasha"), test.answer, record("\x00\x04hashb"), &wire.ScanResponse{ContextID: wire.ScanComplete}}
			var asked []*wire.Method
			freed := 0
			withStub(t, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
				if methodOf(request.Name) == wire.ClearScanner {
					freed++
					return "", nil
				}
				asked = append(asked, methodOf(request.Name))
				next := answers[0]
				answers = answers[1:]
				return "", next
			}, func(t *testing.T, s *stub) {
				scanner, err := s.table.NewScanner(hashKey, nil, nil, batches(1))
				require.NoError(t, err)
				require.Equal(t, []row{{"hash", "a", ""}}, take(t, scanner, 1))
				_, err = scanner.Next(t.Context())
				failure := failed(t, err)
				require.Equal(t, "scan", failure.Operation)
				require.Equal(t, test.status, failure.Status)
				if test.want != nil {
					require.ErrorIs(t, err, test.want)
				}
				require.Equal(t, []row{{"hash", "b", ""}}, rest(t, scanner))
				synctest.Wait()
				require.Equal(t, []*wire.Method{wire.GetScanner, wire.Scan, wire.GetScanner, wire.Scan}, asked)
				bad, _ := test.answer.(*wire.ScanResponse)
				require.Equal(t, bad != nil && bad.ContextID == 7, freed == 1, "the context of what cannot be used")
			})
		})
	}
}

// A server that finds no context where none was named has a fault, which it is not asked for again.
func TestScannerNotFound(t *testing.T) {
	requests := 0
	withStub(t, func(*wire.Request) (wire.ErrorName, wire.Arguments) {
		requests++
		return "", &wire.ScanResponse{Status: wire.StatusNotFound}
	}, func(t *testing.T, s *stub) {
		require.Zero(t, elapsed(func() {
			for _, err := range s.table.Scan(t.Context(), hashKey, nil, nil, nil) {
				require.Equal(t, wire.StatusNotFound, failed(t, err).Status)
			}
		}))
		require.Equal(t, 1, requests)
	})
}

// A server that forgets every scan at once is asked as often as the budget of retries allows.
func TestForgetfulServerCostsTokens(t *testing.T) {
	const tokens = 3
	requests := 0
	withStub(t, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		requests++
		if methodOf(request.Name) == wire.GetScanner {
			return "", &wire.ScanResponse{ContextID: 7}
		}
		return "", &wire.ScanResponse{Status: wire.StatusNotFound}
	}, func(t *testing.T, s *stub) {
		for _, err := range s.table.Scan(t.Context(), hashKey, nil, nil, nil) {
			require.ErrorIs(t, err, retry.ErrBudget)
		}
		require.Equal(t, 2*(tokens+1), requests)
	}, pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(tokens, 0.001)}))
}

// A scan whose partition moves frees its context at the old server, and does not name it to the new one.
func TestScanLeavesItsContext(t *testing.T) {
	rows := users(10, 10)
	withRows(t, 1, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		found := take(t, s, 10)
		old := b.Primary(tableName, 0)
		b.movePrimaries()
		found = append(found, take(t, s, 1)...)
		pass(time.Second)
		require.Equal(t, 1, old.Requests(wire.ClearScanner))
		require.Equal(t, 1, b.Primary(tableName, 0).Requests(wire.GetScanner))
		require.Zero(t, b.Primary(tableName, 0).Requests(wire.Scan))
		require.Equal(t, rows, append(found, rest(t, s)...))
	})
}

// Numbers are summed over batches and partitions, and what was counted of a partition whose context is
// lost is discarded.
func TestCountOnly(t *testing.T) {
	rows := users(50, 30)
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			withRows(t, 4, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
				requests := atomic.Int64{}
				b.injectAll(onebox.Fault{Match: func(r *onebox.Request) bool {
					return r.Is(wire.Scan) && requests.Inc()%20 == 10
				}, Times: 3, CloseAfter: true})
				lose(b)
				count, err := s.Count(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, len(rows), count)
				require.Empty(t, rest(t, s), "counting ends the scan")
			})
		})
	}
	withRows(t, 4, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		_, err := s.Count(cancelled())
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, "count", failed(t, err).Operation)
		take(t, s, 99)
		count, err := s.Count(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, len(rows)-99, count)
		count, err = s.Count(t.Context())
		require.NoError(t, err)
		require.Zero(t, count)
	})
}

// Counting transfers no keys.
func TestCountTransfersNumbers(t *testing.T) {
	withStub(t, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		if methodOf(request.Name) == wire.GetScanner {
			var got wire.GetScannerRequest
			arguments(t, request, &got)
			if got.OnlyCount != wire.Yes {
				t.Error("a server was asked for records")
			}
			return "", &wire.ScanResponse{Count: 7, HasCount: true, ContextID: 5}
		}
		return "", &wire.ScanResponse{Count: 3, HasCount: true, ContextID: wire.ScanComplete}
	}, func(t *testing.T, s *stub) {
		count, err := s.table.CountTable(t.Context(), nil)
		require.NoError(t, err)
		require.EqualValues(t, 10, count)
	})
}

// A scan costs no more requests than it has batches and partitions.
func TestScanIsCheap(t *testing.T) {
	withRows(t, 4, users(1, 95), func(t *testing.T, b *box, s *pegasus.Scanner) {
		queries := b.queries()
		require.Len(t, rest(t, s), 95)
		require.Equal(t, 4, b.requests(wire.GetScanner))
		require.Equal(t, 9, b.requests(wire.Scan))
		require.Zero(t, b.requests(wire.ClearScanner))
		require.Equal(t, queries+1, b.queries(), "to know that nothing was split")
		require.Empty(t, rest(t, s))
		require.Equal(t, queries+1, b.queries())
	})
}
