package onebox

import (
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// waitingWrite is a write that was admitted by a primary and waits for its secondaries.
type waitingWrite struct {
	connection *connection // a detached one
	op         *operation
	primary    *replica
}

// stalls tells whether a write has to wait: for a server that does not answer, or behind other writes.
// The caller holds mu.
func (p *partition) stalls() bool {
	return p.patient && (len(p.waiting) > 0 || !p.responds())
}

// responds tells whether the primary and all secondaries answer. The caller holds mu, and there is a
// primary.
func (p *partition) responds() bool {
	unreachable := func(r *replica) bool { return !r.node.reachable.Load() }
	return !unreachable(p.primary) && !slices.ContainsFunc(p.secondaries, unreachable)
}

// resume carries out the writes that wait, in their order, if they need not wait any longer. The caller
// holds mu.
func (p *partition) resume() {
	if len(p.waiting) == 0 || p.primary != nil && !p.responds() {
		return
	}
	for _, w := range p.waiting {
		if w.primary == p.primary && !w.connection.process.isDead() {
			w.carryOut()
		}
	}
	p.waiting = nil
}

// carryOut does what serveWrite did not. The replicas that are left need not be enough for a new write:
// this one was prepared when there were more. The caller holds partition.mu.
func (w *waitingWrite) carryOut() {
	k, r := w.connection, w.primary
	call := k.callOf(w.op)
	if err := wire.DecodeArguments(&k.reader, k.request.Arguments, call.arguments()); err != nil {
		panic(err) // they were decoded before
	}
	k.run.begin(r)
	if v := r.admitHash(k.request.Header.PartitionHash); v.serve {
		k.reply(wire.ErrOK, k.write(call, r))
	} else {
		k.reply(v.name, nil) // a split has given the record to another partition meanwhile
	}
	k.node.cluster.working.Go(k.finish)
}
