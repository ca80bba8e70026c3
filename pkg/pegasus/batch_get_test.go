package pegasus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestBatchGet checks order, duplicates, what is absent, and that each partition is asked once.
func TestBatchGet(t *testing.T) {
	for _, partitions := range []int{1, 3, 8} {
		inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions}, func(t *testing.T, b *box) {
			all := numberedKeys(60)
			b.batchSet(recordsOf(all[:40], func(i int) string { return fmt.Sprint("value ", i) }))
			b.batchSet([]pegasus.BatchRecord{{HashKey: []byte("empty")}})
			asked := append(slices.Clone(all), all[3], all[50], pegasus.Key{HashKey: []byte("empty")}, all[3])
			slices.Reverse(asked[:60])
			results, err := b.table.BatchGet(t.Context(), asked, nil)
			require.NoError(t, err)
			want := slices.Repeat([]string{"-"}, 20)
			for i := range 40 {
				want = append(want, fmt.Sprint("value ", 39-i))
			}
			require.Equal(t, append(want, "value 3", "-", "", "value 3"), texts(t, results))
			require.Equal(t, partitions, b.requests(wire.BatchGet))
		})
	}
}

func TestBatchOfNothing(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		results, err := b.table.BatchGet(cancelled(), nil, nil)
		require.NoError(t, err)
		require.Empty(t, results)
		errs, err := b.table.BatchSet(cancelled(), nil, &pegasus.BatchOptions{})
		require.NoError(t, err)
		require.Empty(t, errs)
		errs, err = b.table.BatchDel(cancelled(), nil, nil)
		require.NoError(t, err)
		require.Empty(t, errs)
	})
}

// keyOf draws keys of few kinds, so that there are duplicates, and one is often a part of another.
var keyOf = rapid.Custom(func(t *rapid.T) pegasus.Key {
	part := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 0xff}), 0, 3)
	return pegasus.Key{HashKey: part.Draw(t, "hash key"), SortKey: part.Draw(t, "sort key")}
})

// TestBatchesEqualSingles compares batches with operations on single records.
func TestBatchesEqualSingles(t *testing.T) {
	for _, partitions := range []int{1, 3, 8} {
		b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions})
		ctx, written := t.Context(), 0
		rapid.Check(t, func(t *rapid.T) {
			options := &pegasus.BatchOptions{
				ChunkItems: rapid.IntRange(0, 5).Draw(t, "items"), ChunkBytes: rapid.IntRange(0, 20).Draw(t, "bytes"),
			}
			keys := rapid.SliceOfN(keyOf, 0, 30)
			written++
			records := recordsOf(keys.Draw(t, "set"), func(i int) string { return fmt.Sprintf("%d of %d", i, written) })
			_, err := b.table.BatchSet(ctx, records, options)
			require.NoError(t, err)
			last := make(map[string]string)
			name := func(hashKey, sortKey []byte) string { return fmt.Sprintf("%x %x", hashKey, sortKey) }
			for _, r := range records {
				last[name(r.HashKey, r.SortKey)] = string(r.Value)
			}
			deleted := keys.Draw(t, "del")
			_, err = b.table.BatchDel(ctx, deleted, options)
			require.NoError(t, err)
			for _, key := range deleted {
				last[name(key.HashKey, key.SortKey)] = "-"
			}
			asked := keys.Draw(t, "get")
			results, err := b.table.BatchGet(ctx, asked, options)
			require.NoError(t, err)
			require.Len(t, results, len(asked))
			for i, key := range asked {
				value, err := b.table.Get(ctx, key.HashKey, key.SortKey)
				require.Equal(t, err, results[i].Err)
				require.Equal(t, value, results[i].Value)
				if want, known := last[name(key.HashKey, key.SortKey)]; known && want != "-" {
					require.Equal(t, want, string(value))
				} else if known {
					require.Same(t, pegasus.ErrNotFound, err)
				}
			}
		})
	}
}

