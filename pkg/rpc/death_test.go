package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Everybody learns at once, and from the same cause, that a connection is lost.
func TestDeathFailsEveryCallAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		calls := r.startInOrder(100)
		for range calls {
			p.mustNext()
		}
		r.network.Reset(address)
		var causes []error
		for _, c := range calls {
			failure := c.requireFailed(t, StageAwaiting, retry.InDoubt, syscall.ECONNRESET)
			require.Zero(t, c.took)
			causes = append(causes, failure.Err)
		}
		for _, cause := range causes {
			require.Same(t, causes[0], cause)
		}
		stats := r.node.Stats()
		require.Same(t, causes[0], stats.LastError)
		require.Equal(t, time.Now(), stats.LastErrorAt)
		require.EqualValues(t, 1, stats.Epoch)
		require.Zero(t, stats.Connections)
		require.Zero(t, stats.InFlight)
	})
}

// A peer that closes after its last answer: the answer counts.
func TestDeathAfterTheLastAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		answered, lost := r.start("answered"), r.start("lost")
		a, b := p.mustNext(), p.mustNext()
		if a.key != "answered" {
			a = b
		}
		p.write(a.answer())
		p.close()
		answered.requireAnswered(t)
		lost.requireFailed(t, StageAwaiting, retry.InDoubt, io.ErrUnexpectedEOF)
	})
}

// What was handed to the system when the connection is reset is in doubt; what was still queued was
// certainly never sent.
func TestDeathTellsWhatWasNeverSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.connect()
		conn := r.conn()
		sent := r.startInOrder(3)                 // the network has them
		stuck := r.start(large("stuck", 128<<10)) // of this, the network has a part
		synctest.Wait()
		queued := r.startInOrder(3)
		r.network.Reset(address)
		for _, c := range sent {
			c.requireFailed(t, StageAwaiting, retry.InDoubt, syscall.ECONNRESET)
		}
		require.ErrorIs(t, stuck.result(), syscall.ECONNRESET)
		for _, c := range queued {
			c.requireFailed(t, StageQueued, retry.NotSent, syscall.ECONNRESET)
		}
		require.Nil(t, conn.out, "memory is kept for nothing")
	})
}

// A write that fails after some bytes: calls whose last byte was written are in doubt, all others
// were not sent.
func TestDeathByPartialWrite(t *testing.T) {
	const calls = 4
	frame := len(wire.AppendRequestV1(nil, &wire.Header{}, wire.Get, 0, wire.Blob("key 0")))
	for _, written := range []int{0, 1, frame - 1, frame, frame + 1, 2*frame - 1, 2 * frame, calls*frame - 1} {
		t.Run(fmt.Sprint(written, " of ", calls*frame), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				// The first write holds the writer up until the others have gathered.
				first := len(wire.AppendRequestV1(nil, &wire.Header{}, wire.Get, 0, wire.Blob("first")))
				stream := newStubStream(first + written)
				stream.gate = make(chan struct{})
				r := newRig(t, Options{Dial: stream.dialled()})
				gone := r.start("first")
				synctest.Wait()
				batch := r.startInOrder(calls)
				close(stream.gate)
				gone.requireFailed(t, StageAwaiting, retry.InDoubt, errBroken)
				for i, c := range batch {
					if (i+1)*frame <= written {
						c.requireFailed(t, StageAwaiting, retry.InDoubt, errBroken)
					} else {
						c.requireFailed(t, StageQueued, retry.NotSent, errBroken)
					}
				}
			})
		})
	}
}

// While a write is under way nobody knows how much of it the system has: all of it is in doubt.
func TestDeathDuringAWrite(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		stream.gate = make(chan struct{})
		r := newRig(t, Options{Dial: stream.dialled()})
		writing := r.start("writing")
		synctest.Wait()
		queued := r.start("queued")
		synctest.Wait()
		close(stream.reads)
		writing.requireFailed(t, StageAwaiting, retry.InDoubt, errBroken)
		queued.requireFailed(t, StageQueued, retry.NotSent, errBroken)
		close(stream.gate)
	})
}

