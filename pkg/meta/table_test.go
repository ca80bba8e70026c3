package meta

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// forever is longer than any test lasts, so that nothing happens because of age.
const forever = 1000 * time.Hour

// withTable runs a test in a bubble with an open table of four partitions, whose primaries are the
// replica servers 0, 1, 2, 0. Whatever belongs to a table's refreshes is at rest in the beginning.
func withTable(t *testing.T, options Options, test func(t *testing.T, b *box, table *Table)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config := onebox.Config{Network: memnet.New(), FailoverDelay: forever}
		b := newBox(t, config, onebox.TableOptions{Partitions: 4})
		if options.RefreshInterval == 0 {
			options.RefreshInterval = forever
		}
		table, err := b.open(options).OpenTable(t.Context(), tableName)
		require.NoError(t, err)
		synctest.Wait()
		test(t, b, table)
	})
}

// queries returns how often the leader was asked.
func (b *box) queries() int { return b.Meta(0).Requests(wire.QueryConfig) }

// hold has the leader keep the next query until the returned function is called. arrived is closed
// when it has come.
func (b *box) hold() (arrived <-chan struct{}, release func()) {
	come, gone := make(chan struct{}), make(chan struct{})
	b.Meta(0).Inject(onebox.Fault{Times: 1, Match: func(*onebox.Request) bool {
		select {
		case <-come:
		default:
			close(come)
			<-gone
		}
		return false
	}})
	return come, func() { close(gone) }
}

func TestOpenTable(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		r := table.Load().Value()
		require.Equal(t, tableName, table.Name())
		require.Equal(t, b.appID, r.AppID)
		require.EqualValues(t, 1, r.Version)
		for i, p := range r.Partitions {
			require.Equal(t, b.Primary(tableName, i).Address(), p.Primary.Address())
			require.True(t, p.Trusted())
		}
		require.NoError(t, table.LastFailure())
		require.Equal(t, time.Now(), table.FetchedAt())
		require.Equal(t, 1, b.queries())
		_, err := table.manager.OpenTable(t.Context(), "no such table")
		require.ErrorIs(t, err, ErrNoSuchTable)
	})
}

// Tables that the first Pegasus client for Go could not open: any count, primaries missing.
func TestOpenUnusualTables(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		for name, options := range map[string]onebox.TableOptions{
			"one": {Partitions: 1}, "three": {Partitions: 3}, "six": {Partitions: 6}, "unassigned": {Partitions: 2, Unassigned: true},
		} {
			_, err := b.CreateTable(name, options)
			require.NoError(t, err)
			table, err := m.OpenTable(t.Context(), name)
			require.NoError(t, err)
			r := table.Load().Value()
			require.Len(t, r.Partitions, options.Partitions)
			checkRouting(t, r)
			for i := range r.Partitions {
				require.Equal(t, options.Unassigned, r.Partitions[i].Primary == nil)
			}
		}
	})
}

// However many requests ask for a refresh, one question serves all who asked before it.
func TestRefreshesCoalesce(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		arrived, release := b.hold()
		table.Refresh(ReasonRefused)
		<-arrived
		var asking sync.WaitGroup
		for range 100 {
			asking.Go(func() {
				for range 1000 {
					table.Refresh(ReasonNodeTrouble)
				}
			})
		}
		asking.Wait()
		release()
		pass(time.Hour)
		require.Equal(t, 1+1+1, b.queries(), "to open the table, the one held, and one for all who came meanwhile")
	})
}

// A reason that comes while a question is under way may be newer than the answer to it. It is never
// lost: another question follows.
func TestReasonDuringAQuestionIsNotLost(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		for round := range 20 {
			before := b.queries()
			arrived, release := b.hold()
			table.Refresh(ReasonRefused)
			<-arrived
			require.NoError(t, b.MovePrimary(tableName, 0, (round+1)%3))
			table.Refresh(ReasonRefused)
			release()
			pass(2 * time.Second)
			require.Equal(t, before+2, b.queries())
			require.Equal(t, b.Primary(tableName, 0).Address(), table.Load().Value().Partitions[0].Primary.Address())
		}
	})
}