// A batch must not take the word of a server about keys that the server has handed to another
// partition: it would find what was there before the split. The client has not heard of the split,
// which may be one of several, and groups keys of different partitions together.
func TestBatchGetWithStaleRouting(t *testing.T) {
	for name, split := range map[string]func(b *box){
		"split": func(b *box) {
			require.NoError(b.t, b.StartSplit(tableName))
			require.NoError(b.t, b.FinishSplit(tableName))
		},
		"split twice": func(b *box) {
			for range 2 {
				require.NoError(b.t, b.StartSplit(tableName))
				require.NoError(b.t, b.FinishSplit(tableName))
			}
		},
		"split begun, and then seen by the client": func(b *box) {
			require.NoError(b.t, b.StartSplit(tableName))
			require.NoError(b.t, b.MovePrimary(tableName, 0, 1))
			require.NoError(b.t, b.MovePrimary(tableName, 1, 2))
			b.batchHolds(numberedKeys(40), func(int) string { return "old" })
			require.NoError(b.t, b.FinishSplit(tableName))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
				all := numberedKeys(40)
				b.batchSet(recordsOf(all, func(int) string { return "old" }))
				split(b)
				other := *b
				other.client = b.open()
				other.table = other.openTable()
				other.batchSet(recordsOf(all, func(int) string { return "new" }))
				for i := range all { // in an order of their own, so that any key may be the first one
					asked := append(slices.Clone(all[i:]), all[:i]...)
					b.batchHolds(asked, func(int) string { return "new" })
				}
			})
		})
	}
}

// The split comes between two tries of a request.
func TestBatchGetSplitUnderway(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 1}, func(t *testing.T, b *box) {
		all := numberedKeys(30)
		b.batchSet(recordsOf(all, func(int) string { return "old" }))
		other := *b
		other.client = b.open()
		other.table = other.openTable()
		b.injectAll(onebox.Fault{Match: onebox.OnMethod(wire.BatchGet), Error: wire.ErrSplitting, Times: 1})
		wait := b.inBackground(func() { b.batchHolds(all, func(int) string { return "new" }) })
		synctest.Wait() // in the pause before the second try
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.FinishSplit(tableName))
		other.batchSet(recordsOf(all, func(int) string { return "new" }))
		wait()
		require.Equal(t, 1+1+2, b.requests(wire.BatchGet), "refused, refused by the parent, and in two halves")
	})
}

// inPartitions returns n keys of the table for each of the partitions.
func inPartitions(n, partitions int) (keys []pegasus.Key) {
	found := make([]int, partitions)
	for i := 0; len(keys) < n*partitions; i++ {
		key := fmt.Sprint("key ", i)
		if p := hashOf(key) % uint64(partitions); found[p] < n {
			found[p]++
			keys = append(keys, batchKeys(key)...)
		}
	}
	return keys
}

// TestBatchGetRepeatsWhatFailed moves one primary of eight: one request is repeated.
func TestBatchGetRepeatsWhatFailed(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 8}, func(t *testing.T, b *box) {
		all := inPartitions(10, 8)
		b.batchSet(recordsOf(all, func(int) string { return "value" }))
		moved := b.Secondaries(tableName, 5)[0].Index()
		require.NoError(t, b.MovePrimary(tableName, 5, moved))
		queries := b.queries()
		b.batchHolds(all, func(int) string { return "value" })
		require.Equal(t, 8+1, b.requests(wire.BatchGet))
		require.Equal(t, queries+1, b.queries())
	})
}

// TestBatchGetPartly has one partition fail: the results of the others are there, and the error says
// which are not.
func TestBatchGetPartly(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		all := inPartitions(3, 4)
		b.batchSet(recordsOf(all, func(int) string { return "value" }))
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Match: func(r *onebox.Request) bool {
			return r.Is(wire.BatchGet) && r.Header.GPID.PartitionIndex == 2
		}})
		results, err := b.table.BatchGet(t.Context(), all, nil)
		var want []int
		for i, key := range all {
			if hashOf(string(key.HashKey))%4 != 2 {
				require.Equal(t, "value", string(results[i].Value))
				continue
			}
			want = append(want, i)
			require.ErrorIs(t, results[i].Err, pegasus.ErrBusy)
			require.Nil(t, results[i].Value)
			require.Equal(t, "batch get", failed(t, results[i].Err).Operation)
			require.Equal(t, 2, failed(t, results[i].Err).Partition)
		}
		var failure *pegasus.BatchError
		require.ErrorAs(t, err, &failure)
		require.Equal(t, want, failure.Failed)
		require.Len(t, failure.Unwrap(), 1, "three items, one cause")
		require.ErrorIs(t, err, pegasus.ErrBusy)
		require.EqualError(t, err, fmt.Sprintf(`pegasus: batch get in table "temp": 3 of 12 items failed, `+
			`first item %d: pegasus: batch get in table "temp" partition 2: node 10.0.1.3:34801: server answered ERR_BUSY`, want[0]))
	})
}

