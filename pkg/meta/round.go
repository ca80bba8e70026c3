package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// query is a question through all the rounds in which it is put.
//
// A round ends when the servers it has asked are late, but what they were asked does not: an answer counts
// whenever it comes. So a server that always takes longer than Options.AskTimeout is heard, and yet nobody
// waits for it who could find another leader in the next round.
type query struct {
	manager  *MetaManager
	ask      func() question
	outcomes chan outcome   // of everything asked, also in rounds that are over
	asking   sync.WaitGroup // the goroutines that ask

	mu      sync.Mutex // guards what follows
	pending map[string]pending
}

// pending is how often a server was asked that has not answered, and when last.
type pending struct {
	count int
	last  time.Time
	ended chan struct{} // closed when the next of these requests ends
}

// outcome is the end of asking one server: an answer, or a final refusal, or neither.
type outcome struct {
	answer question
	err    error
	round  *round
	late   bool // the round had waited long enough
}

// begin returns nil if the server at an address is to be asked, which is then pending until end. One that
// owes answers is asked again, since requests get lost, but more and more rarely. In between, begin
// returns a channel that is closed when such a request ends.
func (q *query) begin(address string) (owing <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.pending[address]
	if p.count > 0 && time.Since(p.last) < q.manager.options.AskTimeout<<min(p.count-1, maxDoublings) {
		return p.ended
	}
	q.pending[address] = pending{p.count + 1, time.Now(), make(chan struct{})}
	return nil
}

// maxDoublings bounds the growth of the time between two requests to a server that does not answer.
const maxDoublings = 4

func (q *query) end(address string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.pending[address]
	close(p.ended)
	p.count, p.ended = p.count-1, make(chan struct{})
	q.pending[address] = p
}

// round is one attempt to have a question answered by whoever of the known meta servers can.
type round struct {
	query *query
	state *State        // at the beginning of the round
	late  chan struct{} // one for each who is asked and late; room for all

	mu       sync.Mutex // guards what follows
	asked    map[string]bool
	reached  bool // some server answered something
	failures []failure
}

// failure is why a server brought nothing.
type failure struct {
	address string
	err     error
}

func (q *query) newRound(state *State) *round {
	return &round{query: q, state: state, late: make(chan struct{}, len(state.Members)), asked: make(map[string]bool)}
}

// run returns the answer, or a final error, or neither if the round brought nothing.
func (r *round) run(ctx context.Context) (question, error) {
	members := r.state.Members
	r.start(ctx, members[r.state.Leader])
	patience := time.NewTimer(r.query.manager.options.BackupDelay)
	defer patience.Stop()
	open, others := 1, len(members)-1
	for open > 0 {
		select {
		case o := <-r.query.outcomes:
			if o.answer != nil || o.err != nil {
				return o.answer, o.err
			}
			if o.round != r || o.late {
				continue
			}
			open--
		case <-r.late:
			open--
		case <-patience.C:
		case <-ctx.Done():
			r.query.asking.Wait() // so that it is known why each has failed
			return nil, nil
		}
		if others > 0 {
			for i, member := range members {
				if i != r.state.Leader {
					r.start(ctx, member)
				}
			}
			open, others = open+others, 0
		}
	}
	return nil, nil
}

// start has one server asked. The round learns of the end, or that it is late, whichever comes first.
func (r *round) start(ctx context.Context, member Member) {
	q := r.query
	q.asking.Go(func() {
		a := &ask{round: r}
		o := outcome{round: r}
		o.answer, o.err = q.manager.issueSingleMeta(ctx, a, member.Node)
		o.late = a.told.Swap(true)
		select {
		case q.outcomes <- o:
		case <-ctx.Done():
		}
	})
}

// ask is the asking of one member of the meta servers, and of whomever it forwards to.
type ask struct {
	round *round
	told  atomic.Bool // the round does not wait for it any more
}

// call puts a request to a server. It tells the round if that takes longer than Options.AskTimeout.
func (a *ask) call(ctx context.Context, node *rpc.Node, request *rpc.Request) error {
	late := time.AfterFunc(a.round.query.manager.options.AskTimeout, func() {
		a.round.note(node, fmt.Errorf("meta %s: %w", node.Address(), errLate))
		if !a.told.Swap(true) {
			a.round.late <- struct{}{}
		}
	})
	defer late.Stop()
	return node.Call(ctx, request)
}

// claim reserves the asking of one address to the first who comes, so that each server is asked once
// a round, also when two forward to each other or everybody to one.
func (r *round) claim(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked[address] {
		return false
	}
	r.asked[address] = true
	return true
}

// fail remembers why a server brought nothing.
func (r *round) fail(node *rpc.Node, err error) {
	var silent *rpc.CallError
	if !errors.As(err, &silent) {
		r.mu.Lock()
		r.reached = true
		r.mu.Unlock()
		err = fmt.Errorf("meta %s: %w", node.Address(), err)
	}
	r.note(node, err)
}

// note is fail for a server of which it is not known whether it was reached. Of each, the last word counts.
func (r *round) note(node *rpc.Node, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.failures {
		if r.failures[i].address == node.Address() {
			r.failures[i].err = err
			return
		}
	}
	r.failures = append(r.failures, failure{node.Address(), err})
}

// result returns whether some server answered something, and why each brought nothing.
func (r *round) result() (reached bool, failures []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.failures {
		failures = append(failures, f.err)
	}
	return r.reached, failures
}