// Who is told of a lost connection finds the node's epoch grown and its pause begun, also if closing
// the stream takes long: else it would trust the node, and dial it again, for nothing.
func TestDeathIsRecordedBeforeCallersAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		stream.closing = make(chan struct{})
		r := newRig(t, Options{Dial: stream.dialled()})
		c := r.start("key")
		synctest.Wait()
		close(stream.reads)
		require.ErrorIs(t, c.result(), errBroken)
		require.EqualValues(t, 1, r.node.Epoch())
		require.Zero(t, r.node.Stats().Connections)
		err := r.node.Call(t.Context(), &newGet("again").Request)
		requireCallError(t, err, StageConnecting, retry.NotSent, ErrConnect)
		require.EqualValues(t, 1, r.node.Stats().Dials)
		close(stream.closing)
	})
}

// A call that comes to a connection just after its death has not been sent, and goes to a new one.
func TestDeathBeforeEnteringTheTable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		r.call("key")
		dead := r.conn()
		dead.die(errBroken)
		var unusable *errUnusable
		require.ErrorAs(t, dead.do(t.Context(), &newGet("key").Request), &unusable)
		require.ErrorIs(t, unusable, errBroken)
		require.ErrorIs(t, dead.send(&newGet("key").Request), ErrBusy)
		require.Empty(t, dead.out)
		// As if it had died between the look at the link and the entry into the table:
		r.node.links[0].conn.Store(dead)
		dead.usable.Store(true)
		g := newGet("key")
		err := r.node.Call(t.Context(), &g.Request)
		requireCallError(t, err, StageConnecting, retry.NotSent, errBroken)
		dead.usable.Store(false)
		r.call("key")
		require.EqualValues(t, 2, r.node.Stats().Dials)
	})
}

// Those who wait for admission when the connection is lost were never sent. They all go to the next
// connection and are answered there.
func TestDeathMovesWaitingCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 2})
		s := listen(t, r.network)
		greeting := r.start("greeting")
		p := s.accept()
		p.write(p.mustNext().answer())
		greeting.requireAnswered(t)
		calls := r.startInOrder(10)
		s.run(echo)
		p.close()
		for i, c := range calls {
			if i < 2 {
				c.requireFailed(t, StageAwaiting, retry.InDoubt, io.ErrUnexpectedEOF)
			} else {
				c.requireAnswered(t)
			}
		}
		require.EqualValues(t, 2, r.node.Stats().Dials)
	})
}

// Only the first cause counts, and dying again does nothing.
func TestDeathHappensOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.connect()
		c := r.start("key")
		synctest.Wait()
		conn := r.conn()
		for i := range 10 {
			go conn.die(fmt.Errorf("cause %d: %w", i, errBroken))
		}
		require.ErrorIs(t, c.result(), errBroken)
		synctest.Wait()
		conn.die(errors.New("too late"))
		conn.running = nil // not to be used any more: somebody may have waited
		conn.retire()
		require.EqualValues(t, 1, r.node.Epoch())
		require.Equal(t, r.node.Stats().LastError, conn.cause)
	})
}

// A call may pass from its reader to nobody else: the reader has taken it when the connection dies.
func TestDeathWhileTheReaderHasTheCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		c := r.start("key")
		a := p.mustNext()
		conn := r.conn()
		conn.mu.Lock()
		taken, _ := conn.pending.take(a.sequence)
		conn.mu.Unlock()
		conn.die(errBroken)
		synctest.Wait()
		require.False(t, c.ended(), "its finisher still has it")
		taken.finish(nil)
		require.NoError(t, c.result())
	})
}

// The reader may have answers in hand when the connection dies. They are late: calls were waiting for them.
func TestAnswersBehindTheDeathAreLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		c := r.start("key")
		a := p.mustNext()
		conn := r.conn()
		conn.die(errBroken)
		c.requireFailed(t, StageAwaiting, retry.InDoubt, errBroken)
		synctest.Wait() // nobody else reads any more
		conn.reader.arrivals[0].response.Sequence = a.sequence
		conn.reader.match(1)
		conn.mu.Lock()
		defer conn.mu.Unlock()
		require.EqualValues(t, 1, conn.stats.late)
		require.Zero(t, conn.stats.unexpected)
	})
}

// A stream may be closed by the client's user behind our back.
func TestDeathByForeignClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var stream net.Conn
		r := newRig(t, Options{})
		dial := r.pool.options.Dial
		r.pool.options.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			var err error
			stream, err = dial(ctx, network, address)
			return stream, err
		}
		r.connect()
		c := r.start("key")
		synctest.Wait()
		require.NoError(t, stream.Close())
		c.requireFailed(t, StageAwaiting, retry.InDoubt, net.ErrClosed)
	})
}