// A key that cannot be is its own failure. Nothing is sent for it.
func TestBatchGetOfInvalidKeys(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		long := strings.Repeat("k", 65535)
		results, err := b.table.BatchGet(t.Context(), batchKeys(long, "key", long), nil)
		require.ErrorIs(t, err, pegasus.ErrHashKeyTooLong)
		require.Equal(t, "value", string(results[1].Value))
		require.Equal(t, pegasus.NotSent, failed(t, results[2].Err).Outcome)
		_, err = b.table.BatchGet(t.Context(), batchKeys(long), nil)
		require.ErrorIs(t, err, pegasus.ErrHashKeyTooLong)
		require.Equal(t, 1, b.requests(wire.BatchGet))
	})
}

// TestBatchChunks checks how many requests a batch is cut into.
func TestBatchChunks(t *testing.T) {
	for _, c := range []struct {
		options  *pegasus.BatchOptions
		requests int
	}{
		{nil, 3},
		{&pegasus.BatchOptions{ChunkItems: -1, ChunkBytes: -1, Concurrency: -1}, 3},
		{&pegasus.BatchOptions{ChunkItems: 250}, 1},
		{&pegasus.BatchOptions{ChunkItems: 1}, 250},
		{&pegasus.BatchOptions{ChunkItems: 70, Concurrency: 1}, 4},
		{&pegasus.BatchOptions{ChunkBytes: 5 * len("keysort")}, 50},
		{&pegasus.BatchOptions{ChunkBytes: 1}, 250},
	} {
		inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
			b.set("key", "value")
			results, err := b.table.BatchGet(t.Context(), slices.Repeat(batchKeys("key"), 250), c.options)
			require.NoError(t, err)
			require.Equal(t, slices.Repeat([]string{"value"}, 250), texts(t, results))
			require.Equal(t, c.requests, b.requests(wire.BatchGet))
		})
	}
}

// TestBatchGetAboveTheLimit asks for more than the client accepts in one answer.
func TestBatchGetAboveTheLimit(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		all, long := numberedKeys(60), strings.Repeat("long", 1000)
		b.batchSet(recordsOf(all, func(int) string { return long }))
		b.batchHolds(all, func(int) string { return long })
		require.Less(t, b.requests(wire.BatchGet), 20)
	}, pegasus.WithConnections(rpc.Options{MaxResponseBytes: 64 << 10}))
}

// TestBatchConcurrency counts the requests that a silent server is sent.
func TestBatchConcurrency(t *testing.T) {
	for _, c := range []struct{ most, requests int }{{0, 16}, {1, 1}, {3, 3}, {1000, 40}} {
		var sent atomic.Int64
		silent := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
			sent.Inc()
			return "", nil
		}
		withStub(t, silent, func(t *testing.T, s *stub) {
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				options := &pegasus.BatchOptions{Concurrency: c.most, ChunkItems: 1}
				results, err := s.table.BatchGet(ctx, numberedKeys(40), options)
				require.ErrorIs(t, err, context.Canceled)
				for _, result := range results {
					require.ErrorIs(t, result.Err, context.Canceled)
				}
			}()
			synctest.Wait()
			require.Equal(t, int64(c.requests), sent.Load())
			cancel()
			<-done
			require.Equal(t, int64(c.requests), sent.Load())
		})
	}
}

