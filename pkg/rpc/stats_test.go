package rpc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// The age of the oldest call is that of the oldest, and silence counts from the last byte that came, or
// from when something was first expected.
func TestStatsTellHowLongCallsWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		precision := r.pool.options.SweepInterval
		waits := func(oldest, silent time.Duration) {
			t.Helper()
			stats := r.node.Stats()
			require.InDelta(t, oldest, stats.OldestInFlight, float64(precision))
			require.InDelta(t, silent, stats.Silent, float64(2*precision))
		}
		require.Zero(t, r.node.Stats().OldestInFlight)
		time.Sleep(time.Hour)
		require.Zero(t, r.node.Stats().Silent, "nothing is expected")

		first := r.start("first")
		answer := p.mustNext().answer()
		time.Sleep(100 * time.Millisecond)
		second := r.start("second")
		last := p.mustNext().answer()
		time.Sleep(50 * time.Millisecond)
		waits(150*time.Millisecond, 150*time.Millisecond)
		p.write(answer)
		first.requireAnswered(t)
		time.Sleep(100 * time.Millisecond)
		waits(150*time.Millisecond, 100*time.Millisecond)
		p.write(last)
		second.requireAnswered(t)
		require.Zero(t, r.node.Stats().OldestInFlight)
		require.Zero(t, r.node.Stats().Silent)
	})
}

// Refusals are counted, also those of connections that are no more.
func TestStatsCountRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		name := wire.ErrBusy
		s := serve(t, r.network, answering(&name))
		counts := func(refused, busy uint64) {
			t.Helper()
			stats := r.node.Stats()
			require.Equal(t, refused, stats.Refused)
			require.Equal(t, busy, stats.Busy)
		}
		require.Error(t, r.put())
		require.Error(t, r.put())
		counts(2, 2)
		name = wire.ErrInvalidState
		require.Error(t, r.put())
		counts(3, 2)
		name = wire.ErrOK
		require.NoError(t, r.put())
		counts(3, 2)
		s.stop()
		time.Sleep(time.Second)
		require.Zero(t, r.node.Stats().Connections)
		counts(3, 2)
	})
}

// Bytes are those of the frames.
func TestStatsCountBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		var received int
		for i := range 3 {
			c := r.start("key")
			answer := p.mustNext().answer()
			received += len(answer)
			p.write(answer)
			c.requireAnswered(t)
			request := newGet("key")
			frame := wire.AppendRequestV1(nil, &request.Header, request.Method, 0, request.Arguments)
			require.EqualValues(t, (i+1)*len(frame), r.node.Stats().SentBytes)
			require.EqualValues(t, received, r.node.Stats().ReceivedBytes)
		}
	})
}
