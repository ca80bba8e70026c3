package pegasus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// batchRecord is a record in short.
func batchRecord(hashKey, sortKey, value string, ttl time.Duration) pegasus.BatchRecord {
	return pegasus.BatchRecord{HashKey: []byte(hashKey), SortKey: []byte(sortKey), Value: []byte(value), TTL: ttl}
}

// TestBatchSetGroups checks which records travel together: those with a hash key, the same, and the
// same TTL.
func TestBatchSetGroups(t *testing.T) {
	for name, c := range map[string]struct {
		records     []pegasus.BatchRecord
		puts, multi int
	}{
		"one":           {[]pegasus.BatchRecord{batchRecord("h", "s", "v", 0)}, 1, 0},
		"one hash key":  {[]pegasus.BatchRecord{batchRecord("h", "a", "v", 0), batchRecord("h", "b", "v", 0)}, 0, 1},
		"two hash keys": {[]pegasus.BatchRecord{batchRecord("h", "a", "v", 0), batchRecord("i", "b", "v", 0)}, 2, 0},
		"two TTLs":      {[]pegasus.BatchRecord{batchRecord("h", "a", "v", 0), batchRecord("h", "b", "v", time.Hour)}, 2, 0},
		"two TTLs, crossed": {[]pegasus.BatchRecord{
			batchRecord("h", "a", "v", 0), batchRecord("h", "b", "v", time.Hour),
			batchRecord("h", "c", "v", 0), batchRecord("h", "d", "v", time.Hour),
		}, 0, 2},
		"no hash key":    {[]pegasus.BatchRecord{batchRecord("", "a", "v", 0), batchRecord("", "b", "v", 0)}, 2, 0},
		"the same again": {slices.Repeat([]pegasus.BatchRecord{batchRecord("h", "a", "v", 0)}, 5), 1, 0},
		"more than limits": {slices.Concat(
			recordsOf(keysOfOne(100), func(int) string { return "v" }),
			[]pegasus.BatchRecord{batchRecord("h", "z", "v", 0)},
		), 1, 1},
		"more than a request": {[]pegasus.BatchRecord{
			batchRecord("h", "a", strings.Repeat("v", 150_000), 0), batchRecord("h", "b", strings.Repeat("v", 150_000), 0),
			batchRecord("h", "c", strings.Repeat("v", 1000_000), 0), batchRecord("h", "d", "v", 0), batchRecord("h", "e", "v", 0),
		}, 3, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{}, func(t *testing.T, b *box) {
				b.batchSet(c.records)
				require.Equal(t, c.puts, b.requests(wire.Put))
				require.Equal(t, c.multi, b.requests(wire.MultiPut))
				keys := make([]pegasus.Key, len(c.records))
				for i, r := range c.records {
					keys[i] = pegasus.Key{HashKey: r.HashKey, SortKey: r.SortKey}
					left, expires, err := b.table.TTL(t.Context(), r.HashKey, r.SortKey)
					require.NoError(t, err)
					require.Equal(t, r.TTL, left)
					require.Equal(t, r.TTL > 0, expires)
				}
				b.batchHolds(keys, func(i int) string { return string(c.records[i].Value) })
				errs, err := b.table.BatchDel(t.Context(), keys, nil)
				require.NoError(t, err)
				require.Equal(t, make([]error, len(keys)), errs)
				results, err := b.table.BatchGet(t.Context(), keys, nil)
				require.NoError(t, err)
				require.Equal(t, slices.Repeat([]string{"-"}, len(keys)), texts(t, results))
			})
		})
	}
}

// keysOfOne are so many keys with one hash key.
func keysOfOne(n int) (keys []pegasus.Key) {
	for i := range n {
		keys = append(keys, pegasus.Key{HashKey: []byte("h"), SortKey: fmt.Appendf(nil, "key %d", i)})
	}
	return keys
}

