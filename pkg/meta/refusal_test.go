package meta

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// A refusal that will not change ends the query at once, with the server's word for it.
func TestFinalRefusals(t *testing.T) {
	for name, test := range map[wire.ErrorName]struct{ noSuchTable, leader bool }{
		wire.ErrObjectNotFound:    {noSuchTable: true, leader: true},
		wire.ErrUnderRecovery:     {leader: true},
		wire.ErrInvalidParameters: {leader: true},
		wire.ErrACLDeny:           {},
		wire.ErrUnknown:           {},
		"ERR_FROM_THE_FUTURE":     {},
	} {
		t.Run(string(name), func(t *testing.T) {
			inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
				m := b.open(Options{})
				b.Meta(0).Inject(onebox.Fault{MetaError: name})
				var err error
				require.Zero(t, elapsed(func() { err = b.fails(m, time.Second) }))
				var refusal *ServerError
				require.ErrorAs(t, err, &refusal)
				require.Equal(t, ServerError{Address: b.Meta(0).Address(), Name: name}, *refusal)
				require.ErrorContains(t, err, string(name))
				require.ErrorContains(t, err, tableName)
				require.Equal(t, test.noSuchTable, errors.Is(err, ErrNoSuchTable))
				require.NotErrorIs(t, err, ErrNoLeader)
				require.Equal(t, []int{1, 0, 0}, b.asked())
				require.Equal(t, test.leader, m.State().Confirmed)
			})
		})
	}
}

func TestNoSuchTable(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		b.ElectLeader(1)
		require.NoError(t, b.DropTable(tableName))
		var err error
		require.Zero(t, elapsed(func() { err = b.fails(m, time.Second) }))
		require.ErrorIs(t, err, ErrNoSuchTable)
		require.Equal(t, []int{1, 1, 0}, b.asked())
		_, err = m.OpenTable(t.Context(), tableName)
		require.ErrorIs(t, err, ErrNoSuchTable)
	})
}

// A server that answers nonsense does not become the leader: it would be asked first from then on.
func TestBrokenServerDoesNotBecomeLeader(t *testing.T) {
	for _, name := range []wire.ErrorName{wire.ErrACLDeny, wire.ErrUnknown, "ERR_FROM_THE_FUTURE"} {
		t.Run(string(name), func(t *testing.T) {
			inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
				m := b.open(Options{})
				b.query(m)
				b.Meta(1).Inject(onebox.Fault{MetaError: name})
				b.Meta(0).Inject(onebox.Fault{Times: 1, DropRequest: true})
				require.ErrorContains(t, b.fails(m, time.Second), string(name), "the others were asked, and one refused")
				b.requireLeader(m, b.Meta(0))
				b.query(m)
			})
		})
	}
}

// A refusal that may change is not taken for an answer, and is told at the end.
func TestPassingRefusals(t *testing.T) {
	for _, name := range []wire.ErrorName{wire.ErrServiceNotActive, wire.ErrBusyCreating, wire.ErrBusyDropping} {
		t.Run(string(name), func(t *testing.T) {
			inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
				m := b.open(Options{})
				remove := b.Meta(0).Inject(onebox.Fault{MetaError: name})
				err := b.fails(m, time.Second)
				var refusal *ServerError
				require.ErrorAs(t, err, &refusal)
				require.Equal(t, name, refusal.Name)
				require.LessOrEqual(t, b.Meta(0).Requests(wire.QueryConfig), roundsWithin(time.Second))
				b.requireLeader(m, b.Meta(0))
				remove()
				b.query(m)
			})
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		const timeout = 3 * time.Second
		m := b.open(Options{})
		for _, node := range b.Metas() {
			node.Kill()
		}
		var err error
		require.Equal(t, timeout, elapsed(func() { err = b.fails(m, timeout) }))
		require.ErrorIs(t, err, ErrNoLeader)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, rpc.ErrConnect)
		require.ErrorIs(t, err, syscall.ECONNREFUSED, "the cause of each failure is kept")
		require.NotErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, ErrNoSuchTable)
		var failed *NoLeaderError
		require.ErrorAs(t, err, &failed)
		require.Len(t, failed.Failures, 3)
		for _, address := range b.MetaAddresses() {
			require.ErrorContains(t, err, address)
		}
		require.Greater(t, failed.Rounds, 5)
		require.LessOrEqual(t, failed.Rounds, roundsWithin(timeout))
	})
}

