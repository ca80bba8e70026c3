package rpc

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// decoded is a Get whose answer is followed by something else, on the goroutine that reads.
type decoded struct {
	*get
	then func()
}

func (d decoded) Decode(r *wire.Reader) {
	d.get.Decode(r)
	d.then()
}

// startMany makes calls whose answers, when they are decoded, are followed by then with the call's number.
func (r *rig) startMany(count int, then func(i int)) (calls []*background) {
	for i := range count {
		g := newGet(fmt.Sprint("key ", i))
		g.Result = decoded{g, func() { then(i) }}
		calls = append(calls, r.startWith(g))
		synctest.Wait()
	}
	return calls
}

// answerTogether has one read bring the answers to all calls.
func answerTogether(t *testing.T, stream *stubStream, calls []*background) {
	var keys []string
	for _, c := range calls {
		keys = append(keys, string(c.key))
	}
	stream.reads <- answersOf(keys...)
	for _, c := range calls {
		c.requireAnswered(t)
	}
	synctest.Wait()
}

// Of many answers that come at once, the first callers' next requests leave before the last callers get theirs:
// otherwise the server would have nothing to do until all are delivered. So it is several times, if there are as many.
func TestReaderWritesBetweenBatchesOfAnswers(t *testing.T) {
	const writes, distance = 3, arrivalBatch * batchesPerWrite
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		r := newDirectRig(t, stream, Options{})
		var flushes []uint64
		calls := r.startMany(writes*distance+1, func(i int) {
			if i%distance == 0 { // the caller asks for something else as soon as it can
				flushes = append(flushes, r.node.Stats().Flushes)
				if err := r.node.Send(&newGet("next").Request); err != nil {
					t.Error(err)
				}
			}
		})
		before := r.node.Stats().Flushes
		answerTogether(t, stream, calls)
		require.Equal(t, []uint64{before, before + 1, before + 2, before + 3}, flushes)
	})
}

// Of many answers that come at once, the first callers have returned before the last answers are decoded, even
// where there is only one processor to run on. A yield or two may come to nothing, since the scheduler now and then
// prefers who has yielded.
func TestReaderLetsCallersRunBetweenAnswers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		r := newDirectRig(t, stream, Options{})
		var calls []*background
		returned := 0
		calls = r.startMany(3*arrivalBatch+1, func(i int) {
			for _, c := range calls {
				if i == 3*arrivalBatch && c.ended() {
					returned++
				}
			}
		})
		answerTogether(t, stream, calls)
		require.NotZero(t, returned)
	})
}

// When callers are let run, no call is out of the table whose caller has not got its answer: it could not be given up,
// however long the others run. So as many calls are matched as are delivered before the next yield.
func TestReaderHoldsNoCallWhileCallersRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const all = (batchesPerWrite - 1) * arrivalBatch
		stream := newStubStream(math.MaxInt)
		r := newDirectRig(t, stream, Options{})
		conn := r.conn()
		calls := r.startMany(all, func(i int) {
			yields := i / arrivalBatch
			conn.mu.Lock()
			defer conn.mu.Unlock()
			if got, want := conn.pending.inFlight, all-(yields+1)*arrivalBatch; got != want {
				t.Errorf("%d calls are pending at answer %d, want %d", got, i, want)
			}
			if got := sparedYields - conn.yield.spared; got != yields {
				t.Errorf("%d yields before answer %d, want %d", got, i, yields)
			}
		})
		conn.yield.spared = sparedYields // nobody is the writer
		answerTogether(t, stream, calls)
	})
}

// Many answers that come together make a crowd, though the last one of them is matched for itself: the first caller
// that returns is not taken for a lone one.
func TestCrowdIsAllThatCameTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		r := newDirectRig(t, stream, Options{})
		answerTogether(t, stream, r.startInOrder(arrivalBatch+1))
		conn := r.conn()
		conn.mu.Lock()
		defer conn.mu.Unlock()
		require.Equal(t, arrivalBatch+1, conn.crowd)
		require.Zero(t, conn.reader.lone)
	})
}

// While the writer waits for the peer, many answers come, more than are matched under one lock. The reader delivers
// them all, takes nothing of what is queued, and leaves the writer's yields alone.
func TestReaderLeavesABusyWriterAloneBetweenBatchesOfAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream, conn, calls := startWriting(t, arrivalBatch*batchesPerWrite+1)
		queued := queuedBytes(conn)
		require.NotZero(t, queued)
		conn.yield.spared = sparedYields // for the writer, which is not there yet
		var keys []string
		for _, c := range calls {
			keys = append(keys, string(c.key))
		}
		stream.reads <- answersOf(keys...)
		synctest.Wait()
		require.Equal(t, 1, stream.writing(), "two write at the same time")
		require.Equal(t, queued, queuedBytes(conn))
		require.Equal(t, sparedYields, conn.yield.spared)
		for _, c := range calls {
			require.True(t, c.ended())
			c.requireAnswered(t)
		}
		close(stream.gate)
	})
}

// The reader has written for callers, or had nothing to write, and is not the writer any more: the writer's
// goroutine writes when the next answers come, and is still the only one.
func TestReaderIsTheWriterOnlyOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		r := newDirectRig(t, stream, Options{})
		calls := r.startInOrder(4)
		answers, half := answersOf("key 0", "key 1", "key 2", "key 3"), len(answersOf("key 0", "key 1"))
		stream.reads <- answers[:half]
		synctest.Wait()
		stream.gate = make(chan struct{})
		others := []*background{r.start("other")}
		synctest.Wait()
		require.Equal(t, 1, stream.writing(), "the writer writes the first one")
		others = append(others, r.start("another"))
		synctest.Wait()
		require.NotZero(t, queuedBytes(r.conn()))
		stream.reads <- answers[half:]
		synctest.Wait()
		require.Equal(t, 1, stream.writing(), "two write at the same time")
		for _, c := range calls {
			c.requireAnswered(t)
		}
		for _, c := range others {
			c.cancel()
			require.ErrorIs(t, c.result(), context.Canceled)
		}
		close(stream.gate)
	})
}

// Who gathers frames does without yielding, too, as long as yields are spared, and writes nevertheless.
func TestGatheringSparesYields(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newDirectRig(t, newStubStream(math.MaxInt), Options{})
		r.startInOrder(1)
		conn := r.conn()
		conn.mu.Lock()
		conn.yield.spared = 1 // nobody is the writer
		conn.mu.Unlock()
		flushes := r.node.Stats().Flushes
		r.start("not alone")
		synctest.Wait()
		require.Equal(t, flushes+1, r.node.Stats().Flushes)
		require.Zero(t, conn.yield.spared)
	})
}

// No yield is spared where the others return at once: here no time passes meanwhile.
func TestYieldIsNotSparedWhereOthersReturn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var y yield
		for range 2 * sparedYields {
			require.True(t, y.once())
		}
	})
}

// Who yields to goroutines that go on for long does without yielding for a while, and then tries again.
func TestYieldIsSparedWhereOthersAreBusy(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	var busy sync.WaitGroup
	busy.Go(func() {
		for !stop.Load() {
		}
	})
	defer busy.Wait()
	defer stop.Store(true)
	var y yield
	for turn := 0; turn < 100 && y.spared == 0; turn++ {
		require.True(t, y.once())
	}
	require.Equal(t, sparedYields, y.spared)
	for range sparedYields {
		require.False(t, y.once())
	}
	require.True(t, y.once())
}
