package pegasus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestStages has time run out at every stage of an operation.
func TestStages(t *testing.T) {
	stage := func(name, want string, outcome pegasus.Outcome, options []pegasus.Option, hinder func(b *box)) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
				hinder(b)
				err := set(b.within(100*time.Millisecond), b.table)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, want, failed(t, err).Stage)
				require.Equal(t, outcome, failed(t, err).Outcome)
			}, options...)
		})
	}
	stage("connecting", "connecting", pegasus.NotSent, []pegasus.Option{pegasus.WithoutWarmUp()}, func(b *box) {
		b.Replica(0).Blackhole(true)
	})
	stage("window full", "waiting for admission", pegasus.NotSent,
		[]pegasus.Option{pegasus.WithConnections(rpc.Options{Window: 1})}, func(b *box) {
			b.Replica(0).Pause()
			b.inBackground(func() { _ = get(b.within(time.Second), b.table) })
		})
	stage("writer stuck", "queued", pegasus.InDoubt, nil, func(b *box) {
		b.Replica(0).Blackhole(true)
		b.inBackground(func() { // more than the network takes
			_ = b.table.Set(b.within(time.Second), nil, nil, make([]byte, 200_000))
		})
	})
	stage("server silent", "awaiting the answer", pegasus.InDoubt, nil, func(b *box) {
		b.Replica(0).Pause()
	})
}

// inBackground runs f to the point at which it waits, and returns how to wait for its end.
func (b *box) inBackground(f func()) (wait func()) {
	var running sync.WaitGroup
	running.Go(f)
	b.t.Cleanup(running.Wait)
	pass(0)
	return running.Wait
}

// Storage errors are the server's last word: one request, no query, and the true cause.
func TestDefect06StorageErrorsAreFinal(t *testing.T) {
	var status wire.Status
	requests := 0
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		requests++
		switch methodOf(request.Name) {
		case wire.Get:
			return wire.ErrOK, &wire.GetResponse{Status: status}
		case wire.TTL:
			return wire.ErrOK, &wire.TTLResponse{Status: status}
		}
		return wire.ErrOK, &wire.UpdateResponse{Status: status}
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		ctx, key := t.Context(), []byte("key")
		operations := map[string]func() error{
			"get":   func() error { _, err := s.table.Get(ctx, key, nil); return err },
			"ttl":   func() error { _, _, err := s.table.TTL(ctx, key, nil); return err },
			"exist": func() error { _, err := s.table.Exist(ctx, key, nil); return err },
			"set":   func() error { return s.table.Set(ctx, key, nil, nil) },
			"del":   func() error { return s.table.Del(ctx, key, nil) },
		}
		for _, status = range []wire.Status{
			wire.StatusCorruption, wire.StatusInvalidArgument, wire.StatusIOError, wire.StatusIncomplete,
			wire.StatusBusy, wire.StatusTryAgain, 15, 99, -1, -104,
		} {
			for name, operation := range operations {
				requests = 0
				err := operation()
				e := failed(t, err)
				require.Equal(t, pegasus.Error{
					Operation: name, Table: tableName, Node: "10.0.0.9:34601", Status: status,
					Outcome: pegasus.Answered, Tries: 1, Err: &pegasus.StatusError{Status: status},
				}, *e)
				require.True(t, as[*pegasus.StatusError](err))
				require.NotErrorIs(t, err, pegasus.ErrBusy)
				require.Equal(t, 1, requests)
			}
		}
		status = wire.StatusIOError
		require.EqualError(t, operations["del"](), `pegasus: del in table "temp" partition 0: node 10.0.0.9:34601: storage status 5: storage I/O error`)
		status = 99
		require.EqualError(t, operations["get"](), `pegasus: get in table "temp" partition 0: node 10.0.0.9:34601: storage status 99: not known to this client`)

		// "Not found" is what a read can be told. No write expects it.
		status = wire.StatusNotFound
		require.Same(t, pegasus.ErrNotFound, operations["get"]())
		require.NotErrorIs(t, operations["set"](), pegasus.ErrNotFound)
		require.Equal(t, wire.StatusNotFound, failed(t, operations["del"]()).Status)
	})
}

// TestUnreadableResults checks that an answer whose result makes no sense fails its own request only.
func TestUnreadableResults(t *testing.T) {
	spoilt := true
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) {
		if spoilt {
			return wire.ErrOK, nonsense("\x0c\x00\x00\x0c\x00\x02\x7f\xff\xff\xff")
		}
		return wire.ErrOK, &wire.GetResponse{Value: []byte("value")}
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		dst := []byte("as it was")
		got, err := s.table.AppendGet(t.Context(), dst, []byte("key"), nil)
		require.Equal(t, "as it was", string(got))
		require.True(t, as[*rpc.ResultError](err), "%v", err)
		require.True(t, as[*wire.DecodeError](err))
		require.Equal(t, pegasus.InDoubt, failed(t, err).Outcome)
		require.Equal(t, 1, failed(t, err).Tries)
		spoilt = false
		value, err := s.table.Get(t.Context(), []byte("key"), nil)
		require.NoError(t, err)
		require.Equal(t, "value", string(value))
		require.Equal(t, 1, s.connections(), "the connection was given up")
	})
}

// nonsense is a result as it is on the wire, whatever it says.
type nonsense string

func (n nonsense) AppendField(dst []byte, _ int16) []byte { return append(dst, n...) }
