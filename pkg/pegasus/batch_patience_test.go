package pegasus_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// sentTo is a request of a batch: the partition that it names, and how long after the one before it came.
type sentTo struct {
	partition int32
	after     time.Duration
}

// splitUnseen has the table split without the client's knowing, and all that it sends from then on recorded
// and refused, but for the first request, which the parent of the split refuses by itself.
func (b *box) splitUnseen(refusal wire.ErrorName, methods ...*wire.Method) *[]sentTo {
	b.t.Helper()
	require.NoError(b.t, b.StartSplit(tableName))
	require.NoError(b.t, b.FinishSplit(tableName))
	sent, before := new([]sentTo), time.Now()
	b.injectAll(onebox.Fault{Error: refusal, Match: func(r *onebox.Request) bool {
		if !slices.ContainsFunc(methods, r.Is) {
			return false
		}
		*sent = append(*sent, sentTo{r.Header.GPID.PartitionIndex, time.Since(before)})
		before = time.Now()
		return len(*sent) > 1
	}})
	return sent
}

// requirePauses checks the pauses before the requests to a partition: none, or the first so many of those
// that double from firstPause on.
func requirePauses(t testing.TB, sent []sentTo, partition int32, without, with int) {
	t.Helper()
	sent = slices.DeleteFunc(slices.Clone(sent), func(s sentTo) bool { return s.partition != partition })
	require.Len(t, sent, without+with)
	pause := firstPause
	for i, s := range sent {
		if i < without {
			require.Zero(t, s.after)
			continue
		}
		require.InDelta(t, pause, s.after, float64(pause)/50)
		pause *= 2
	}
}

const firstPause = 100 * time.Millisecond

// patientPolicy is one of so many tries with pauses that hardly vary.
func patientPolicy(tries int) pegasus.Option {
	return pegasus.WithRetry(retry.Policy{MaxAttempts: tries, InitialBackoff: firstPause, MaxBackoff: time.Minute, Jitter: 0.001})
}

// The parts of a request whose partition was split go on from the tries that it had, and make their
// pauses each by itself. One goroutine serves both of them here, so that all pauses can be seen.
func TestBatchPartsHaveTheirOwnPatience(t *testing.T) {
	for _, refusal := range []wire.ErrorName{wire.ErrSplitting, wire.ErrInvalidState} {
		inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
			sent := b.splitUnseen(refusal, wire.BatchGet)
			results, err := b.table.BatchGet(b.within(time.Minute), inPartitions(3, 2), nil)
			require.ErrorIs(t, err, retry.ErrAttempts)
			for i := range results {
				require.Equal(t, 5, failed(t, results[i].Err).Tries)
				require.Equal(t, refusal, failed(t, results[i].Err).Server)
			}
			requirePauses(t, *sent, 0, 1+1, 3) // the whole, and a half
			requirePauses(t, *sent, 1, 1, 3)
		}, patientPolicy(5))
	}
}

// The records of a batch that is written need not be grouped anew, but each group has a patience of its
// own, too, whatever became of the others before it.
func TestBatchGroupsHaveTheirOwnPatience(t *testing.T) {
	for _, several := range []int{1, 2} {
		for name, write := range map[string]func(b *box, keys []pegasus.Key, o *pegasus.BatchOptions) ([]error, error){
			"set": func(b *box, keys []pegasus.Key, o *pegasus.BatchOptions) ([]error, error) {
				return b.table.BatchSet(b.within(time.Minute), recordsOf(keys, func(int) string { return "value" }), o)
			},
			"del": func(b *box, keys []pegasus.Key, o *pegasus.BatchOptions) ([]error, error) {
				return b.table.BatchDel(b.within(time.Minute), keys, o)
			},
		} {
			t.Run(fmt.Sprint(name, " ", several), func(t *testing.T) {
				inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
					hashKeys := slices.DeleteFunc(inPartitions(2, 2), func(key pegasus.Key) bool { return hashOf(string(key.HashKey))%2 == 0 })
					var keys []pegasus.Key
					for i := range several * len(hashKeys) {
						keys = append(keys, pegasus.Key{HashKey: hashKeys[i%2].HashKey, SortKey: fmt.Append(nil, i)})
					}
					sent := b.splitUnseen(wire.ErrNotEnoughMember, wire.Put, wire.Remove, wire.MultiPut, wire.MultiRemove)
					errs, err := write(b, keys, &pegasus.BatchOptions{Concurrency: 1})
					require.ErrorIs(t, err, retry.ErrAttempts)
					for i := range errs {
						require.Equal(t, 5, failed(t, errs[i]).Tries)
					}
					require.Len(t, *sent, 2*5)
					requirePauses(t, (*sent)[:5], 0, 1, 0)
					requirePauses(t, (*sent)[:5], 1, 1, 3)
					requirePauses(t, (*sent)[5:], 1, 1, 4) // it knows of the split
				}, patientPolicy(5))
			})
		}
	}
}
