package meta

import (
	"context"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Confirm has a meta server asked, without the usual pause between questions, and returns when an
// answer was installed to a question put after the call: what Load returns from then on is not older
// than the call. Callers that come together share a question. It fails with ctx's error, with
// rpc.ErrClosed after Close, or with the reason why the question failed, for example ErrNoSuchTable.
func (t *Table) Confirm(ctx context.Context) error {
	next := t.questions.Load() + 1 // the one under way, if there is one, may have been put before
	t.Refresh(ReasonConfirm)       // which is never lost, so that once is enough
	select {
	case t.urgent <- struct{}{}:
	default:
	}
	for {
		ended := t.rounds.Load().Superseded()
		if t.ctx.Err() != nil {
			return rpc.ErrClosed
		}
		if t.answered.Load() >= next {
			return nil
		}
		if t.unanswered.Load() >= next {
			return t.failure.Load()
		}
		select {
		case <-ended:
		case <-t.ctx.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
