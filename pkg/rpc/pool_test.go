package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
)

func TestPoolHasOneNodePerAddress(t *testing.T) {
	r := newRig(t, Options{})
	other := r.pool.Node("10.0.0.0:34801")
	require.Same(t, r.node, r.pool.Node(address))
	require.NotSame(t, r.node, other)
	require.Equal(t, address, r.node.Address())
	require.Equal(t, []*Node{other, r.node}, r.pool.Nodes())
	require.Zero(t, r.node.Stats().Dials, "nobody called")
}

// requireClosed checks that Close takes no time, leaves no goroutine of the pool, and that later
// calls say so, whatever they would have met otherwise.
func (r *rig) requireClosed() {
	r.t.Helper()
	began := time.Now()
	require.NoError(r.t, r.pool.Close(r.t.Context()))
	require.Zero(r.t, time.Since(began))
	require.Zero(r.t, r.network.Open(address))
	for range 2 {
		require.NoError(r.t, r.pool.Close(r.t.Context()))
		err := r.node.Call(r.t.Context(), &newGet("key").Request)
		requireCallError(r.t, err, StageConnecting, retry.NotSent, ErrClosed)
		require.NotErrorIs(r.t, err, ErrConnect)
		require.ErrorIs(r.t, r.node.Connect(r.t.Context()), ErrClosed)
		require.Error(r.t, r.node.Send(clearScanner(1)))
	}
}

func TestPoolCloseWithoutConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.requireClosed()
		require.Zero(t, r.node.Stats().Dials)
	})
}

func TestPoolCloseWithIdleConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		serve(t, r.network, echo)
		r.call("key")
		r.requireClosed()
		require.Zero(t, r.node.Epoch(), "the user's wish is no trouble")
		require.NoError(t, r.node.Stats().LastError)
	})
}

func TestPoolCloseWhileCallsAreInFlightAndWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 2})
		p := r.connect()
		calls := r.startInOrder(5)
		p.mustNext()
		p.mustNext()
		r.requireClosed()
		for i, c := range calls {
			if i < 2 {
				c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrClosed)
			} else {
				c.requireFailed(t, StageConnecting, retry.NotSent, ErrClosed)
			}
		}
	})
}

func TestPoolCloseWhileTheWriterIsStuck(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.connect() // and read nothing
		stuck := r.start(large("stuck", 128<<10))
		synctest.Wait()
		queued := r.start("queued")
		synctest.Wait()
		r.requireClosed()
		stuck.requireFailed(t, StageAwaiting, retry.InDoubt, ErrClosed)
		queued.requireFailed(t, StageQueued, retry.NotSent, ErrClosed)
	})
}

func TestPoolCloseWhileDialling(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		r.network.Blackhole(address, true)
		calls := []*background{r.start("first"), r.start("second")}
		synctest.Wait()
		r.requireClosed()
		for _, c := range calls {
			c.requireFailed(t, StageConnecting, retry.NotSent, ErrClosed)
		}
		require.Zero(t, r.node.Epoch())
	})
}

// While the node is in its pause, calls fail because the client is closed and not because of that.
func TestPoolCloseDuringAPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{BackoffMin: time.Minute, BackoffMax: time.Minute})
		require.ErrorIs(t, r.start("key").result(), ErrConnect)
		require.ErrorIs(t, r.start("key").result(), ErrConnect)
		r.requireClosed()
	})
}

func TestPoolCloseWithARetiredConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		c := r.start("key")
		p.mustNext()
		r.node.Retire()
		r.requireClosed()
		c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrClosed)
	})
}

// A dialler that returns a connection though its context has ended: the connection is closed, without
// holding up anybody, and nothing is sent on it.
func TestPoolCloseBeforeTheDialReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		stream.closing = make(chan struct{})
		dialled := make(chan struct{})
		r := newRig(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			<-dialled
			return stream, nil
		}})
		c := r.start("key")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, r.pool.Close(ctx), context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began), "Close is bounded")
		close(dialled)
		synctest.Wait()
		require.Len(t, r.pool.Nodes(), 1, "no mutex is held while the stream closes")
		close(stream.closing)
		require.NoError(t, r.pool.Close(t.Context()))
		c.requireFailed(t, StageConnecting, retry.NotSent, ErrClosed)
		<-stream.closed
	})
}

// Streams that take their time to close do so side by side, and Close waits no longer than it may.
func TestPoolCloseOfSlowStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var streams []*stubStream
		r := newRig(t, Options{ConnectionsPerNode: 3, Dial: func(context.Context, string, string) (net.Conn, error) {
			streams = append(streams, newStubStream(math.MaxInt))
			streams[len(streams)-1].closing = make(chan struct{})
			return streams[len(streams)-1], nil
		}})
		require.NoError(t, r.node.Connect(t.Context()))
		c := r.start("key")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, r.pool.Close(ctx), context.DeadlineExceeded)
		c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrClosed)
		for _, stream := range streams {
			<-stream.closed
			close(stream.closing)
		}
		require.NoError(t, r.pool.Close(t.Context()))
	})
}

// When Close has returned nothing runs any more, and so nothing is logged: not even by a connection
// that was dying for another reason.
func TestPoolCloseWaitsForDyingConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		stream.closing = make(chan struct{})
		log := recorder{node: func() *Node { return nil }, lines: make(chan string, 10)}
		r := newRig(t, Options{Dial: stream.dialled(), Logger: slog.New(log)})
		c := r.start("key")
		c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		time.AfterFunc(time.Second, func() { close(stream.closing) })
		began := time.Now()
		require.NoError(t, r.pool.Close(t.Context()))
		require.Equal(t, time.Second, time.Since(began))
		require.Equal(t, "INFO connected", <-log.lines)
		require.Equal(t, "DEBUG closing a connection failed", <-log.lines)
		require.Equal(t, "WARN connection lost", <-log.lines)
		close(log.lines) // a line more would panic
	})
}

// Close comes at any moment of the lives of connections and calls: every call ends, and with it all
// goroutines.
func TestPoolCloseAtAnyMoment(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for round := 1; round <= rounds; round++ {
		r := newRig(t, Options{Window: 4, ConnectionsPerNode: 2})
		s := serve(t, r.network, echo)
		var running sync.WaitGroup
		var answers atomic.Int64
		enough := make(chan struct{})
		for i := range 16 {
			running.Go(func() {
				for n := 0; ; n++ {
					g := newGet(fmt.Sprint("caller ", i, " call ", n))
					err := r.node.Call(context.Background(), &g.Request)
					if err != nil || !g.right() {
						if !errors.Is(err, ErrClosed) {
							t.Errorf("%s got %q, %v", g.key, g.value, err)
						}
						return
					}
					if answers.Inc() == int64(round) {
						close(enough)
					}
				}
			})
		}
		<-enough
		r.close()
		running.Wait()
		s.stop()
	}
}