// insist asks for a refresh every millisecond, and returns how many questions that leads to.
func (b *box) insist(table *Table, lasts time.Duration) (queries int) {
	before := b.queries()
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		table.Refresh(ReasonNodeTrouble)
		pass(time.Millisecond)
	}
	return b.queries() - before
}

// Refreshes that bring nothing become rarer, down to about one a second; news make them frequent again.
func TestRefreshesBackOff(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		queries := b.insist(table, time.Minute)
		require.GreaterOrEqual(t, queries, 60)
		require.LessOrEqual(t, queries, 2*60+8)
		require.LessOrEqual(t, b.insist(table, time.Second), 3)

		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		for before := table.Load(); table.Load() == before; pass(time.Millisecond) {
			table.Refresh(ReasonRefused)
		}
		// Pauses of 10, 20, 40, 80 ms, each up to half shorter.
		queries = b.insist(table, 160*time.Millisecond)
		require.GreaterOrEqual(t, queries, 4)
		require.LessOrEqual(t, queries, 8)
	})
}

func TestRefreshesWithAge(t *testing.T) {
	const interval = 10 * time.Minute
	withTable(t, Options{RefreshInterval: interval}, func(t *testing.T, b *box, table *Table) {
		for asked := 1; asked < 20; asked += 2 {
			pass(interval*4/5 - time.Second)
			require.Equal(t, asked, b.queries())
			pass(time.Second + interval/5)
			require.Equal(t, asked+1, b.queries())
			pass(time.Second)
			table.Refresh(ReasonRefused)
			synctest.Wait() // that makes it young again
			require.Equal(t, asked+2, b.queries())
		}
	})
}

func TestAging(t *testing.T) {
	for _, interval := range []time.Duration{1, 5, time.Second, 1<<63 - 1} {
		for range 100 {
			age := aging(interval)
			require.LessOrEqual(t, age, interval)
			require.GreaterOrEqual(t, age, interval-interval/5)
		}
	}
}

// A refresh that fails leaves the routing alone, tells why, and is repeated when somebody asks.
func TestFailedRefresh(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, b *box) (mend func())
		want  error
	}{
		"no leader": {func(_ *testing.T, b *box) func() {
			b.ElectLeader(-1)
			return func() { b.ElectLeader(0) }
		}, context.DeadlineExceeded},
		"no table": {func(t *testing.T, b *box) func() {
			require.NoError(t, b.DropTable(tableName))
			return func() {
				_, err := b.CreateTable(tableName, onebox.TableOptions{Partitions: 2})
				require.NoError(t, err)
			}
		}, ErrNoSuchTable},
		"no routing": {func(_ *testing.T, b *box) func() { return b.Meta(0).Inject(onebox.Fault{MetaError: wire.ErrOK}) }, ErrRouting},
	} {
		t.Run(name, func(t *testing.T) {
			withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
				opened, before := time.Now(), table.Load()
				mend := test.spoil(t, b)
				table.Refresh(ReasonTimeout)
				pass(10 * time.Second)
				require.ErrorIs(t, table.LastFailure(), test.want)
				require.Equal(t, opened, table.FetchedAt())
				require.Same(t, before, table.Load())
				mend()
				require.NoError(t, b.MovePrimary(tableName, 1, 2))
				table.Refresh(ReasonTimeout)
				pass(10 * time.Second)
				require.NoError(t, table.LastFailure())
				require.Greater(t, table.FetchedAt(), opened)
				require.Equal(t, b.Replica(2).Address(), table.Load().Value().Partitions[1].Primary.Address())
			})
		})
	}
}

