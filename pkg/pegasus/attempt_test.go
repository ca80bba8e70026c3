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

// Each try has times of its own: one that comes to no connection was queued all the time, although the one
// before it was sent, and the request to a secondary does not count.
func TestEachAttemptHasItsTimes(t *testing.T) {
	log := new(eventLog)
	ends := func() (ends []pegasus.AttemptEnd) {
		for _, event := range log.take("AttemptEnd") {
			ends = append(ends, event.(pegasus.AttemptEnd))
		}
		return ends
	}
	afterwards := func() {} // what happens when an attempt has ended
	disturb := pegasus.WithHooks(pegasus.Hooks{AttemptEnd: func(context.Context, pegasus.AttemptEnd) { afterwards() }})
	hedged := pegasus.WithHedgedReads(pegasus.Hedging{Delay: hedgeDelay})
	inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.set("other key", "tells the secondaries that the first one is committed")
		ends()
		remove := b.slow(time.Second)
		b.holds("key", "value")
		remove()
		won := ends()
		require.Len(t, won, 1)
		require.Equal(t, hedgeDelay, won[0].Took)
		require.Zero(t, won[0].Queued)

		primary := b.Primary(tableName, 0)
		primary.Inject(onebox.Fault{CloseBefore: true, Match: onebox.OnMethod(wire.Put)})
		afterwards = func() { primary.Blackhole(true) }
		require.Error(t, b.table.Set(b.within(time.Second), []byte("key"), []byte("sort"), nil))
		failed := ends()
		require.GreaterOrEqual(t, len(failed), 2)
		require.Zero(t, failed[0].Queued)
		last := failed[len(failed)-1]
		require.NotZero(t, last.Took)
		require.Equal(t, last.Took, last.Queued)
	}, pegasus.WithHooks(log.hooks()), disturb, hedged)
}
