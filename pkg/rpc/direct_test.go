package rpc

import (
	"context"
	"log/slog"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// newDirectRig returns a rig that is connected to the stream, which is taken for one of the system's
// own: a lone caller writes to it itself.
func newDirectRig(t *testing.T, stream *stubStream, options Options) *rig {
	options.Dial = stream.dialled()
	r := newRig(t, options)
	require.NoError(t, r.node.Connect(t.Context()))
	synctest.Wait() // the writer is idle
	setDirect(r.conn())
	return r
}

// answersOf are the right answers to the first Gets of a connection, of these keys.
func answersOf(keys ...string) (frames []byte) {
	for i, key := range keys {
		frames = append(frames, asked{method: wire.Get, sequence: int32(i), key: key}.answer()...)
	}
	return frames
}

// While a caller writes, others take it for the writer. When it is done the writer takes over.
func TestDirectWriteHandsOverToTheWriter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		stream.gate = make(chan struct{})
		r := newDirectRig(t, stream, Options{})
		calls := r.startInOrder(3)
		conn := r.conn()
		require.Equal(t, len(appended("key 1", "key 2")), queuedBytes(conn), "the first one is being written")
		close(stream.gate)
		synctest.Wait()
		require.Zero(t, queuedBytes(conn))
		require.EqualValues(t, 2, r.node.Stats().Flushes)
		stream.reads <- answersOf("key 0", "key 1", "key 2")
		for _, c := range calls {
			c.requireAnswered(t)
		}
		synctest.Wait()
		// And when the writer is idle again, the next lone caller writes itself.
		stream.gate = make(chan struct{})
		conn.crowd = 1
		lone := r.start("lone")
		synctest.Wait()
		require.Equal(t, 1, stream.writing(), "somebody writes")
		lone.cancel()
		synctest.Wait()
		require.False(t, lone.ended(), "it is the caller")
		close(stream.gate)
		require.ErrorIs(t, lone.result(), context.Canceled)
	})
}

// appended are the frames of Gets of these keys.
func appended(keys ...string) (frames []byte) {
	for _, key := range keys {
		frames = wire.AppendRequestV1(frames, &wire.Header{}, wire.Get, 0, wire.Blob(key))
	}
	return frames
}

// Where answers come several at a time there are several callers, whose frames had better gather.
func TestDirectWriteIsForLoneCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		r := newDirectRig(t, stream, Options{})
		calls := r.startInOrder(2)
		stream.reads <- answersOf("key 0", "key 1")
		for _, c := range calls {
			c.requireAnswered(t)
		}
		synctest.Wait() // the reader has nothing to write for them
		stream.gate = make(chan struct{})
		c := r.start("key")
		synctest.Wait()
		require.Equal(t, 1, stream.writing())
		c.cancel()
		require.ErrorIs(t, c.result(), context.Canceled, "the writer writes")
		close(stream.gate)
	})
}

// startWriting makes calls of which the writer's goroutine is writing the first, until the gate of the stream opens,
// while the others are queued.
func startWriting(t *testing.T, count int) (*stubStream, *Conn, []*background) {
	stream := newStubStream(math.MaxInt)
	stream.gate = make(chan struct{})
	r := newDirectRig(t, stream, Options{})
	conn := r.conn()
	conn.mu.Lock()
	conn.crowd = 2
	conn.mu.Unlock()
	calls := r.startInOrder(count)
	require.Equal(t, 1, stream.writing(), "the writer writes the first one")
	return stream, conn, calls
}

// The reader does the writer's work only if the writer is idle, not while it waits for the peer, which
// may itself wait for the reader.
func TestDirectWriteIsNotForTheReaderWhileTheWriterWrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream, conn, calls := startWriting(t, 2)
		require.Equal(t, len(appended("key 1")), queuedBytes(conn))
		stream.reads <- answersOf("key 0")
		calls[0].requireAnswered(t)
		synctest.Wait()
		require.Equal(t, 1, stream.writing(), "two write at the same time")
		close(stream.gate)
		stream.reads <- answersOf("key 0", "key 1")[len(answersOf("key 0")):]
		calls[1].requireAnswered(t)
	})
}

// Whoever gathers frames waits a little for callers that have just got their answers, but not again for those
// who had other things to do.
func TestReturningCallersAreAwaitedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{}) // without somebody who gathers right after the answers
		p := r.connect()
		conn := r.conn()
		for _, c := range r.startInOrder(3) {
			p.write(p.mustNext().answer())
			c.requireAnswered(t)
		}
		require.EqualValues(t, 3, conn.returning.Load())
		r.start("one of them")
		p.mustNext()
		synctest.Wait()
		require.EqualValues(t, 0, conn.returning.Load(), "the writer has waited for the others, in vain")
		r.start("yet another")
		synctest.Wait()
		require.EqualValues(t, 0, conn.returning.Load(), "there is no debt")
	})
}

// So it is when another call is in flight.
func TestDirectWriteIsForTheOnlyCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		r := newDirectRig(t, stream, Options{})
		r.startInOrder(1)
		stream.gate = make(chan struct{})
		c := r.start("key")
		synctest.Wait()
		require.Equal(t, 1, stream.writing())
		c.cancel()
		require.ErrorIs(t, c.result(), context.Canceled, "the writer writes")
		close(stream.gate)
	})
}

// hookStream is a stream that does something else instead of a write.
type hookStream struct {
	net.Conn
	write func()
}

func (s hookStream) Write(b []byte) (int, error) {
	s.write()
	return len(b), nil
}

