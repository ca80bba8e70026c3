package pegasus

import (
	"context"
	"slices"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// observers are the hooks of a client, and the calls of them that are due.
//
// What happens in the background is reported by a goroutine of its own, and not by that to which it
// happens. A hook may wait for anything in the client, for a connection or for routing, also for that
// which the goroutine it reports about is to bring; and it may call Close, which waits for all those
// goroutines. So that one is the only goroutine that nobody waits for. It exists while there is something
// to report.
type observers struct {
	hooks      []Hooks
	attempts   bool // some hook is about single tries
	operations bool // some hook is about whole operations
	skipped    atomic.Uint32
	due        rpc.Notices
}

func newObservers(hooks []Hooks) *observers {
	o := &observers{hooks: slices.Clone(hooks)}
	for i := range hooks {
		o.attempts = o.attempts || hooks[i].AttemptBegin != nil || hooks[i].AttemptEnd != nil
		o.operations = o.operations || hooks[i].OperationEnd != nil
	}
	o.due.Start = func(run func()) bool {
		go run()
		return true
	}
	return o
}

// later has a function called that calls hooks. It waits for nobody, and may be called with locks held.
func (o *observers) later(call func()) {
	if !o.due.Add(call) {
		o.skipped.Inc()
	}
}

// tell has one hook of each that has it called later.
func tell[E any](o *observers, event E, hook func(*Hooks) func(E)) {
	for i := range o.hooks {
		if call := hook(&o.hooks[i]); call != nil {
			o.later(func() { call(event) })
		}
	}
}

// ofConnections returns the hooks of the layer of connections.
func (o *observers) ofConnections() rpc.Hooks {
	return rpc.Hooks{
		DialBegin: func(address string) {
			tell(o, DialBegin{At: time.Now(), Node: address}, func(h *Hooks) func(DialBegin) { return h.DialBegin })
		},
		DialEnd: func(address string, took time.Duration, err error) {
			tell(o, DialEnd{At: time.Now(), Node: address, Took: took, Err: err},
				func(h *Hooks) func(DialEnd) { return h.DialEnd })
		},
		ConnectionLost: func(address string, cause error) {
			tell(o, ConnectionLost{At: time.Now(), Node: address, Cause: cause},
				func(h *Hooks) func(ConnectionLost) { return h.ConnectionLost })
		},
		CircuitChanged: func(change rpc.CircuitChange) {
			tell(o, change, func(h *Hooks) func(rpc.CircuitChange) { return h.CircuitChanged })
		},
	}
}

// ofDirectory returns the hooks of the layer of meta servers and routing.
func (o *observers) ofDirectory() meta.Hooks {
	return meta.Hooks{
		Refreshed: func(r meta.Refresh) {
			event := Refresh{At: time.Now(), Table: r.Table, Reason: string(r.Reason), Took: r.Took, News: r.News, Err: r.Err}
			tell(o, event, func(h *Hooks) func(Refresh) { return h.Refresh })
		},
		StateInstalled: func(event string, state *meta.State) {
			tell(o, MetaInstalled{At: time.Now(), Event: event, State: describeMeta(state)},
				func(h *Hooks) func(MetaInstalled) { return h.MetaInstalled })
		},
		RoutingInstalled: func(reason meta.Reason, routing *meta.Routing) {
			event := RoutingInstalled{
				At: time.Now(), Table: routing.Table, AppID: routing.AppID, Version: routing.Version,
				Partitions: len(routing.Partitions), Reason: string(reason),
			}
			event.WithoutPrimary, _ = countTroubled(routing)
			tell(o, event, func(h *Hooks) func(RoutingInstalled) { return h.RoutingInstalled })
		},
	}
}

// attemptOf describes the present try of an operation.
func (t *Table) attemptOf(op *operation) Attempt {
	a := Attempt{
		Operation: op.name, Table: t.name, Partition: int(op.partition.GPID.PartitionIndex), Try: op.tries,
	}
	if op.partition.Primary != nil {
		a.Node = op.partition.Primary.Address()
	}
	return a
}

// observe is attempt with hooks before and after it.
func (t *Table) observe(ctx context.Context, op *operation, routing *routingVersion) error {
	hooks, attempt, told := t.client.observers.hooks, t.attemptOf(op), ctx
	for i := range hooks {
		if begin := hooks[i].AttemptBegin; begin != nil {
			if with := begin(told, attempt); with != nil {
				told = with
			}
		}
	}
	op.times = rpc.Times{}
	op.request.Times = &op.times
	began := time.Now()
	err := t.attempt(ctx, op, routing)
	op.request.Times = nil
	end := AttemptEnd{Attempt: attempt, Took: time.Since(began), Err: err}
	if op.hedge.node != nil {
		t.hedged(ctx, op)
	}
	end.Queued = end.Took
	if entered := op.times.Entered; !entered.IsZero() {
		end.Queued = max(0, entered.Sub(began))
	}
	for i := range hooks {
		if call := hooks[i].AttemptEnd; call != nil {
			call(told, end)
		}
	}
	return err
}

// timed counts and tells how long an operation took, which had the given time from its beginning on.
func (t *Table) timed(ctx context.Context, op *operation, timeout time.Duration, err error) {
	took, observers := timeout-op.deadline.Sub(t.client.now()), t.client.observers
	t.client.counters.timed(op, took)
	if observers == nil || !observers.operations {
		return
	}
	end := OperationEnd{Attempt: t.attemptOf(op), Took: took, Err: err}
	for i := range observers.hooks {
		if call := observers.hooks[i].OperationEnd; call != nil {
			call(ctx, end)
		}
	}
}

// retrying tells that an operation whose try has failed is to be repeated.
func (t *Table) retrying(ctx context.Context, op *operation, cause error, pause time.Duration) {
	if t.client.observers == nil {
		return
	}
	for _, hooks := range t.client.observers.hooks {
		if hooks.Retry != nil {
			hooks.Retry(ctx, Retry{Attempt: t.attemptOf(op), Pause: pause, Err: cause})
		}
	}
}

// hedged tells that a secondary was asked. It is called when the try is over and holds nothing any more
// that another operation could have to wait for.
func (t *Table) hedged(ctx context.Context, op *operation) {
	asked := op.hedge
	op.hedge = hedgeOutcome{}
	if asked.won {
		op.secondary = asked.node.Address()
	}
	t.client.counters.hedged(op, asked.won)
	if t.client.observers == nil {
		return
	}
	for _, hooks := range t.client.observers.hooks {
		if hooks.Hedge != nil {
			hooks.Hedge(ctx, Hedge{Attempt: t.attemptOf(op), Secondary: asked.node.Address(), Won: asked.won})
		}
	}
}