// The life of a split, and of one that is cancelled, as refreshes see it.
func TestSplit(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		serving := func() (list []int32) {
			table.Refresh(ReasonRefused)
			pass(2 * time.Second)
			for i := range table.Load().Value().Partitions {
				_, p := table.Load().Value().Locate(uint64(i))
				list = append(list, p.GPID.PartitionIndex)
				require.NotNil(t, p.Primary)
			}
			return list
		}
		require.NoError(t, b.StartSplit(tableName))
		require.Equal(t, []int32{0, 1, 2, 3, 0, 1, 2, 3}, serving())
		require.NoError(t, b.CancelSplit(tableName))
		require.Equal(t, []int32{0, 1, 2, 3}, serving())
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.FinishSplit(tableName, 1))
		require.Equal(t, []int32{0, 1, 2, 3, 0, 5, 2, 3}, serving())
		require.NoError(t, b.FinishSplit(tableName))
		require.Equal(t, []int32{0, 1, 2, 3, 4, 5, 6, 7}, serving())
		assert.Equal(t, uint64(5), table.Load().Serial())
	})
}

// A table that cannot be opened now does not keep others from being opened.
func TestOpenTableWaitsForNobody(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		for _, node := range b.Metas() {
			node.Inject(onebox.Fault{Times: 1, DropRequest: true})
		}
		slow := make(chan error, 1)
		go func() {
			_, err := table.manager.OpenTable(t.Context(), tableName)
			slow <- err
		}()
		pass(backupDelay)
		require.Empty(t, slow)
		require.Zero(t, elapsed(func() {
			_, err := table.manager.OpenTable(t.Context(), tableName)
			require.NoError(t, err)
		}))
		require.Empty(t, slow)
		require.NoError(t, <-slow)
	})
}

// Requests look up partitions while the routing is replaced again and again. Whatever they load is
// whole, does not change under their eyes, and never goes back.
func TestReadersDuringRefreshes(t *testing.T) {
	b := newBox(t, onebox.Config{FailoverDelay: forever}, onebox.TableOptions{Partitions: 4})
	table, err := b.open(Options{RefreshPause: time.Millisecond}).OpenTable(t.Context(), tableName)
	require.NoError(t, err)
	var over atomic.Bool
	var reading sync.WaitGroup
	for range 4 {
		reading.Go(func() {
			for seen, ballot := uint64(0), int64(0); !over.Load(); runtime.Gosched() {
				version := table.Load()
				r := version.Value()
				_, p := r.Locate(0)
				assert.GreaterOrEqual(t, version.Serial(), seen)
				assert.Equal(t, version.Serial(), r.Version)
				assert.GreaterOrEqual(t, p.Ballot, ballot)
				assert.Same(t, &r.Partitions[0], p)
				assert.NotNil(t, p.Primary)
				seen, ballot = version.Serial(), p.Ballot
			}
		})
	}
	for i := range 30 {
		seen := table.Load()
		require.NoError(t, b.MovePrimary(tableName, 0, (i+1)%3))
		for table.Load().Serial() == seen.Serial() {
			require.NoError(t, table.AwaitNews(t.Context(), seen, ReasonRefused, 0, 0))
		}
		require.Equal(t, b.Replica((i+1)%3).Address(), table.Load().Value().Partitions[0].Primary.Address())
	}
	over.Store(true)
	reading.Wait()
}

func TestLogger(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, _ *Table) {
		var log strings.Builder
		dns := newResolver()
		m := b.open(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Resolve: dns.Resolve}, b.MetaAddresses()[0], name)
		b.ElectLeader(b.AddMeta().Index())
		table, err := m.OpenTable(t.Context(), tableName)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		table.Refresh(ReasonNoPrimary)
		synctest.Wait()
		require.NoError(t, b.DropTable(tableName))
		table.Refresh(ReasonRefused)
		pass(time.Second)
		for _, event := range []string{
			`msg="cannot resolve a meta server" name=meta.example:34601 error=`,
			`msg="forwarded to a meta server" leader=10.0.0.1:34601 epoch=0 members=3`,
			`msg="meta leader found" leader=10.0.0.4:34601 epoch=1 members=3`,
			`msg="routing installed" table=temp reason="no primary"`,
			`msg="routing refresh failed" table=temp reason=refused error=`,
		} {
			require.Contains(t, log.String(), event)
		}
	})
}
