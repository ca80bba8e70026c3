package meta

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/onebox"
)

// Close in the middle of anything ends it at once with ErrClosed, leaves no goroutine, and what was
// published stays as it was.
func TestCloseAtAnyStage(t *testing.T) {
	ask := func(m *MetaManager) error {
		_, err := m.QueryConfig(context.Background(), tableName)
		return err
	}
	open := func(m *MetaManager) error {
		_, err := m.OpenTable(context.Background(), tableName)
		return err
	}
	for name, test := range map[string]struct {
		prepare func(t *testing.T, b *box, m *MetaManager)
		during  func(m *MetaManager) error // nil: at rest
	}{
		"unused":        {func(*testing.T, *box, *MetaManager) {}, nil},
		"after a query": {func(_ *testing.T, b *box, m *MetaManager) { b.query(m) }, nil},
		"query waits for an answer": {
			func(_ *testing.T, b *box, _ *MetaManager) { b.silence() }, ask,
		},
		"query waits for a connection": {
			func(_ *testing.T, b *box, _ *MetaManager) {
				for _, node := range b.Metas() {
					node.Blackhole(true)
				}
			}, ask,
		},
		"query rests between rounds": {
			func(_ *testing.T, b *box, _ *MetaManager) { b.ElectLeader(-1) }, ask,
		},
		"table is being opened": {
			func(_ *testing.T, b *box, _ *MetaManager) { b.silence() }, open,
		},
		"table is open": {
			func(t *testing.T, _ *box, m *MetaManager) { require.NoError(t, open(m)) }, nil,
		},
		"table is being refreshed": {
			func(t *testing.T, b *box, m *MetaManager) {
				table, err := m.OpenTable(t.Context(), tableName)
				require.NoError(t, err)
				b.silence()
				table.Refresh(ReasonTimeout)
			}, nil,
		},
		"refresh rests": {
			func(t *testing.T, _ *box, m *MetaManager) {
				table, err := m.OpenTable(t.Context(), tableName)
				require.NoError(t, err)
				for range 10 {
					table.Refresh(ReasonTimeout)
					pass(time.Millisecond)
				}
			}, nil,
		},
		"table was closed": {
			func(t *testing.T, _ *box, m *MetaManager) {
				table, err := m.OpenTable(t.Context(), tableName)
				require.NoError(t, err)
				table.Close()
				table.Close()
			}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
				m := b.open(Options{QueryTimeout: time.Hour})
				test.prepare(t, b, m)
				ended := make(chan error, 1)
				if test.during != nil {
					go func() { ended <- test.during(m) }()
					pass(time.Minute + time.Second/10)
					require.Empty(t, ended)
				}
				before := m.State()
				for range 3 {
					require.Zero(t, elapsed(func() { require.NoError(t, m.Close(t.Context())) }))
				}
				if test.during != nil {
					synctest.Wait()
					require.ErrorIs(t, <-ended, rpc.ErrClosed)
				}
				requireNotRunning(t, "pkg/meta.(*")
				require.Same(t, before, m.State())
				asked := b.asked()
				for range 100 {
					require.ErrorIs(t, ask(m), rpc.ErrClosed)
					require.ErrorIs(t, open(m), rpc.ErrClosed)
				}
				synctest.Wait()
				require.Equal(t, asked, b.asked(), "nobody is bothered any more")
				m.install("too late", func(old *State) (*State, bool) { return old.withForwarded(nowhere[0], nil, 16) })
				require.Same(t, before, m.State(), "nothing is published any more")
			})
		})
	}
}

func TestClosedTable(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		last := table.Load()
		table.Close()
		synctest.Wait()
		requireNotRunning(t, ").keepCurrent(")
		require.Same(t, last.Value(), table.Load().Value(), "it can still be read")
		require.False(t, table.install(mustRoute(t, table.manager.pool, answered(9)), ReasonAge))
		table.Refresh(ReasonRefused)
		table.Refresh(ReasonRefused)
		pass(time.Hour)
		require.Equal(t, 1, b.queries())
		require.Same(t, last.Value(), table.Load().Value())
		require.Empty(t, table.manager.tables)
		b.query(table.manager) // the manager is still open
	})
}

// A resolver that heeds no context cannot keep Close from returning in time.
func TestCloseIsBounded(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		stuck := make(chan struct{})
		m := b.open(Options{Resolve: func(context.Context, string) ([]netip.Addr, error) {
			<-stuck
			return nil, errNoSuchHost
		}}, append(b.MetaAddresses(), name)...)
		b.query(m)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, time.Second, elapsed(func() { require.ErrorIs(t, m.Close(ctx), context.DeadlineExceeded) }))
		require.ErrorIs(t, b.fails(m, time.Second), rpc.ErrClosed)
		close(stuck)
		require.NoError(t, m.Close(t.Context()))
		synctest.Wait() // the Close that gave up waiting
		requireNotRunning(t, "pkg/meta.(*")
	})
}

// Everything at once: nobody hangs, nobody gets anything but an answer or ErrClosed.
func TestCloseRaces(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	for range 20 {
		pool := newPool(t, b.DialContext)
		m, err := NewManager(append(b.MetaAddresses(), "localhost:1"), pool, Options{})
		require.NoError(t, err)
		var busy sync.WaitGroup
		for range 8 {
			busy.Go(func() {
				for {
					table, err := m.OpenTable(t.Context(), tableName)
					if err != nil {
						assert.ErrorIs(t, err, rpc.ErrClosed)
						return
					}
					table.Refresh(ReasonTimeout)
					if table.AwaitNews(t.Context(), table.Load(), ReasonRefused, 0, 0) == nil {
						table.Close()
					}
				}
			})
		}
		_, err = m.QueryConfig(t.Context(), tableName)
		require.NoError(t, err)
		var closing sync.WaitGroup
		for range 3 {
			closing.Go(func() { assert.NoError(t, m.Close(t.Context())) })
		}
		closing.Wait()
		busy.Wait()
		require.Empty(t, m.tables)
		require.NoError(t, pool.Close(t.Context()))
	}
}
