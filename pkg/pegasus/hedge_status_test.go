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

// secondariesAnswer has the secondaries answer the first request they are sent, which is of the given
// method, with a response of the test's.
func (b *box) secondariesAnswer(method *wire.Method, response wire.Arguments) {
	for _, node := range b.Secondaries(tableName, 0) {
		node.Inject(onebox.Fault{Garbage: wire.AppendResponse(nil, wire.ErrOK, method, 0, response)})
	}
}

// A secondary whose storage fails does not answer for a primary that is only slow. That there is no record,
// or that there are more, are answers.
func TestHedgeWithAFailingStorage(t *testing.T) {
	for status, wins := range map[wire.Status]bool{
		wire.StatusCorruption: false, wire.StatusIOError: false, wire.StatusShutdownInProgress: false, wire.StatusInvalidArgument: false,
		-1: false, 1000: false, wire.StatusNotFound: true,
	} {
		inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
			b.slow(5 * hedgeDelay)
			b.secondariesAnswer(wire.Get, &wire.GetResponse{Status: status})
			took := elapsed(func() {
				if value, err := b.get("key"); wins {
					require.ErrorIs(t, err, pegasus.ErrNotFound)
				} else {
					require.NoError(t, err)
					require.Equal(t, "value", value)
				}
			})
			require.Equal(t, wins, took == hedgeDelay, "status %d after %v", status, took)
			require.LessOrEqual(t, took, 5*hedgeDelay, "the primary was asked again")
			require.Equal(t, 1, b.backups())
			stats := b.client.Stats().Operations
			for i := range stats {
				if stats[i].Operation == "get" {
					require.EqualValues(t, 1, stats[i].Hedges)
					require.Equal(t, wins, stats[i].HedgesWon == 1)
				}
			}
		})
	}
}

// The same for the other reads that secondaries answer, of which each has a response of its own.
func TestHedgesOfAllReadsWithAFailingStorage(t *testing.T) {
	const status = wire.StatusCorruption
	for name, test := range map[string]struct {
		method   *wire.Method
		response wire.Arguments
		read     func(ctx context.Context, table *pegasus.Table) error
	}{
		"ttl": {wire.TTL, &wire.TTLResponse{Status: status}, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.Exist(ctx, []byte("key"), []byte("sort"))
			return err
		}},
		"multi get": {wire.MultiGet, &wire.MultiGetResponse{Status: status}, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.MultiGet(ctx, []byte("key"), [][]byte{[]byte("sort")}, nil)
			return err
		}},
		"batch get": {wire.BatchGet, &wire.BatchGetResponse{Status: status}, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.BatchGet(ctx, []pegasus.Key{{HashKey: []byte("key"), SortKey: []byte("sort")}}, nil)
			return err
		}},
		"sort key count": {wire.SortKeyCount, &wire.CountResponse{Status: status}, func(ctx context.Context, table *pegasus.Table) error {
			_, err := table.SortKeyCount(ctx, []byte("key"))
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
				b.slow(5 * hedgeDelay)
				b.secondariesAnswer(test.method, test.response)
				require.Equal(t, 5*hedgeDelay, elapsed(func() { require.NoError(t, test.read(t.Context(), b.table)) }))
				require.Equal(t, 1, b.backups())
			})
		})
	}
}

// A secondary that gave up counting, in the place of a slow primary, is the one that the error names.
func TestErrorNamesTheSecondaryThatAnswered(t *testing.T) {
	inHedgedBubble(t, pegasus.Hedging{Delay: hedgeDelay}, func(t *testing.T, b *box) {
		fast := b.slow(5 * hedgeDelay)
		b.secondariesAnswer(wire.SortKeyCount, &wire.CountResponse{Count: -1})
		count := func() error { _, err := b.table.SortKeyCount(t.Context(), []byte("key")); return err }
		err := count()
		require.ErrorIs(t, err, pegasus.ErrNotCounted)
		node := failed(t, err).Node
		var secondaries []string
		for _, node := range b.Secondaries(tableName, 0) {
			secondaries = append(secondaries, node.Address())
		}
		require.Contains(t, secondaries, node)
		require.ErrorContains(t, err, "partition 0: node "+node+": too many")
		fast()
		primary := b.Primary(tableName, 0)
		primary.Inject(onebox.Fault{Match: onebox.OnMethod(wire.SortKeyCount), Error: wire.ErrACLDeny})
		require.Equal(t, primary.Address(), failed(t, count()).Node, "not the one of the operation before")
	})
}

// Nor does such a secondary answer where there is no primary: the read waits for one, or for a secondary
// that is sound.
func TestReadsWithoutAPrimaryAndWithAFailingStorage(t *testing.T) {
	config := onebox.Config{FailoverDelay: time.Hour}
	inBubble(t, config, onebox.TableOptions{Partitions: 1}, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.set("other key", "")
		next := b.Secondaries(tableName, 0)[0].Index()
		for _, node := range b.Secondaries(tableName, 0) {
			node.Inject(onebox.Fault{Times: 1, Garbage: wire.AppendResponse(nil, wire.ErrOK, wire.Get, 0, &wire.GetResponse{Status: wire.StatusIOError})})
		}
		require.NoError(t, b.ClearPrimary(tableName, 0))
		b.holds("key", "value")
		require.GreaterOrEqual(t, b.backups(), 2)
		require.NoError(t, b.AssignPrimary(tableName, 0, next))
	}, pegasus.WithHedgedReads(pegasus.Hedging{Delay: hedgeDelay}))
}