// Frames that came during a caller's write are the writer's, who is on its way: nobody else may think
// that it is idle.
func TestDirectWriteLeavesTheRestToTheWriter(t *testing.T) {
	for _, more := range []bool{true, false} {
		c := &Conn{kick: make(chan struct{}, 1), options: &Options{}, out: appended("key")}
		c.tryWrite = hookStream{write: func() {
			c.mu.Lock() // which is free during a write
			if more {
				c.out = append(c.out, appended("other key")...)
			}
			c.mu.Unlock()
		}}.Write
		c.mu.Lock()
		c.writeNow()
		require.Equal(t, more, len(c.out) > 0)
		require.Equal(t, !more, c.writerIdle)
		require.Equal(t, more, len(c.kick) == 1)
	}
}

func TestDirectWriteFails(t *testing.T) {
	frame := len(appended("key 0"))
	for _, written := range []int{0, 1, frame - 1} {
		bubble(t, func(t *testing.T) {
			r := newDirectRig(t, newStubStream(written), Options{})
			c := r.start("key 0")
			c.requireFailed(t, StageQueued, retry.NotSent, errBroken)
			require.EqualValues(t, 1, r.node.Epoch())
		})
	}
}

// The connection dies during a caller's write: the caller is told as soon as it comes back.
func TestDirectWriteWhileTheConnectionDies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		stream.gate = make(chan struct{})
		r := newDirectRig(t, stream, Options{})
		writing := r.start("writing")
		synctest.Wait()
		queued := r.start("queued")
		synctest.Wait()
		close(stream.reads)
		writing.requireFailed(t, StageAwaiting, retry.InDoubt, errBroken)
		queued.requireFailed(t, StageQueued, retry.NotSent, errBroken)
		require.EqualValues(t, 1, r.node.Epoch())
	})
}

// So it is when the answer, the sweep or a Close comes before the write returns.
func TestDirectWriteReturnsLate(t *testing.T) {
	for name, c := range map[string]struct {
		during func(r *rig, stream *stubStream)
		want   error
	}{
		"answered": {func(_ *rig, stream *stubStream) { stream.reads <- answersOf("key") }, nil},
		"out of time": {func(r *rig, _ *stubStream) {
			time.Sleep(time.Second)
			require.Zero(r.t, r.node.Stats().InFlight)
		}, context.DeadlineExceeded},
		"closed": {func(r *rig, _ *stubStream) { r.close() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				stream := newStubStream(math.MaxInt)
				stream.gate = make(chan struct{})
				r := newDirectRig(t, stream, Options{})
				call := r.startWith(withDeadline("key", 100*time.Millisecond))
				synctest.Wait()
				c.during(r, stream)
				synctest.Wait()
				close(stream.gate)
				require.ErrorIs(t, call.result(), c.want)
			})
		})
	}
}

// setDirect lets others than the writer write to the connection's stream.
func setDirect(c *Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tryWrite = c.stream.Write
}

// What the system does not take at once is the writer's, and goes out before what was appended
// meanwhile.
func TestDirectWriteIsCutShort(t *testing.T) {
	for _, taken := range []int{0, 1, len(appended("key 0"))} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			p := r.connect()
			conn := r.conn()
			conn.mu.Lock()
			conn.tryWrite = func(batch []byte) (int, error) {
				conn.tryWrite = func([]byte) (int, error) { return 0, nil } // now the system is full
				conn.mu.Lock()                                              // which is free during a write
				conn.appendFrame(&newGet("key 1").Request, 1000)
				conn.mu.Unlock()
				return conn.stream.Write(batch[:taken])
			}
			conn.mu.Unlock()
			synctest.Wait() // the writer is idle
			c := r.start("key 0")
			first, second := p.mustNext(), p.mustNext()
			require.Equal(t, []string{"key 0", "key 1"}, []string{first.key, second.key})
			p.write(first.answer())
			c.requireAnswered(t)
			synctest.Wait()
			require.EqualValues(t, 2, r.node.Stats().Flushes)
		})
	}
}

// A caller never waits for the peer, which its context could not end: here the peer reads nothing,
// and soon the system has no room for more.
func TestDirectWriteNeverWaitsForThePeer(t *testing.T) {
	stalled := make(chan struct{})
	address := listenTCP(t, func(net.Conn) { <-stalled })
	t.Cleanup(func() { close(stalled) })
	node := tcpNode(t, address, Options{SilenceLimit: time.Hour, MaxQueuedBytes: 1 << 30})
	key := large("key", 1<<20)
	for range 20 {
		g := newGet(key)
		g.Deadline = time.Now().Add(time.Millisecond)
		require.ErrorIs(t, node.Call(t.Context(), &g.Request), context.DeadlineExceeded)
	}
	require.NotZero(t, queuedBytes(node.links[0].conn.Load()), "the system has no room any more")
}

// Close waits for a connection that dies of a caller's write, as for any other.
func TestDirectWriteFailsDuringClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(0)
		stream.closing = make(chan struct{})
		log := recorder{node: func() *Node { return nil }, lines: make(chan string, 10)}
		r := newDirectRig(t, stream, Options{Logger: slog.New(log)})
		c := r.start("key")
		synctest.Wait()
		require.True(t, c.ended(), "it need not wait for the stream to close")
		c.requireFailed(t, StageQueued, retry.NotSent, errBroken)
		time.AfterFunc(time.Second, func() { close(stream.closing) })
		began := time.Now()
		require.NoError(t, r.pool.Close(t.Context()))
		require.Equal(t, time.Second, time.Since(began))
		require.Len(t, log.lines, 3)
		close(log.lines) // a line more would panic
	})
}
