package onebox

import (
	"sync"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// role is what a replica is to its partition.
type role int

const (
	roleInactive role = iota // not in the configuration: dropped, or behind
	roleSecondary
	rolePrimary
)

// replica is one server's copy of a partition.
//
// partition.mu guards everything against change; readers that do not hold it take mu, and whoever
// changes a field holds both. A snapshot of the store changes no record; it is taken under mu alone.
type replica struct {
	node      *Node
	partition *partition

	mu    sync.RWMutex
	role  role
	store *store
	split splitCheck
	env   *environment
	// prepared is what a secondary has logged but not applied: it applies a write when it hears of the
	// next one (docs/protocol.md, backup requests), or later, see Cluster.LagSecondaries.
	prepared []mutation
	// decree is the position of the last write that the replica has, prepared or applied. The replica
	// is complete if it is that of the partition.
	decree int64

	contexts  contexts
	throttles throttles
}

// splitCheck decides whether a partition hash belongs to the partition (docs/protocol.md, partition
// split).
type splitCheck struct {
	validate  bool   // the table env replica.split.validate_partition_hash
	switching bool   // the child is being registered
	mask      uint64 // partition count - 1
}

// admitRead decides about a read, in the order of docs/protocol.md, read path, after the lookup of the
// replica. The caller holds mu.
func (r *replica) admitRead(request *wire.Request, throttled bool) verdict {
	if v := r.env.admit(r.env.read); !v.serve {
		return v
	}
	if v := r.admitHash(request.Header.PartitionHash); !v.serve {
		return v
	}
	kind := throttleReads
	switch {
	case r.role == roleInactive:
		return refused(wire.ErrInvalidState)
	case request.Header.Backup:
		kind = throttleBackups
	}
	if v := r.throttle(kind, 1, request, throttled); !v.serve {
		return v
	}
	if r.role != rolePrimary && !request.Header.Backup {
		return refused(wire.ErrInvalidState)
	}
	return admitted
}

// throttle lets a request of so many units pass, or not, unless it was throttled before.
func (r *replica) throttle(kind throttleKind, units int, request *wire.Request, before bool) verdict {
	limit := r.env.throttling[kind]
	if limit == nil || before {
		return admitted
	}
	v := r.throttles.admit(kind, limit, units, r.node.cluster.config.Now(), request.Header.TimeoutMillis)
	if kind == throttleBackups && !v.later && !v.serve {
		return ignored
	}
	return v
}

// admitBytes decides whether the replica may read anything, however much that will be.
func (r *replica) admitBytes() verdict {
	if r.env.limitReadSize && !r.throttles.readable(r.env.readSize, r.node.cluster.config.Now()) {
		return verdict{name: wire.ErrBusy, body: true}
	}
	return admitted
}

func (r *replica) admitHash(hash uint64) verdict {
	switch {
	case !r.split.validate:
		return admitted
	case r.split.switching:
		return refused(wire.ErrSplitting)
	case !r.split.owns(r.partition, hash):
		return refused(wire.ErrParentPartitionMisused)
	}
	return admitted
}

// owns tells whether a hash belongs to the partition.
func (s *splitCheck) owns(p *partition, hash uint64) bool {
	return hash&s.mask == uint64(p.gpid.PartitionIndex)
}

// complete tells whether the replica has every acknowledged write. The caller holds partition.mu.
func (r *replica) complete() bool { return r.decree == r.partition.decree }

// take receives a write: the primary applies it at once, a secondary applies those before, unless it
// lags. The caller holds partition.mu.
func (r *replica) take(write []mutation, decree int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.prepared) >= int(r.node.cluster.secondaryLag.Load()) {
		r.applyPrepared()
	}
	r.prepared = append(r.prepared, write...)
	r.decree = decree
	if r.role == rolePrimary {
		r.applyPrepared()
	}
}

func (r *replica) applyPrepared() {
	for i, m := range r.prepared {
		r.store.apply(m)
		r.prepared[i] = mutation{}
	}
	r.prepared = r.prepared[:0]
}

// setRole changes the role. A primary has applied all it has. The caller holds partition.mu.
func (r *replica) setRole(role role) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.role = role; role == rolePrimary {
		r.applyPrepared()
	}
}

// copyFrom makes the replica as complete as the other. The caller holds partition.mu of both.
func (r *replica) copyFrom(other *replica) {
	other.mu.Lock()
	copied := other.store.clone()
	other.mu.Unlock()
	for _, m := range other.prepared {
		copied.apply(m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.store, r.prepared, r.decree = copied, r.prepared[:0], other.decree
}
