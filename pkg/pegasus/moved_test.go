package pegasus_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/onebox"
)

// withCrowd has many callers wait for a server that stands still and is then demoted, which nobody but a
// refresh for age tells, with a budget of few retries. Only so many of them have sent anything.
// connections have no limit for silence. test gets the number of callers that have succeeded.
func withCrowd(t *testing.T, options []pegasus.Option, connections rpc.Options, test func(b *box, old *onebox.Node, succeeded *atomic.Int32)) {
	t.Helper()
	connections.SilenceLimit, connections.ReadSilenceLimit = time.Hour, time.Hour
	options = append(options, pegasus.WithConnections(connections), pegasus.WithOperationTimeout(time.Minute),
		pegasus.WithDirectory(meta.Options{RefreshInterval: time.Second}),
		pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(crowdTokens, 0.001)}))
	inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		old := b.Primary(tableName, 0)
		old.Pause()
		var succeeded atomic.Int32
		var running sync.WaitGroup
		for i := range crowd {
			running.Go(func() {
				if i%2 == 0 {
					b.holds("key", "value")
				} else {
					b.set("another key", "value")
				}
				succeeded.Inc()
			})
		}
		synctest.Wait()
		require.NoError(t, b.MovePrimary(tableName, 0, b.Secondaries(tableName, 0)[0].Index()))
		test(b, old, &succeeded)
		old.Resume()
		running.Wait()
		require.EqualValues(t, crowd, succeeded.Load())
		tokens, _ := b.tokens()
		require.GreaterOrEqual(t, tokens, crowdTokens-crowdSent)
	}, options...)
}

const crowd, crowdSent, crowdTokens = 200, 4, 10

func (b *box) tokens() (left, capacity int) {
	stats := b.client.Stats()
	return stats.RetryTokens, stats.RetryCapacity
}

// Callers that wait for a place on the way to a server go to the new primary as soon as the client knows
// it, which costs no token, whatever becomes of the old one.
func TestThoseWhoWaitFollowThePrimary(t *testing.T) {
	withCrowd(t, nil, rpc.Options{Window: crowdSent}, func(b *box, _ *onebox.Node, succeeded *atomic.Int32) {
		pass(1100 * time.Millisecond)
		require.EqualValues(b.t, crowd-crowdSent, succeeded.Load())
		tokens, capacity := b.tokens()
		require.Equal(b.t, capacity, tokens)
	})
}

// Where reads are hedged they do so as well, and need no secondary for it.
func TestThoseWhoWaitFollowThePrimaryWithoutHedging(t *testing.T) {
	options := []pegasus.Option{pegasus.WithHedgedReads(pegasus.Hedging{Delay: time.Hour})}
	withCrowd(t, options, rpc.Options{Window: crowdSent}, func(b *box, _ *onebox.Node, succeeded *atomic.Int32) {
		pass(1100 * time.Millisecond)
		require.EqualValues(b.t, crowd-crowdSent, succeeded.Load())
		for _, stats := range b.client.Stats().Operations {
			require.Zero(b.t, stats.Hedges)
		}
	})
}

// Callers that wait for a place among those that the client has under way look where to go when they get
// it.
func TestThoseWhoWaitAtTheGateFollowThePrimary(t *testing.T) {
	options := []pegasus.Option{pegasus.WithMaxInFlight(crowdSent)}
	withCrowd(t, options, rpc.Options{}, func(b *box, _ *onebox.Node, succeeded *atomic.Int32) {
		pass(1100 * time.Millisecond)
		require.Zero(b.t, succeeded.Load(), "the places are taken")
	})
}

// With both, those at the gate go on with the places of those who leave.
func TestThoseWhoWaitTwiceFollowThePrimary(t *testing.T) {
	options := []pegasus.Option{pegasus.WithMaxInFlight(crowd / 2)}
	withCrowd(t, options, rpc.Options{Window: crowdSent}, func(b *box, _ *onebox.Node, succeeded *atomic.Int32) {
		pass(1100 * time.Millisecond)
		require.EqualValues(b.t, crowd-crowdSent, succeeded.Load())
	})
}

// A partition that has no primary for a while has its callers wait for news, and not for their turn to be
// refused.
func TestThoseWhoWaitLeaveAPartitionWithoutPrimary(t *testing.T) {
	withCrowd(t, nil, rpc.Options{Window: crowdSent}, func(b *box, old *onebox.Node, succeeded *atomic.Int32) {
		next := b.Primary(tableName, 0).Index()
		require.NoError(b.t, b.ClearPrimary(tableName, 0))
		pass(1100 * time.Millisecond)
		require.Zero(b.t, succeeded.Load())
		old.Resume()
		pass(100 * time.Millisecond)
		require.NoError(b.t, b.AssignPrimary(tableName, 0, next))
	})
}
