package pegasus_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestDefect43TTLIsRoundedUp looks at the wire: seconds since 2016, a part of one counts as a whole,
// and 0 means none.
func TestDefect43TTLIsRoundedUp(t *testing.T) {
	var sent wire.PutRequest
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		arguments(t, request, &sent)
		return wire.ErrOK, &wire.UpdateResponse{}
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		time.Sleep(700 * time.Millisecond) // it is not a full second
		now := time.Now().Unix() - wire.ExpireEpoch
		longest := time.Duration(math.MaxInt32-now) * time.Second
		for ttl, seconds := range map[time.Duration]int64{
			1: 1, 500 * time.Millisecond: 1, time.Second - 1: 1, time.Second: 1, time.Second + 1: 2,
			1500 * time.Millisecond: 2, 1900 * time.Millisecond: 2, 2 * time.Second: 2, time.Hour: 3600,
			longest - 1: math.MaxInt32 - now, longest: math.MaxInt32 - now,
		} {
			require.NoError(t, s.table.Set(t.Context(), []byte("key"), nil, nil, pegasus.WithTTL(ttl)))
			require.Equal(t, now+seconds, int64(sent.ExpireSeconds), "%v", ttl)
			require.False(t, sent.Internal)
		}
		for _, options := range [][]pegasus.WriteOption{nil, {}, {nil}, {pegasus.WithTTL(0)}, {pegasus.WithTTL(time.Hour), pegasus.WithTTL(0)}} {
			require.NoError(t, s.table.Set(t.Context(), []byte("key"), nil, nil, options...))
			require.Zero(t, sent.ExpireSeconds)
		}
		sent = wire.PutRequest{}
		for _, ttl := range []time.Duration{-1, -time.Hour, math.MinInt64, longest + 1, longest + time.Second, math.MaxInt64} {
			err := s.table.Set(t.Context(), []byte("key"), nil, []byte("value"), pegasus.WithTTL(ttl))
			require.ErrorIs(t, err, pegasus.ErrInvalidTTL, "%v", ttl)
			require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
		}
		require.Empty(t, sent, "an invalid TTL was sent")
	})
}

// A machine whose clock was never set must not send times before there were any.
func TestTTLWithClockBefore2016(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in the year 2000
		s := openStub(t, func(*wire.Request) (wire.ErrorName, wire.Arguments) {
			return wire.ErrOK, &wire.UpdateResponse{}
		})
		err := s.table.Set(t.Context(), []byte("key"), nil, nil, pegasus.WithTTL(time.Hour))
		require.ErrorIs(t, err, pegasus.ErrInvalidTTL)
		require.NoError(t, s.table.Set(t.Context(), []byte("key"), nil, nil))
	})
}

// TestTTLAnswers feeds the client what servers answer, -1 for none, and what they can be brought to
// answer: the difference of unsigned numbers, read as a signed one.
func TestTTLAnswers(t *testing.T) {
	var response wire.TTLResponse
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) { return wire.ErrOK, &response }
	withStub(t, answer, func(t *testing.T, s *stub) {
		for seconds, want := range map[int32]time.Duration{
			0: 0, 1: time.Second, math.MaxInt32: math.MaxInt32 * time.Second,
			-2: (1<<32 - 2) * time.Second, -1000: (1<<32 - 1000) * time.Second, math.MinInt32: 1 << 31 * time.Second,
		} {
			response.Seconds = seconds
			left, expires, err := s.table.TTL(t.Context(), []byte("key"), nil)
			require.NoError(t, err)
			require.True(t, expires)
			require.Equal(t, want, left)
			require.GreaterOrEqual(t, left, time.Duration(0))
		}
		response.Seconds = -1
		left, expires, err := s.table.TTL(t.Context(), []byte("key"), nil)
		require.NoError(t, err)
		require.False(t, expires)
		require.Zero(t, left)
	})
}

// The table's own TTL applies to records that have none.
func TestTTLOfTable(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		require.NoError(t, b.SetTableEnv(tableName, "default_ttl", "60"))
		ctx := t.Context()
		require.NoError(t, b.table.Set(ctx, []byte("the table's"), nil, nil, pegasus.WithTTL(0)))
		require.NoError(t, b.table.Set(ctx, []byte("its own"), nil, nil, pegasus.WithTTL(time.Hour)))
		for key, want := range map[string]time.Duration{"the table's": time.Minute, "its own": time.Hour} {
			left, expires, err := b.table.TTL(ctx, []byte(key), nil)
			require.NoError(t, err)
			require.True(t, expires)
			require.Equal(t, want, left)
		}
	})
}
