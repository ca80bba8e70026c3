package meta

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// tableName is the table that every box has.
const tableName = "temp"

// nowhere are addresses at which nobody listens, on TCP and in memory.
var nowhere = []string{"127.0.0.1:1", "127.0.0.1:2"}

// box is a cluster with one table.
type box struct {
	*onebox.Cluster
	t     testing.TB
	appID int32
}

func newBox(t testing.TB, config onebox.Config, table onebox.TableOptions) *box {
	t.Helper()
	b := &box{t: t, Cluster: onebox.New(t, config)}
	var err error
	b.appID, err = b.CreateTable(tableName, table)
	require.NoError(t, err)
	return b
}

// inBubble runs a test in virtual time, with a cluster on a network in memory, which by itself takes
// no time at all.
func inBubble(t *testing.T, config onebox.Config, test func(t *testing.T, b *box)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		config.Network = memnet.New()
		test(t, newBox(t, config, onebox.TableOptions{}))
	})
}

// pass lets virtual time pass, and then everybody do what is to be done at that moment.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// elapsed returns how long f takes, for use in virtual time.
func elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// open returns a manager that knows the configured meta servers of the box, or the given ones. Both
// it and its pool are closed when the test ends.
func (b *box) open(options Options, seeds ...string) *MetaManager {
	b.t.Helper()
	if seeds == nil {
		seeds = b.MetaAddresses()
	}
	return openManager(b.t, b.DialContext, options, seeds...)
}

func openManager(t testing.TB, dial rpc.DialFunc, options Options, seeds ...string) *MetaManager {
	t.Helper()
	pool := newPool(t, dial)
	m, err := NewManager(seeds, pool, options)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, m.Close(ctx))
	})
	return m
}

func newPool(t testing.TB, dial rpc.DialFunc) *rpc.Pool {
	t.Helper()
	pool, err := rpc.NewPool(rpc.Options{Dial: dial})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, pool.Close(ctx))
	})
	return pool
}

// query asks for the routing of the box's table, which must succeed, and leave nobody asking.
func (b *box) query(m *MetaManager) {
	b.t.Helper()
	answer, err := m.QueryConfig(b.t.Context(), tableName)
	require.NoError(b.t, err)
	require.Equal(b.t, b.appID, answer.AppID)
	requireNobodyAsks(b.t)
}

// fails has the query for the box's table fail within the given time, and returns the error.
func (b *box) fails(m *MetaManager, timeout time.Duration) error {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), timeout)
	defer cancel()
	answer, err := m.QueryConfig(ctx, tableName)
	require.Nil(b.t, answer)
	require.Error(b.t, err)
	requireNobodyAsks(b.t)
	return err
}

// asked returns how often each meta server was asked so far.
func (b *box) asked() (times []int) {
	for _, node := range b.Metas() {
		times = append(times, node.Requests(wire.QueryConfig))
	}
	return times
}

// requireLeader checks whom the manager takes for the leader, and that the state is sound.
func (b *box) requireLeader(m *MetaManager, leader *onebox.Node) {
	b.t.Helper()
	s := m.State()
	require.NoError(b.t, s.check())
	require.Equal(b.t, leader.Address(), s.LeaderAddress())
	require.True(b.t, s.Confirmed)
}

// check says what is wrong with a state.
func (s *State) check() error {
	if s.Leader < 0 || s.Leader >= len(s.Members) {
		return badStateError("the leader is no member")
	}
	for i, m := range s.Members {
		if s.index(m.Address) != i {
			return badStateError("two members have the address " + m.Address)
		}
		if m.Node != nil && m.Node.Address() != m.Address {
			return badStateError("the node of " + m.Address + " is another's")
		}
		if (m.Source == Resolved) != (m.Name != "") || (m.Source == Forwarded) != (m.NamedAt > 0) {
			return badStateError("the source of " + m.Address + " is in doubt")
		}
	}
	return nil
}

type badStateError string

func (e badStateError) Error() string { return string(e) }

// addresses returns the members' in their order.
func (s *State) addresses() (list []string) {
	for _, m := range s.Members {
		list = append(list, m.Address)
	}
	return list
}

// requireNobodyAsks checks that no goroutine is left of queries that have returned.
func requireNobodyAsks(t testing.TB) { requireNotRunning(t, ").issueSingleMeta(") }

// requireNotRunning checks that no goroutine is inside the function whose name ends in that way.
func requireNotRunning(t testing.TB, function string) {
	t.Helper()
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		if frames, _, _ := strings.Cut(stack, "created by "); strings.Contains(frames, function) {
			t.Fatalf("still runs: %s", stack)
		}
	}
}

// stacks returns where all goroutines are.
func stacks() string {
	text := make([]byte, 8<<20)
	return string(text[:runtime.Stack(text, true)])
}
