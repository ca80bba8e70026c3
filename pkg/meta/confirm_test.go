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

// What is true before Confirm is called is known after it, without the pauses between refreshes.
func TestConfirm(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		b.insist(table, 10*time.Second) // now refreshes are rare
		for round := range 20 {
			require.NoError(t, b.MovePrimary(tableName, 0, (round+1)%3))
			require.Zero(t, elapsed(func() { require.NoError(t, table.Confirm(t.Context())) }))
			require.Equal(t, b.Primary(tableName, 0).Address(), table.Load().Value().Partitions[0].Primary.Address())
		}
	})
}

// Callers that come while a question is under way share the next one.
func TestConfirmationsCoalesce(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		for range 20 {
			before := b.queries()
			arrived, release := b.hold()
			table.Refresh(ReasonAge)
			<-arrived
			confirmed := make(chan error, 10)
			for range cap(confirmed) {
				go func() { confirmed <- table.Confirm(t.Context()) }()
			}
			synctest.Wait()
			release()
			for range cap(confirmed) {
				require.NoError(t, <-confirmed)
			}
			pass(2 * time.Second)
			require.Equal(t, before+2, b.queries())
		}
	})
}

// The answer to a question that was put before the call confirms nothing: the routing may have changed
// since.
func TestConfirmWantsAQuestionOfItsOwn(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		for round := range 20 {
			require.NoError(t, b.MovePrimary(tableName, 0, round%3))
			answered, release := b.holdAnswer()
			table.Refresh(ReasonAge)
			<-answered
			require.NoError(t, b.MovePrimary(tableName, 0, (round+1)%3))
			confirmed := make(chan error, 1)
			go func() { confirmed <- table.Confirm(t.Context()) }()
			synctest.Wait()
			release()
			require.NoError(t, <-confirmed)
			require.Equal(t, b.Primary(tableName, 0).Address(), table.Load().Value().Partitions[0].Primary.Address())
			pass(2 * time.Second)
		}
	})
}

// holdAnswer has the leader answer the next query, as it is answered now, a second later. answered is
// closed when the query has come.
func (b *box) holdAnswer() (answered <-chan struct{}, release func()) {
	come := make(chan struct{})
	b.Meta(0).Inject(onebox.Fault{Times: 1, Delay: time.Second / 4, Match: func(*onebox.Request) bool {
		select {
		case <-come:
			return false
		default:
			close(come)
			return true
		}
	}})
	return come, func() { pass(time.Second / 4) }
}

// Confirm ends with its context, with the table, and with a question that fails.
func TestConfirmFails(t *testing.T) {
	withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
		require.NoError(t, b.DropTable(tableName))
		require.ErrorIs(t, table.Confirm(t.Context()), ErrNoSuchTable)
		b.ElectLeader(-1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, table.Confirm(ctx), context.DeadlineExceeded)

		ended := make(chan error, 1)
		go func() { ended <- table.Confirm(t.Context()) }()
		synctest.Wait()
		table.Close()
		require.ErrorIs(t, <-ended, rpc.ErrClosed)
		require.ErrorIs(t, table.Confirm(t.Context()), rpc.ErrClosed)
	})
}
