package meta

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestMetaSession_MustQueryLeader is named for the bug that this project started from: the first
// Pegasus client for Go kept the list of meta servers and the index of the leader apart. A query that
// was forwarded to a server not in the list made the list longer under one lock and moved the index
// under another, others read both without any, and with many first queries at once one of them used
// an index beyond its list (panic: index out of range), or a leader's session that somebody else had
// already replaced. Whatever queries do side by side, each must get its answer from the leader, and
// leave the true leader behind.
func TestMetaSession_MustQueryLeader(t *testing.T) {
	const askers = 64
	// together has all ask at once, while the leader is not known yet.
	together := func(t *testing.T, b *box, m *MetaManager, each int) {
		start := make(chan struct{})
		var asking sync.WaitGroup
		for range askers {
			asking.Go(func() {
				<-start
				for range each {
					answer, err := m.QueryConfig(t.Context(), tableName)
					if err != nil || answer.AppID != b.appID || len(answer.Partitions) != 8 {
						t.Errorf("got %+v, %v", answer, err)
					}
					if err := m.State().check(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		close(start)
		asking.Wait()
	}

	t.Run("plain", func(t *testing.T) {
		b := newBox(t, onebox.Config{}, onebox.TableOptions{})
		b.ElectLeader(2)
		m := b.open(Options{})
		require.False(t, m.State().Confirmed)
		require.NotEqual(t, b.Leader().Address(), m.State().LeaderAddress())
		together(t, b, m, 1)
		b.requireLeader(m, b.Leader())
		require.Equal(t, b.MetaAddresses(), m.State().addresses())
	})

	t.Run("leader not configured", func(t *testing.T) {
		b := newBox(t, onebox.Config{}, onebox.TableOptions{})
		b.ElectLeader(b.AddMeta().Index())
		m := b.open(Options{}, b.Meta(0).Address())
		together(t, b, m, 1)
		b.requireLeader(m, b.Leader())
		require.Equal(t, []string{b.Meta(0).Address(), b.Leader().Address()}, m.State().addresses())
		require.Equal(t, 1, b.Leader().Accepted(), "one connection for all who found it")
	})

	t.Run("two dead addresses first", func(t *testing.T) {
		b := newBox(t, onebox.Config{}, onebox.TableOptions{})
		b.ElectLeader(1)
		m := b.open(Options{}, append(nowhere, b.MetaAddresses()...)...)
		together(t, b, m, 1)
		b.requireLeader(m, b.Leader())
		require.Equal(t, append(nowhere, b.MetaAddresses()...), m.State().addresses())
	})

	t.Run("leader changes meanwhile", func(t *testing.T) {
		b := newBox(t, onebox.Config{}, onebox.TableOptions{})
		m := b.open(Options{})
		var over atomic.Bool
		var electing sync.WaitGroup
		electing.Go(func() {
			for i := 0; !over.Load(); i++ {
				asked := b.Leader().Requests(wire.QueryConfig)
				b.ElectLeader(i % 3)
				for b.Leader().Requests(wire.QueryConfig) == asked && !over.Load() {
					_, _ = m.QueryConfig(t.Context(), tableName) // somebody must, should the others be done
				}
			}
		})
		together(t, b, m, 5)
		over.Store(true)
		electing.Wait()
		b.query(m)
		b.requireLeader(m, b.Leader())
	})
}

// Two queries are forwarded to two servers that nobody knew, at the same time. The members must end
// up with both. In the middle of one installation, another is made from beginning to end.
func TestConcurrentDiscoveriesMerge(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	m := b.open(Options{})
	forward := func(address string) func(old *State) (*State, bool) {
		return func(old *State) (*State, bool) { return old.withForwarded(address, m.pool.Node(address), 16) }
	}
	runs := 0
	m.install("outer", func(old *State) (*State, bool) {
		if runs++; runs == 1 {
			var other sync.WaitGroup
			other.Go(func() { m.install("inner", forward(nowhere[0])) })
			other.Wait()
		}
		return forward(nowhere[1])(old)
	})
	require.Equal(t, 2, runs, "the loser builds again from what won")
	require.Equal(t, append(b.MetaAddresses(), nowhere...), m.State().addresses())
	require.EqualValues(t, 2, m.State().Discoveries)
	require.NoError(t, m.State().check())
}

// The same over the network: the leader that is asked first forwards to one unknown server, which is
// dead, and another to another one, which leads.
func TestForwardsToTwoUnknownServers(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		dead, leader := b.AddMeta(), b.AddMeta()
		b.ElectLeader(leader.Index())
		dead.Kill()
		b.Meta(0).Inject(onebox.Fault{ForwardTo: dead.Address()})
		m := b.open(Options{}, b.Meta(0).Address(), b.Meta(1).Address())
		require.Zero(t, elapsed(func() { b.query(m) }))
		b.requireLeader(m, leader)
		require.Equal(t, []string{b.Meta(0).Address(), b.Meta(1).Address(), dead.Address(), leader.Address()},
			m.State().addresses())
	})
}

// A query that is older than the last confirmed leader does not move the leader back: it asked when
// the old one was still in office, and its answer was long on the way.
func TestLateAnswerDoesNotMoveTheLeaderBack(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		b.Meta(0).Inject(onebox.Fault{Times: 1, Delay: 300 * time.Millisecond})
		var late sync.WaitGroup
		late.Go(func() {
			assert.Equal(t, 300*time.Millisecond, elapsed(func() {
				_, err := m.QueryConfig(t.Context(), tableName)
				assert.NoError(t, err)
			}))
		})
		pass(100 * time.Millisecond)
		b.ElectLeader(1)
		answer, err := m.QueryConfig(t.Context(), tableName)
		require.NoError(t, err)
		require.Equal(t, b.appID, answer.AppID)
		b.requireLeader(m, b.Meta(1))
		late.Wait()
		b.requireLeader(m, b.Meta(1))
		require.EqualValues(t, 1, m.State().Epoch)
	})
}

// In one round each server is asked once, also when everybody forwards to one who is slow.
func TestEachServerIsAskedOnceARound(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		b.Meta(0).Inject(onebox.Fault{Delay: 400 * time.Millisecond}) // longer than BackupDelay
		require.Equal(t, 400*time.Millisecond, elapsed(func() { b.query(m) }))
		require.Equal(t, []int{1, 1, 1}, b.asked())
	})
}

