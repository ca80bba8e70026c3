package pegasus_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// A value that is too large by itself fails its own item, and only that.
func TestBatchGetOfAValueAboveTheLimit(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		all := numberedKeys(8)
		b.batchSet(recordsOf(all, func(i int) string { return strings.Repeat("v", 1+i/7*100_000) }))
		results, err := b.table.BatchGet(t.Context(), all, nil)
		require.ErrorIs(t, err, pegasus.ErrAnswerTooLarge)
		for i, result := range results {
			if i < 7 {
				require.NoError(t, result.Err)
				require.Equal(t, "v", string(result.Value))
			} else {
				require.ErrorIs(t, result.Err, pegasus.ErrAnswerTooLarge)
			}
		}
	}, pegasus.WithConnections(rpc.Options{MaxResponseBytes: 64 << 10}))
}

// The outcome of an item is that of all tries together, and a request that succeeds earns its share of a token.
func TestBatchGetIsAccountedFor(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		primary := b.Primary(tableName, 0)
		primary.Inject(onebox.Fault{CloseAfter: true, Times: 1, Match: onebox.OnMethod(wire.BatchGet)})
		remove := primary.Inject(onebox.Fault{Error: wire.ErrACLDeny, Match: onebox.OnMethod(wire.BatchGet)})
		results, err := b.table.BatchGet(t.Context(), batchKeys("key"), nil)
		require.Error(t, err)
		failure := failed(t, results[0].Err)
		require.Equal(t, wire.ErrACLDeny, failure.Server)
		require.Equal(t, pegasus.InDoubt, failure.Outcome)
		require.GreaterOrEqual(t, failure.Tries, 2)
		require.Equal(t, 9, b.client.Stats().RetryTokens)
		remove()
		_, err = b.table.BatchGet(t.Context(), batchKeys("key"), nil)
		require.NoError(t, err)
		require.Equal(t, 10, b.client.Stats().RetryTokens)
	}, pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(10, 1)}))
}