// Of records with the same key the last one wins, however many requests are under way. Those that
// cannot be sent do not count.
func TestBatchSetLastWins(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{}, func(t *testing.T, b *box) {
		b.injectAll(onebox.Fault{Match: func(r *onebox.Request) bool { return r.Sequence%2 == 0 }, Delay: time.Millisecond})
		tooLong := strings.Repeat("v", 2<<20)
		for _, hashKey := range []string{"", "h"} {
			var records []pegasus.BatchRecord
			for i := range 200 {
				records = append(records, batchRecord(hashKey, fmt.Sprint("key ", i%20), fmt.Sprint("value ", i), time.Duration(i%3)*time.Hour))
			}
			records = append(records, batchRecord(hashKey, "key 7", tooLong, 0), batchRecord(hashKey, "key 8", "", -1))
			errs, err := b.table.BatchSet(t.Context(), records, nil)
			require.Equal(t, make([]error, 200), errs[:200])
			require.ErrorIs(t, errs[200], pegasus.ErrTooLarge)
			require.ErrorIs(t, errs[201], pegasus.ErrInvalidTTL)
			require.ErrorIs(t, err, pegasus.ErrTooLarge)
			require.ErrorIs(t, err, pegasus.ErrInvalidTTL)
			for i := range 20 {
				value, err := b.table.Get(t.Context(), []byte(hashKey), fmt.Appendf(nil, "key %d", i))
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint("value ", 180+i), string(value))
			}
		}
	})
}

// TestBatchWritesOfInvalid has every kind of record that cannot be sent among one that can.
func TestBatchWritesOfInvalid(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		longest, tooLong := strings.Repeat("k", 65534), strings.Repeat("k", 65535)
		errs, err := b.table.BatchSet(t.Context(), []pegasus.BatchRecord{
			batchRecord(tooLong, "", "", 0), batchRecord("a", "b", strings.Repeat("v", 1<<20), 0),
			batchRecord(longest, "", "value", 0), batchRecord("a", "b", "", math.MaxInt64), batchRecord("a", "b", "", -time.Second),
		}, nil)
		var failure *pegasus.BatchError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, []int{0, 1, 3, 4}, failure.Failed)
		require.Equal(t, 5, failure.Items)
		require.Zero(t, failure.InDoubt)
		for i, want := range []error{pegasus.ErrHashKeyTooLong, pegasus.ErrTooLarge, nil, pegasus.ErrInvalidTTL, pegasus.ErrInvalidTTL} {
			if want == nil {
				require.NoError(t, errs[i])
				continue
			}
			require.ErrorIs(t, errs[i], want)
			require.Equal(t, "batch set", failed(t, errs[i]).Operation)
			require.Equal(t, pegasus.NotSent, failed(t, errs[i]).Outcome)
		}
		require.Equal(t, 1, b.requests(wire.Put))
		errs, err = b.table.BatchDel(t.Context(), []pegasus.Key{
			{HashKey: []byte(tooLong)}, {HashKey: []byte(longest)}, {SortKey: bytes.Repeat([]byte("s"), 1<<20)},
		}, nil)
		require.ErrorIs(t, err, pegasus.ErrHashKeyTooLong)
		require.ErrorIs(t, errs[0], pegasus.ErrHashKeyTooLong)
		require.NoError(t, errs[1])
		require.ErrorIs(t, errs[2], pegasus.ErrTooLarge)
		require.Equal(t, 1, b.requests(wire.Remove))
	})
}

// Groups are as large as servers accept, and no larger: the limit is the smallest that there is.
func TestBatchGroupsWithinTheLimit(t *testing.T) {
	const limit = 1 << 10
	var sizes []int
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		sizes = append(sizes, len(request.Body))
		if methodOf(request.Name) == wire.MultiRemove {
			return "", &wire.MultiRemoveResponse{}
		}
		return "", &wire.UpdateResponse{}
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		options := &pegasus.BatchOptions{ChunkItems: 10_000, Concurrency: 1}
		for _, length := range []int{0, 1, 10, 100, 460} {
			var records []pegasus.BatchRecord
			var keys []pegasus.Key
			for i := range 100 {
				records = append(records, batchRecord("h", fmt.Sprint(i), strings.Repeat("v", length), 0))
				keys = append(keys, pegasus.Key{HashKey: []byte("h"), SortKey: fmt.Appendf(nil, "%0*d", length, i)})
			}
			_, err := s.table.BatchSet(t.Context(), records, options)
			require.NoError(t, err)
			_, err = s.table.BatchDel(t.Context(), keys, options)
			require.NoError(t, err)
			require.LessOrEqual(t, slices.Max(sizes), limit)
			sizes = nil
		}
	}, pegasus.WithMaxWriteBytes(limit))
}