// TestBatchGetWithStrangeAnswers gives answers that no sound server gives.
func TestBatchGetWithStrangeAnswers(t *testing.T) {
	full := func(names ...string) (records []wire.FullData) {
		for _, name := range names {
			records = append(records, wire.FullData{HashKey: []byte(name), SortKey: []byte("sort"), Value: []byte("of " + name)})
		}
		return records
	}
	oversized := wire.FullData{HashKey: make([]byte, 70_000), Value: []byte("value")}
	all := []string{"of a", "of b", "-", "of a"}
	for name, c := range map[string]struct {
		records []wire.FullData
		want    []string
	}{
		"usual":            {full("a", "b", "a"), all},
		"other order":      {full("b", "a", "a"), all},
		"reverse":          {full("a", "b", "a", "b"), all},
		"repeated":         {full("a", "a", "b", "b", "a"), all},
		"each only once":   {full("a", "b"), []string{"of a", "of b", "-", "-"}},
		"never asked for":  {full("x", "a", "y", "b", "a"), all},
		"only strangers":   {append(full("x", ""), oversized, wire.FullData{}), []string{"-", "-", "-", "-"}},
		"nothing":          {nil, []string{"-", "-", "-", "-"}},
		"without sort key": {[]wire.FullData{{HashKey: []byte("a")}}, []string{"-", "-", "-", "-"}},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
				return wire.ErrOK, &wire.BatchGetResponse{Records: c.records}
			}
			withStub(t, answer, func(t *testing.T, s *stub) {
				results, err := s.table.BatchGet(t.Context(), batchKeys("a", "b", "c", "a"), nil)
				require.NoError(t, err)
				require.Equal(t, c.want, texts(t, results))
				if c.want[3] == "of a" { // results share no bytes
					spoil(results[0].Value)
					require.Equal(t, "of a", string(results[3].Value))
				}
			})
		})
	}
}

// The engine's verdict is that on all keys of the request.
func TestBatchGetStatus(t *testing.T) {
	status := wire.StatusIOError
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
		return wire.ErrOK, &wire.BatchGetResponse{Status: status}
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		for _, status = range []wire.Status{wire.StatusIOError, wire.StatusNotFound, 99} {
			results, err := s.table.BatchGet(t.Context(), batchKeys("a", "b"), nil)
			require.Error(t, err)
			require.NotErrorIs(t, err, pegasus.ErrNotFound)
			for _, result := range results {
				require.Equal(t, status, failed(t, result.Err).Status)
			}
		}
	})
}

// TestBatchAttempts checks that the parts of a batch are sent no more often than the policy allows,
// also when they are grouped anew in between.
func TestBatchAttempts(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 1}, func(t *testing.T, b *box) {
		all := inPartitions(3, 4)
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.FinishSplit(tableName))
		b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Match: func(r *onebox.Request) bool {
			return r.Header.GPID.PartitionIndex > 0
		}})
		results, err := b.table.BatchGet(t.Context(), all, nil)
		require.ErrorIs(t, err, retry.ErrAttempts)
		require.Equal(t, 1+2+1, b.requests(wire.BatchGet), "whole, in two halves, one of them again")
		for i, key := range all {
			if hashOf(string(key.HashKey))%2 == 0 {
				require.Same(t, pegasus.ErrNotFound, results[i].Err)
			} else {
				require.Equal(t, 3, failed(t, results[i].Err).Tries)
			}
		}
	}, pegasus.WithRetry(retry.Policy{MaxAttempts: 3}))
}

// A partition without a primary must not keep those waiting that have one, however few are asked at a
// time.
func TestBatchServesWhatItCan(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		all := inPartitions(20, 4)
		b.batchSet(recordsOf(all, func(int) string { return "value" }))
		b.withoutPrimary(0)
		b.withoutPrimary(1)
		options := &pegasus.BatchOptions{Concurrency: 1, ChunkItems: 2}
		results, err := b.table.BatchGet(b.within(time.Second), all, options)
		require.ErrorIs(t, err, pegasus.ErrNoPrimary)
		for i, key := range all {
			if hashOf(string(key.HashKey))%4 < 2 {
				require.ErrorIs(t, results[i].Err, pegasus.ErrNoPrimary)
			} else {
				require.Equal(t, "value", string(results[i].Value))
			}
		}
	})
}