// The header tells a server how long the client is going to wait for it.
func TestHeaderTellsTheTimeLeft(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		var told []int32
		b.Meta(0).Inject(onebox.Fault{Match: func(r *onebox.Request) bool {
			told = append(told, r.Header.TimeoutMillis)
			return false
		}})
		b.query(m)
		ctx, cancel := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer cancel()
		_, err := m.QueryConfig(ctx, tableName)
		require.NoError(t, err)
		require.Equal(t, []int32{5000, 250}, told)
	})
}

// A broken server that names another leader every time it is asked does not fill the memory, and does
// not drive out what the user configured or what was named last.
func TestNeverEndingDiscoveries(t *testing.T) {
	const lies = 100
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{QueryTimeout: time.Hour}, b.Meta(0).Address())
		for i := range lies {
			b.Meta(0).Inject(onebox.Fault{Times: 1, ForwardTo: fmt.Sprintf("10.9.9.%d:34601", i+1)})
		}
		b.ElectLeader(1)
		b.query(m)
		b.requireLeader(m, b.Meta(1))
		known := m.State().addresses()
		require.Len(t, known, 16)
		require.Subset(t, known, []string{b.Meta(0).Address(), b.Meta(1).Address(), "10.9.9.100:34601", "10.9.9.99:34601"})
		require.NotContains(t, known, "10.9.9.1:34601")
		require.EqualValues(t, lies+1, m.State().Discoveries)
	})
}