// TestBatchWritesInDoubt loses the connection of one partition: only its records are in doubt.
func TestBatchWritesInDoubt(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
		all := inPartitions(1, 3)
		for i := range all {
			require.NoError(t, b.MovePrimary(tableName, i, i))
		}
		b.batchSet(recordsOf(all, func(int) string { return "old" }))
		lost := int(hashOf(string(all[1].HashKey)) % 3)
		b.Primary(tableName, lost).Inject(onebox.Fault{Match: onebox.OnMethod(wire.Put, wire.Remove), CloseAfter: true})
		for _, write := range []func() ([]error, error){
			func() ([]error, error) {
				return b.table.BatchSet(t.Context(), recordsOf(all, func(int) string { return "new" }), nil)
			},
			func() ([]error, error) { return b.table.BatchDel(t.Context(), all, nil) },
		} {
			errs, err := write()
			require.NoError(t, errs[0])
			require.NoError(t, errs[2])
			require.Equal(t, pegasus.InDoubt, failed(t, errs[1]).Outcome)
			var failure *pegasus.BatchError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, []int{1}, failure.Failed)
			require.Equal(t, 1, failure.InDoubt)
			require.Contains(t, err.Error(), "1 of 3 items failed (1 in doubt), first item 1: ")
		}
	}, pegasus.WithRetryDoubtfulWrites(false))
}

// batchOperations are the batches, each with 40 items.
var batchOperations = map[string]func(ctx context.Context, table *pegasus.Table) (errs []error, err error){
	"get": func(ctx context.Context, table *pegasus.Table) (errs []error, err error) {
		results, err := table.BatchGet(ctx, numberedKeys(40), &pegasus.BatchOptions{ChunkItems: 1})
		for _, result := range results {
			errs = append(errs, result.Err)
		}
		return errs, err
	},
	"set": func(ctx context.Context, table *pegasus.Table) (errs []error, err error) {
		return table.BatchSet(ctx, recordsOf(numberedKeys(40), func(int) string { return "value" }), nil)
	},
	"del": func(ctx context.Context, table *pegasus.Table) (errs []error, err error) {
		return table.BatchDel(ctx, keysOfOne(40), &pegasus.BatchOptions{ChunkItems: 2, Concurrency: 3})
	},
}

// TestBatchesEnd ends batches in every way, at once or while they wait for a silent server. Each item
// has its error, and the bubble ends only if no goroutine is left.
func TestBatchesEnd(t *testing.T) {
	type ending struct {
		end  func(b *box, cancel context.CancelFunc)
		want error
	}
	endings := map[string]ending{
		"cancelled":     {func(_ *box, cancel context.CancelFunc) { cancel() }, context.Canceled},
		"out of time":   {func(*box, context.CancelFunc) { pass(pegasus.DefaultOperationTimeout) }, context.DeadlineExceeded},
		"client closed": {func(b *box, _ context.CancelFunc) { require.NoError(b.t, b.client.Close()) }, pegasus.ErrClosed},
	}
	for operation, run := range batchOperations {
		for name, c := range endings {
			for _, before := range []bool{true, false} {
				if before && name == "out of time" {
					continue
				}
				t.Run(fmt.Sprint(operation, " ", name, " ", before), func(t *testing.T) {
					inBubble(t, onebox.Config{}, onebox.TableOptions{}, func(t *testing.T, b *box) {
						for _, node := range b.Replicas() {
							node.Pause()
						}
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						if before {
							c.end(b, cancel)
						}
						wait := b.inBackground(func() {
							errs, err := run(ctx, b.table)
							require.Len(t, errs, 40)
							require.ErrorIs(t, err, c.want)
							for _, err := range errs {
								require.ErrorIs(t, err, c.want)
							}
						})
						synctest.Wait()
						if !before {
							c.end(b, cancel)
						}
						took := elapsed(wait)
						require.Less(t, took, 30*time.Millisecond)
					}, pegasus.WithConnections(rpc.Options{SilenceLimit: time.Minute}))
				})
			}
		}
	}
}

// A closed table refuses batches. Of one under way, what was sent ends well.
func TestBatchesOfClosedTable(t *testing.T) {
	for name, run := range batchOperations {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{}, func(t *testing.T, b *box) {
				b.injectAll(onebox.Fault{Delay: 100 * time.Millisecond})
				wait := b.inBackground(func() {
					errs, _ := run(t.Context(), b.table)
					good := 0
					for _, err := range errs {
						if errors.Is(err, pegasus.ErrClosed) {
							continue
						}
						present(t, err) // or absent
						good++
					}
					require.NotZero(t, good)
				})
				synctest.Wait()
				b.table.Close()
				errs, err := run(t.Context(), b.table)
				require.ErrorIs(t, err, pegasus.ErrClosed)
				require.Len(t, errs, 40)
				for _, err := range errs {
					require.ErrorIs(t, err, pegasus.ErrClosed)
					require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
				}
				wait()
			})
		})
	}
}

// batchLoad writes and reads batches until it is told to stop. No item may fail, and every batch must
// read what the one before has written.
type batchLoad struct {
	ending  chan struct{}
	working sync.WaitGroup
	rounds  atomic.Int64
}

