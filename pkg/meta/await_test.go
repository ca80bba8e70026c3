package meta

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/onebox"
)

// What ends the wait for news, and when. A pause of an hour stands for one that something else ends.
func TestAwaitNews(t *testing.T) {
	const pause = 50 * time.Millisecond
	for name, test := range map[string]struct {
		prepare func(t *testing.T, b *box, table *Table)
		timeout time.Duration
		pause   time.Duration
		most    time.Duration
		takes   time.Duration
		news    bool
		want    error
	}{
		"nothing new, no pause": {
			prepare: func(*testing.T, *box, *Table) {},
		},
		"nothing new": {
			prepare: func(*testing.T, *box, *Table) {},
			pause:   pause, takes: pause,
		},
		"news": {
			prepare: func(t *testing.T, b *box, _ *Table) { require.NoError(t, b.MovePrimary(tableName, 0, 2)) },
			news:    true,
		},
		"news end the pause": {
			prepare: func(t *testing.T, b *box, _ *Table) { require.NoError(t, b.MovePrimary(tableName, 0, 2)) },
			pause:   time.Hour, news: true,
		},
		"news on somebody else's behalf end the pause": {
			prepare: func(t *testing.T, b *box, table *Table) {
				time.AfterFunc(pause, func() {
					_ = b.MovePrimary(tableName, 0, 2)
					table.Refresh(ReasonTimeout)
				})
			},
			pause: time.Hour, takes: pause, news: true,
		},
		"news that are there already": {
			prepare: func(t *testing.T, b *box, table *Table) {
				require.NoError(t, b.MovePrimary(tableName, 0, 2))
				table.Refresh(ReasonTimeout)
				synctest.Wait()
			},
			pause: time.Hour, news: true,
		},
		"failed refresh": {
			prepare: func(t *testing.T, b *box, _ *Table) { require.NoError(t, b.DropTable(tableName)) },
			pause:   pause, takes: pause,
		},
		"silent meta servers": {
			prepare: func(_ *testing.T, b *box, _ *Table) { b.silence() },
			pause:   pause, takes: pause + backupDelay,
		},
		"silent meta servers and a limit": {
			prepare: func(_ *testing.T, b *box, _ *Table) { b.silence() },
			pause:   pause, most: 2 * pause, takes: 2 * pause,
		},
		"the limit ends the pause": {
			prepare: func(*testing.T, *box, *Table) {},
			pause:   time.Hour, most: pause, takes: pause,
		},
		"context ends during the pause": {
			prepare: func(*testing.T, *box, *Table) {},
			pause:   time.Hour, timeout: pause, takes: pause, want: context.DeadlineExceeded,
		},
		"context ends after the pause": {
			prepare: func(_ *testing.T, b *box, _ *Table) { b.silence() },
			pause:   pause, timeout: 2 * pause, takes: 2 * pause, want: context.DeadlineExceeded,
		},
		"table is closed during the pause": {
			prepare: func(_ *testing.T, _ *box, table *Table) { time.AfterFunc(pause, table.Close) },
			pause:   time.Hour, takes: pause, want: rpc.ErrClosed,
		},
		"table is closed after the pause": {
			prepare: func(_ *testing.T, b *box, table *Table) {
				b.silence()
				time.AfterFunc(2*pause, table.Close)
			},
			pause: pause, takes: 2 * pause, want: rpc.ErrClosed,
		},
		"table is closed": {
			prepare: func(_ *testing.T, _ *box, table *Table) { table.Close() },
			pause:   time.Hour, want: rpc.ErrClosed,
		},
		"manager is closed": {
			prepare: func(t *testing.T, b *box, table *Table) {
				b.silence()
				time.AfterFunc(pause, func() { _ = table.manager.Close(context.Background()) })
			},
			takes: pause, want: rpc.ErrClosed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
				seen := table.Load()
				test.prepare(t, b, table)
				ctx := t.Context()
				if test.timeout > 0 {
					ctx = within(t, test.timeout)
				}
				var err error
				require.Equal(t, test.takes, elapsed(func() { err = table.AwaitNews(ctx, seen, ReasonRefused, test.pause, test.most) }))
				if test.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, test.want)
				}
				require.Equal(t, test.news, table.Load().Serial() > seen.Serial())
			})
		})
	}
}

// silence makes all meta servers ignore everything.
func (b *box) silence() {
	for _, node := range b.Metas() {
		node.Inject(onebox.Fault{DropRequest: true})
	}
}

// Many requests that wait for a partition without primary proceed together, with one question asked,
// as soon as it has one again.
func TestManyAwaitTheSameNews(t *testing.T) {
	const waiters = 200
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		require.NoError(t, b.ClearPrimary(tableName, 0))
		table.Refresh(ReasonRefused)
		pass(2 * time.Second)
		seen := table.Load()
		require.Nil(t, seen.Value().Partitions[0].Primary)
		require.NotNil(t, seen.Value().Partitions[1].Primary, "the others keep working")
		done := make(chan error, waiters)
		for range waiters {
			go func() {
				for seen := seen; ; seen = table.Load() {
					if _, p := seen.Value().Locate(0); p.Primary != nil {
						done <- nil
						return
					}
					if err := table.AwaitNews(t.Context(), seen, ReasonNoPrimary, 100*time.Millisecond, 0); err != nil {
						done <- err
						return
					}
				}
			}()
		}
		before := b.queries()
		pass(20 * time.Second)
		require.Empty(t, done)
		require.LessOrEqual(t, b.queries()-before, 2*20+8)
		require.NoError(t, b.AssignPrimary(tableName, 0, 1))
		pass(time.Second)
		require.Len(t, done, waiters)
		for range waiters {
			require.NoError(t, <-done)
		}
	})
}
