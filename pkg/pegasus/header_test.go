package pegasus_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// headers returns where the headers of all data requests will be found.
func (b *box) headers() *[]wire.Header {
	var seen []wire.Header
	b.injectAll(onebox.Fault{Match: func(request *onebox.Request) bool {
		seen = append(seen, request.Header)
		return false
	}})
	return &seen
}

// A server may drop a request by the timeout in its header, so that must be the time that is left,
// and never 0.
func TestDefect02TimeoutInHeader(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		seen := b.headers()
		for timeout, want := range map[time.Duration]int32{
			5 * time.Second: 5000, 10 * time.Second: 10000, 8600 * time.Millisecond: 8600,
			4295 * time.Millisecond: 4295, 1 << 32: 4295, time.Microsecond: 1, 1500 * time.Microsecond: 2,
			time.Hour: 3600_000, 100 * 24 * time.Hour: 1<<31 - 1,
		} {
			_, _ = b.table.Get(b.within(timeout), []byte("key"), nil)
			require.Equal(t, want, (*seen)[len(*seen)-1].TimeoutMillis, "%v", timeout)
		}
		_, _ = b.table.Get(t.Context(), []byte("key"), nil)
		require.Equal(t, int32(5000), (*seen)[len(*seen)-1].TimeoutMillis, "the default")

		b.client = b.open(pegasus.WithOperationTimeout(1234 * time.Millisecond))
		_, _ = b.openTable().Get(t.Context(), []byte("key"), nil)
		require.Equal(t, int32(1234), (*seen)[len(*seen)-1].TimeoutMillis, "the client's")
	})
}

// TestTimeoutInHeaderShrinks looks at the retries of an operation, and at one that waited for its
// connection.
func TestTimeoutInHeaderShrinks(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		seen := b.headers()
		sent := make(map[int32]time.Time)
		b.injectAll(onebox.Fault{Error: wire.ErrSplitting, Match: func(request *onebox.Request) bool {
			sent[request.Header.TimeoutMillis] = time.Now()
			return true
		}})
		began, timeout := time.Now(), 2*time.Second
		_, err := b.table.Get(b.within(timeout), []byte("key"), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Greater(t, len(*seen), 5)
		for millis, at := range sent {
			require.Equal(t, wire.TimeoutMillis(timeout-at.Sub(began)), millis)
		}
	})
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		seen := b.headers()
		node := b.Primary(tableName, 0)
		node.Blackhole(true) // the failover that follows takes longer than this lasts
		done := make(chan error)
		go func() {
			_, err := b.table.Get(b.within(time.Second), []byte("key"), nil)
			done <- err
		}()
		pass(150 * time.Millisecond)
		require.Empty(t, *seen)
		node.Blackhole(false)
		require.Equal(t, pegasus.ErrNotFound, <-done)
		require.Equal(t, int32(850), (*seen)[0].TimeoutMillis)
	}, pegasus.WithoutWarmUp())
}

// TestHeader checks that the frames are of version 1, and name the partition, its hash, and no more.
func TestHeader(t *testing.T) {
	var seen []wire.Request
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		seen = append(seen, *request)
		return wire.ErrACLDeny, nil
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		ctx, hashKey, sortKey := t.Context(), []byte("hash"), []byte("sort")
		_, _ = s.table.Get(ctx, hashKey, sortKey)
		_, _, _ = s.table.TTL(ctx, nil, sortKey)
		_, _ = s.table.Exist(ctx, nil, nil)
		_ = s.table.Set(ctx, hashKey, sortKey, nil)
		_ = s.table.Del(ctx, hashKey, nil)
		hash := wire.KeyHash(hashKey, nil)
		want := []uint64{hash, wire.KeyHash(sortKey, nil), 0, hash, hash}
		require.Len(t, seen, len(want))
		for i, request := range seen {
			require.Equal(t, 1, request.Version)
			require.False(t, request.Oneway)
			require.Equal(t, wire.Header{GPID: stubGPID, TimeoutMillis: 5000, PartitionHash: want[i]}, request.Header)
		}
	})
}
