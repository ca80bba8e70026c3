package meta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// question is what one meta server is asked, and its answer. Each server asked gets a question of
// its own, since several may be answering at once.
type question interface {
	request() *rpc.Request
	// verdict returns the error in the answer's body.
	verdict() wire.ErrorName
	// leader returns the address that a forwarding answer names, or "".
	leader() string
	// accept is called on the one question whose answer is taken, by the goroutine that asked for it.
	accept()
}

// Failures of asking one server that say nothing final.
var (
	errForwarded  = errors.New("forwards to")
	errForwards   = errors.New("too many forwards")
	errLeaderless = errors.New("knows no leader")
	errLate       = errors.New("has not answered yet")
)

// metaCall puts a question to the meta leader and accepts the answer. In each round it asks the
// leader first and everybody else when the leader fails, at once, or is slow, after BackupDelay; the
// first good answer ends the query and cancels the rest. Rounds follow each other until ctx ends.
// When metaCall returns, none of its goroutines is left.
func (m *MetaManager) metaCall(ctx context.Context, ask func() question) error {
	ctx, cancel := m.bound(ctx)
	q := &query{manager: m, ask: ask, outcomes: make(chan outcome), pending: make(map[string]pending)}
	defer q.asking.Wait()
	defer cancel()
	m.startResolving(m.options.ResolveInterval)
	pause := m.options.RetryPause
	for rounds := 1; ; rounds++ {
		if m.ctx.Err() != nil {
			return rpc.ErrClosed
		}
		version := m.state.Load()
		r := q.newRound(version.Value())
		answer, err := r.run(ctx)
		if answer != nil {
			answer.accept()
		}
		if answer != nil || err != nil {
			return err
		}
		reached, failures := r.result()
		if !reached {
			m.resolveAgain(ctx)
		}
		if err := rest(ctx, pause, version.Superseded()); err != nil {
			if m.ctx.Err() != nil {
				return rpc.ErrClosed
			}
			return &NoLeaderError{Rounds: rounds, Err: err, Failures: failures}
		}
		pause = min(2*pause, m.options.BackupDelay)
	}
}

// rest pauses between two rounds. One half of the pause is left to chance, and news about the meta
// servers end it early. The other half nothing ends but the context: queries that fail side by side
// would otherwise wake each other without end with news that help none of them, as when two servers
// take turns in claiming to lead.
func rest(ctx context.Context, pause time.Duration, news <-chan struct{}) error {
	if err := retry.Sleep(ctx, pause/2, nil); err != nil {
		return err
	}
	return retry.Sleep(ctx, rand.N(pause/2+1), news)
}

// bound gives a context an end: its own deadline or QueryTimeout, and the manager's Close.
func (m *MetaManager) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	var cancel context.CancelFunc
	if _, has := ctx.Deadline(); has {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, m.options.QueryTimeout)
	}
	stop := context.AfterFunc(m.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// resolveAgain waits for the configured names to be looked up anew, unless they just were.
func (m *MetaManager) resolveAgain(ctx context.Context) {
	done := m.startResolving(m.options.BackupDelay)
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// issueSingleMeta asks one meta server, and whomever it forwards to, and installs what is learned
// about members and leader as a new snapshot. It returns the answer, or the leader's final refusal,
// or neither.
func (m *MetaManager) issueSingleMeta(ctx context.Context, a *ask, node *rpc.Node) (question, error) {
	r := a.round
	for hops := 0; ; hops++ {
		if hops > m.options.MaxForwards {
			r.fail(node, errForwards)
			return nil, nil
		}
		if !r.claim(node.Address()) {
			return nil, nil // somebody else is on it, or it had nothing to say
		}
		if owing := r.query.begin(node.Address()); owing != nil {
			r.note(node, fmt.Errorf("meta %s: %w", node.Address(), errLate))
			_ = retry.Sleep(ctx, m.options.AskTimeout, owing) // like one that was asked now
			return nil, nil
		}
		q := r.query.ask()
		request := q.request()
		timeout := m.timeout(ctx)
		request.Deadline = time.Now().Add(timeout)
		request.Header.TimeoutMillis = wire.TimeoutMillis(timeout)
		err := a.call(ctx, node, request)
		r.query.end(node.Address())
		if err != nil {
			r.fail(node, err)
			return nil, nil
		}
		row := retry.Meta(q.verdict())
		if row.Action != retry.AskOthers {
			return m.fromLeader(r, node, q, row)
		}
		leader := q.leader()
		if leader == "" {
			r.fail(node, errLeaderless)
			return nil, nil
		}
		r.fail(node, fmt.Errorf("%w %s", errForwarded, leader))
		node = m.pool.Node(leader)
		m.install("forwarded to a meta server", func(old *State) (*State, bool) {
			return old.withForwarded(leader, node, m.options.MaxMembers)
		})
	}
}

// timeout returns how long one server may take to answer in all: QueryTimeout, or what is left of the
// query.
func (m *MetaManager) timeout(ctx context.Context) time.Duration {
	end, _ := ctx.Deadline() // bound gave it one
	return min(m.options.QueryTimeout, time.Until(end))
}

// fromLeader evaluates the answer of a server that did not forward, which makes it the leader if only
// a leader gives such an answer.
func (m *MetaManager) fromLeader(r *round, node *rpc.Node, q question, row retry.Row) (question, error) {
	name := q.verdict()
	if provesLeader(row) {
		m.install("meta leader found", func(old *State) (*State, bool) {
			return old.withLeader(node.Address(), node, r.state.Epoch, m.options.MaxMembers)
		})
	}
	if name == wire.ErrOK {
		return q, nil
	}
	err := &ServerError{Address: node.Address(), Name: name}
	if row.Action == retry.Return {
		return nil, err
	}
	r.fail(node, err)
	return nil, nil
}

// provesLeader says whether only a leader gives such an answer. A server that denies access may be
// any, and so may one that answers what nobody expects: taken for the leader, it would be asked first
// from then on, and fail every query.
func provesLeader(row retry.Row) bool {
	unexpected := row.Name != wire.ErrOK && row.Executed
	return !unexpected && row.Name != wire.ErrACLDeny
}

// install publishes what build makes of the state, however many others do so at the same time: a
// writer that comes too late builds again from what the winner left, so neither's discovery is lost.
func (m *MetaManager) install(event string, build func(old *State) (*State, bool)) {
	var before *State
	version, changed := m.state.Update(func(old *State) (*State, bool) {
		before = old
		return build(old)
	})
	if !changed {
		return
	}
	s := version.Value()
	m.options.Logger.Info(event, "leader", s.LeaderAddress(), "epoch", s.Epoch, "members", len(s.Members))
	if s.drops(before) {
		m.retireUnused()
	}
	if installed := m.options.Hooks.StateInstalled; installed != nil {
		installed(event, s)
	}
}
