package meta

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// answersAfter makes meta servers slow, but for signs of life.
func answersAfter(delay time.Duration, nodes ...*onebox.Node) {
	for _, node := range nodes {
		node.Inject(onebox.Fault{Delay: delay, Match: onebox.OnMethod(wire.QueryConfig)})
	}
}

// Servers that always take longer than AskTimeout are heard, whenever they answer within the query's time,
// and are asked less often than rounds begin.
func TestSlowServersAreHeard(t *testing.T) {
	for _, delay := range []time.Duration{900 * time.Millisecond, 1100 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 4900 * time.Millisecond} {
		for name, slow := range map[string]func(b *box) []*onebox.Node{
			"all":    func(b *box) []*onebox.Node { return b.Metas() },
			"leader": func(b *box) []*onebox.Node { return b.Metas()[:1] },
		} {
			t.Run(name, func(t *testing.T) {
				inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
					m := b.open(Options{})
					answersAfter(delay, slow(b)...)
					took := elapsed(func() { b.query(m) })
					require.GreaterOrEqual(t, took, delay)
					require.LessOrEqual(t, took, delay+backupDelay, "in a pause between rounds nobody listens")
					require.LessOrEqual(t, b.asked()[0], 3)
					b.requireLeader(m, b.Meta(0))
				})
			})
		}
	}
}

// A table of which the meta servers are that slow is kept current.
func TestSlowServersAreHeardInTheBackground(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		answersAfter(3*time.Second, b.Metas()...)
		require.NoError(t, b.MovePrimary(tableName, 0, 2))
		table.Refresh(ReasonRefused)
		pass(4 * time.Second)
		require.NoError(t, table.LastFailure())
		require.Equal(t, b.Replica(2).Address(), table.Load().Value().Partitions[0].Primary.Address())
	})
}

// Nobody waits for a slow leader who could find the next one: that takes as long as if the leader had never
// answered.
func TestSlowLeaderDoesNotHoldUpTheNext(t *testing.T) {
	for _, slow := range []onebox.Fault{{Delay: 4 * time.Second}, {DropRequest: true}} {
		inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
			m := b.open(Options{})
			slow.Match = onebox.OnMethod(wire.QueryConfig)
			b.Meta(0).Inject(slow)
			time.AfterFunc(1200*time.Millisecond, func() { b.ElectLeader(1) })
			took := elapsed(func() { b.query(m) })
			require.LessOrEqual(t, took, time.Second+2*backupDelay+20*time.Millisecond)
			b.requireLeader(m, b.Meta(1))
		})
	}
}

// The answer that a server of an earlier round gives at last does not move the leader back.
func TestSlowAnswerIsOlderKnowledge(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		b.Meta(0).Inject(onebox.Fault{Times: 2, Delay: 1500 * time.Millisecond, Match: onebox.OnMethod(wire.QueryConfig)})
		done := make(chan error)
		go func() {
			_, err := m.QueryConfig(t.Context(), tableName)
			done <- err
		}()
		pass(1400 * time.Millisecond) // the other query is in its second round
		require.Equal(t, []int{2, 2, 2}, b.asked())
		b.ElectLeader(2)
		_, err := m.QueryConfig(t.Context(), tableName)
		require.NoError(t, err)
		b.requireLeader(m, b.Meta(2))
		require.NoError(t, <-done)
		synctest.Wait()
		b.requireLeader(m, b.Meta(2))
		requireNobodyAsks(t)
	})
}

// Servers that never answer are asked again as long as the query lasts, so that they are found when they do,
// but few requests wait for them at a time.
func TestSilentQueriesDoNotPileUp(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		var removes []func()
		for _, node := range b.Metas() {
			removes = append(removes, node.Inject(onebox.Fault{DropRequest: true, Match: onebox.OnMethod(wire.QueryConfig)}))
		}
		done := make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		go func() {
			_, err := m.QueryConfig(ctx, tableName)
			done <- err
		}()
		for range 60 {
			pass(time.Minute)
			require.LessOrEqual(t, strings.Count(stacks(), "issueSingleMeta("), 5*len(b.Metas()))
		}
		for _, remove := range removes {
			remove()
		}
		require.LessOrEqual(t, elapsed(func() { require.NoError(t, <-done) }), 5*time.Second)
		require.LessOrEqual(t, slices.Max(b.asked()), 3600)
	})
}

// A request of an earlier round that comes to nothing does not end the present one, which waits for others.
func TestOldFailureDoesNotEndTheRound(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{}, b.Meta(0).Address())
		var asked []time.Duration
		began := time.Now()
		b.Meta(0).Inject(onebox.Fault{Times: 1, Delay: 1500 * time.Millisecond, ForwardNowhere: true, Match: func(r *onebox.Request) bool {
			if r.Is(wire.QueryConfig) {
				asked = append(asked, time.Since(began))
			}
			return r.Is(wire.QueryConfig)
		}})
		b.Meta(0).Inject(onebox.Fault{DropRequest: true, Match: onebox.OnMethod(wire.QueryConfig)})
		require.ErrorIs(t, b.fails(m, 2500*time.Millisecond), context.DeadlineExceeded)
		require.Len(t, asked, 3)
		for round, at := range asked {
			require.InDelta(t, time.Duration(round)*time.Second, at, float64(60*time.Millisecond))
		}
	})
}

// A server that owes answers is asked again as soon as it owes none, because its connection was lost.
func TestLostRequestsAreMadeAgain(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{}, b.Meta(0).Address())
		remove := b.Meta(0).Inject(onebox.Fault{DropRequest: true, Match: onebox.OnMethod(wire.QueryConfig)})
		time.AfterFunc(2200*time.Millisecond, func() { // in the third round, for which it is too early to ask
			require.Equal(t, 2, b.asked()[0])
			remove()
			b.Meta(0).Kill()
			b.Meta(0).Restart()
			b.ElectLeader(0)
		})
		require.LessOrEqual(t, elapsed(func() { b.query(m) }), 2400*time.Millisecond)
	})
}
