package onebox

import (
	"fmt"
	"slices"
	"sync"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// maxWriteSize is the largest body of a write that servers accept.
const maxWriteSize = 1 << 20

// partition is one partition of a table: its replicas and the configuration that the meta servers
// tell.
//
// No acknowledged write is lost, because:
//   - A write holds mu from the check that its server is the primary until every complete secondary
//     that is reachable has it; decree counts it. A change of the configuration holds mu, too, so a
//     write falls entirely before or after it.
//   - Only a replica that has the partition's decree (complete) becomes primary. One that was dead
//     or paused during a write lacks it, and takes no further writes, until copyFrom gives it all
//     data at once.
//   - Replicas keep their data over the death of their server, so at least the last primary is
//     complete, and if no complete replica is reachable the partition has no primary.
//
// A read sees every write that was acknowledged before it was sent: when its replica passes for the
// primary it has them all, and the data of a replica never goes back. So a server that was stopped in
// the midst of a read, and demoted, answers with data that was current after the request had arrived.
type partition struct {
	gpid        wire.GPID
	minReplicas int
	patient     bool // see Config.PatientWrites

	mu       sync.Mutex
	replicas []*replica // on all servers that host the partition, also those out of the configuration
	decree   int64      // position of the last write
	waiting  []waitingWrite

	// The configuration, changed only by configure.

	ballot      int64
	primary     *replica // nil: none
	secondaries []*replica
	dropped     []*replica

	held   bool // has no primary until AssignPrimary
	hidden bool // a child of a split of which query_cfg does not tell yet
}

// admitWrite decides about a write, in the order of docs/protocol.md, write path, after the lookup of the
// replica. The caller holds mu.
func (p *partition) admitWrite(r *replica, op *operation, request *wire.Request, throttled bool) verdict {
	if v := r.env.admit(r.env.write); !v.serve {
		return v
	}
	if len(request.Body) > maxWriteSize {
		return refused(wire.ErrInvalidData)
	}
	if op.atomic && r.env.duplicating && !r.env.idempotent {
		return refused(wire.ErrOperationDisabled)
	}
	if v := r.admitHash(request.Header.PartitionHash); !v.serve {
		return v
	}
	if r.role != rolePrimary {
		return refused(wire.ErrInvalidState)
	}
	if v := p.admitDisks(); !v.serve {
		return v
	}
	if r.env.ingesting {
		return refused(wire.ErrOperationDisabled)
	}
	if p.liveReplicas() < p.minReplicas {
		return refused(wire.ErrNotEnoughMember)
	}
	if v := r.throttle(throttleWrites, 1, request, throttled); !v.serve {
		return v
	}
	return r.throttle(throttleWriteSize, len(request.Body), request, throttled)
}

// takesWrites tells whether a secondary receives the writes of its primary.
func (p *partition) takesWrites(r *replica) bool { return r.complete() && r.node.reachable.Load() }

// liveReplicas counts the primary and the secondaries that receive writes, or for which writes wait.
func (p *partition) liveReplicas() int {
	if p.patient {
		return 1 + len(p.secondaries)
	}
	live := 1
	for _, r := range p.secondaries {
		if p.takesWrites(r) {
			live++
		}
	}
	return live
}

// commit carries out a write that was admitted. The caller holds mu.
func (p *partition) commit(write []mutation) {
	decree := p.decree + 1
	for _, r := range p.secondaries {
		if p.takesWrites(r) {
			r.take(write, decree)
		}
	}
	p.primary.take(write, decree)
	p.decree = decree
}

// configure installs a configuration with a new ballot, if it differs. The caller holds mu, and the
// primary is complete.
func (p *partition) configure(primary *replica, secondaries []*replica) {
	if primary == p.primary && slices.Equal(secondaries, p.secondaries) {
		return
	}
	p.ballot++
	p.primary, p.secondaries = primary, secondaries
	p.dropped = nil
	for _, r := range p.replicas {
		switch {
		case r == primary:
			r.setRole(rolePrimary)
		case slices.Contains(secondaries, r):
			r.setRole(roleSecondary)
		default:
			r.setRole(roleInactive)
			p.dropped = append(p.dropped, r)
		}
	}
	p.resume()
}

// reconcile brings the partition into the best configuration that its servers allow: the primary
// stays unless its server is lost, replicas that fell behind catch up, and those that are back become
// secondaries. The caller holds Cluster.mu and mu.
func (p *partition) reconcile() {
	if p.held {
		return
	}
	if p.primary == nil || p.primary.node.lost {
		p.arrange(p.candidate())
		return
	}
	p.arrange(p.primary)
	p.resume()
}

// candidate returns a replica that can become primary, nil if there is none.
func (p *partition) candidate() *replica {
	for _, r := range append(slices.Clone(p.secondaries), p.replicas...) {
		if r.complete() && r.node.reachable.Load() {
			return r
		}
	}
	return nil
}

// arrange makes the given replica, which is complete or nil, the primary, and all others that can be
// secondaries. The caller holds Cluster.mu and mu.
func (p *partition) arrange(primary *replica) {
	var secondaries []*replica
	for _, r := range p.replicas {
		if r == primary || r.node.lost {
			continue
		}
		if primary != nil && primary.node.reachable.Load() && r.node.reachable.Load() && !r.complete() {
			r.copyFrom(primary)
		}
		if r.complete() || slices.Contains(p.secondaries, r) {
			secondaries = append(secondaries, r)
		}
	}
	p.configure(primary, secondaries)
}

// on returns the replica on the given server, nil if that does not host the partition.
func (p *partition) on(node *Node) *replica {
	for _, r := range p.replicas {
		if r.node == node {
			return r
		}
	}
	return nil
}

// eachReplica changes something of every replica.
func (p *partition) eachReplica(change func(*replica)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.replicas {
		r.mu.Lock()
		change(r)
		r.mu.Unlock()
	}
}

// best returns the replica whose data is that of the partition, nil if there is no replica. The
// caller holds mu.
func (p *partition) best() *replica {
	if p.primary != nil {
		return p.primary
	}
	for _, r := range p.replicas {
		if r.complete() {
			return r
		}
	}
	return nil
}

// remove takes a replica out of the partition for good. The caller holds Cluster.mu and mu.
func (p *partition) remove(gone *replica) error {
	isGone := func(r *replica) bool { return r == gone }
	remaining := slices.DeleteFunc(slices.Clone(p.replicas), isGone)
	if !slices.ContainsFunc(remaining, func(r *replica) bool { return r.complete() && r.node.reachable.Load() }) {
		return fmt.Errorf("%w: %v has the only data of %v", ErrReplica, gone.node, p.gpid)
	}
	p.replicas = remaining
	gone.setRole(roleInactive)
	gone.node.host(p.gpid, nil)
	primary, secondaries := p.primary, slices.DeleteFunc(slices.Clone(p.secondaries), isGone)
	if primary == gone {
		primary = nil
	}
	p.configure(primary, secondaries)
	p.reconcile()
	return nil
}