// A query without a deadline has QueryTimeout.
func TestQueryTimeout(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{QueryTimeout: 7 * time.Second}, nowhere...)
		took := elapsed(func() {
			_, err := m.QueryConfig(context.Background(), tableName)
			require.ErrorIs(t, err, ErrNoLeader)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		require.Equal(t, 7*time.Second, took)
	})
}

func TestCancelledQuery(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		for _, node := range b.Metas() {
			node.Inject(onebox.Fault{DropRequest: true, Match: onebox.OnMethod(wire.QueryConfig)})
		}
		for _, after := range []time.Duration{0, time.Millisecond, backupDelay, 2 * time.Second} {
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(after, cancel)
			if after == 0 {
				cancel()
			}
			took := elapsed(func() {
				_, err := m.QueryConfig(ctx, tableName)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, ErrNoLeader)
				require.NotErrorIs(t, err, context.DeadlineExceeded)
			})
			require.Equal(t, after, took)
			requireNobodyAsks(t)
			timer.Stop()
		}
	})
}

// Meta servers that could not resolve names send names instead of addresses.
func TestNamesInsteadOfAddresses(t *testing.T) {
	inBubble(t, onebox.Config{HostNames: true, AddressesUnset: true}, func(t *testing.T, b *box) {
		b.ElectLeader(2)
		m := b.open(Options{}, b.Meta(0).Address())
		table, err := m.OpenTable(t.Context(), tableName)
		require.NoError(t, err)
		require.Equal(t, []string{b.Meta(0).Address(), "meta-2:34601"}, m.State().addresses())
		require.Equal(t, "meta-2:34601", m.State().LeaderAddress())
		p := table.Load().Value().Partitions[0]
		require.Equal(t, "replica-0:34801", p.Primary.Address())
		require.Len(t, p.Secondaries, 2)
		require.Equal(t, "replica-1:34801", p.Secondaries[0].Address())
		require.NoError(t, p.Primary.Connect(t.Context()))
	})
}

// With both, the address is used, so that a server has one node whatever it is called.
func TestAddressesAreBetterThanNames(t *testing.T) {
	name := wire.HostPort{Host: "meta-2", Port: 34601}
	for want, address := range map[string]string{
		"10.0.0.1:34601": "10.0.0.1:34601",
		"meta-2:34601":   "10.0.0.1:0",
	} {
		require.Equal(t, want, nodeAddress(netip.MustParseAddrPort(address), name))
	}
	require.Equal(t, "meta-2:34601", nodeAddress(netip.AddrPort{}, name))
	require.Empty(t, nodeAddress(netip.AddrPort{}, wire.HostPort{}))
}

func TestOptions(t *testing.T) {
	pool := newPool(t, nil)
	for _, options := range []Options{
		{BackupDelay: -1}, {AskTimeout: -1}, {QueryTimeout: -1}, {MaxForwards: -1}, {MaxMembers: -1}, {RetryPause: -1},
		{ResolveInterval: -1}, {ResolveTimeout: -1}, {RefreshPause: -1}, {MaxRefreshPause: -1}, {RefreshInterval: -1},
	} {
		m, err := NewManager(nowhere, pool, options)
		require.Nil(t, m)
		require.ErrorContains(t, err, "is negative: -1")
	}
	options, err := Options{BackupDelay: time.Hour}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, time.Hour, options.BackupDelay)
	require.Equal(t, 16, options.MaxMembers)
	require.NotNil(t, options.Resolve)
	require.NotNil(t, options.Logger)
}

func TestErrorTexts(t *testing.T) {
	refusal := &ServerError{Address: "10.0.0.1:34601", Name: wire.ErrUnderRecovery}
	require.EqualError(t, refusal, "meta 10.0.0.1:34601 answered ERR_UNDER_RECOVERY")
	err := &NoLeaderError{Rounds: 2, Err: context.DeadlineExceeded, Failures: []error{refusal, errLeaderless}}
	require.EqualError(t, err, "no meta leader answered in 2 rounds: context deadline exceeded; "+
		"meta 10.0.0.1:34601 answered ERR_UNDER_RECOVERY; knows no leader")
	require.ErrorIs(t, err, errLeaderless)
	require.ErrorIs(t, err, ErrNoLeader)
	require.Equal(t, "configured resolved forwarded", fmt.Sprint(Configured, " ", Resolved, " ", Forwarded))
}