func startBatchLoad(b *box, workers int) *batchLoad {
	l := &batchLoad{ending: make(chan struct{})}
	for worker := range workers {
		keys := inPartitions(5, 12)
		for i := range keys {
			keys[i].SortKey = fmt.Appendf(nil, "of worker %d", worker)
			if i%4 == 0 {
				keys[i].HashKey = keys[0].HashKey // these travel together
				keys[i].SortKey = fmt.Appendf(keys[i].SortKey, " %d", i)
			}
		}
		l.working.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-l.ending:
					return
				case <-time.After(40 * time.Millisecond):
				}
				value := func(i int) string { return fmt.Sprint("round ", round, " item ", i) }
				b.batchSet(recordsOf(keys, value))
				b.batchHolds(keys, value)
				if round%8 == 7 {
					_, err := b.table.BatchDel(b.t.Context(), keys, nil)
					require.NoError(b.t, err)
				}
				l.rounds.Inc()
			}
		})
	}
	return l
}

func (l *batchLoad) stop(t testing.TB) {
	close(l.ending)
	l.working.Wait()
	require.NotZero(t, l.rounds.Load())
}

// TestBatchesUnderSplit and TestBatchesUnderDisturbances do to batches what is done to single
// operations.
func TestBatchesUnderSplit(t *testing.T) {
	for name, split := range splits {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
				load := startBatchLoad(b, 3)
				pass(50 * time.Millisecond)
				split(t, b)
				pass(200 * time.Millisecond)
				load.stop(t)
			})
		})
	}
}

func TestBatchesUnderDisturbances(t *testing.T) {
	for name, disturb := range disturbances {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 6}, func(t *testing.T, b *box) {
				load := startBatchLoad(b, 3)
				pass(100 * time.Millisecond)
				disturb(t, b)
				pass(300 * time.Millisecond)
				load.stop(t)
			}, pegasus.WithConnections(rpc.Options{SilenceLimit: time.Second, DialTimeout: time.Second}))
		})
	}
}

// TestBatchOfTableMadeAnew has the table come back with another number and partition count.
func TestBatchOfTableMadeAnew(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 8}, func(t *testing.T, b *box) {
		all := numberedKeys(50)
		for _, partitions := range []int{3, 16, 1} {
			b.batchSet(recordsOf(all, func(int) string { return "old" }))
			require.NoError(t, b.DropTable(tableName))
			b.create(onebox.TableOptions{Partitions: partitions})
			results, err := b.table.BatchGet(t.Context(), all, nil)
			require.NoError(t, err)
			require.Equal(t, slices.Repeat([]string{"-"}, 50), texts(t, results))
			b.batchSet(recordsOf(all, func(int) string { return "new" }))
			b.batchHolds(all, func(int) string { return "new" })
		}
	})
}

// TestBatchArgumentsAreTheCallers checks that nothing is written to what was passed in, nor kept of it.
func TestBatchArgumentsAreTheCallers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		hashKey, sortKey, value := roomy("hash"), roomy("sort"), roomy("value")
		records := []pegasus.BatchRecord{
			{HashKey: hashKey, SortKey: sortKey, Value: value}, {HashKey: hashKey, Value: value}, {SortKey: sortKey, Value: value},
		}
		asked := []pegasus.Key{{HashKey: hashKey, SortKey: sortKey}, {HashKey: hashKey}, {SortKey: sortKey}}
		before := slices.Clone(records)
		b.batchSet(records)
		require.Equal(t, before, records)
		b.batchHolds(asked, func(int) string { return "value" })
		_, err := b.table.BatchDel(t.Context(), asked[1:], nil)
		require.NoError(t, err)
		requireUntouched(t, hashKey, "hash")
		requireUntouched(t, sortKey, "sort")
		requireUntouched(t, value, "value")
		results, err := b.table.BatchGet(t.Context(), asked, nil)
		require.NoError(t, err)
		for _, memory := range [][]byte{hashKey, sortKey, value} {
			spoil(memory)
		}
		for range 20 {
			b.set("key", "other")
		}
		require.Equal(t, []string{"value", "-", "-"}, texts(t, results))
		b.requireKept("hash", "sort", "value")
	})
}

func (b *box) requireKept(hashKey, sortKey, want string) {
	b.t.Helper()
	value, err := b.table.Get(b.t.Context(), []byte(hashKey), []byte(sortKey))
	require.NoError(b.t, err)
	require.Equal(b.t, want, string(value))
}
