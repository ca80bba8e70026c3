package onebox

import (
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// execution is what an operation may use. Each connection has one.
type execution struct {
	cluster *Cluster
	node    *Node

	// The following are set for data operations only.

	replica *replica
	origin  wire.Origin
	// The following are as they were when the request was admitted.

	split splitCheck
	env   *environment

	bytes  int    // of keys and values that were read, and not less than one a record
	second uint32 // see now; 0: the clock was not read yet
	// The following are memory for reuse: a key, and the records of an answer.

	key     []byte
	records []wire.KeyValue
	batch   []wire.FullData
	// The following are set for writes only.

	decree    int64 // the position that the write gets in the partition's log
	unlogged  bool  // it gets none after all
	mutations []mutation
}

// mutation is one change of a record, part of a write. It owns its memory and is never changed.
type mutation struct {
	key    []byte
	remove bool
	record record
}

// record is a value with its expiry. The value is never changed in place.
type record struct {
	value  []byte
	expire uint32 // seconds since wire.ExpireEpoch; 0: never
}

// begin prepares for a request.
func (x *execution) begin(r *replica) {
	x.replica, x.origin = r, wire.Origin{GPID: r.partition.gpid, Server: x.node.server}
	x.bytes, x.second = 0, 0
}

// now returns the server's time in seconds since wire.ExpireEpoch, the same one throughout a request, as
// on real servers: of records that expire together, none may be seen without the others.
func (x *execution) now() uint32 {
	if x.second == 0 {
		x.second = x.cluster.now()
	}
	return x.second
}

func (c *Cluster) now() uint32 {
	return uint32(c.config.Now().Sub(time.Unix(wire.ExpireEpoch, 0)) / time.Second)
}

// get returns the live record of a raw key.
func (x *execution) get(key []byte) (record, bool) {
	found, ok := x.replica.store.get(key)
	x.bytes += len(key) + len(found.value)
	if ok && found.expire > 0 && found.expired(x.now()) {
		return record{}, false
	}
	return found, ok
}

func (c *Cluster) expired(r record) bool { return r.expire > 0 && r.expired(c.now()) }

func (r *record) expired(now uint32) bool { return r.expire > 0 && r.expire <= now }

// fail returns the decree of an atomic operation that changes nothing.
func (x *execution) fail() int64 {
	if x.env.idempotent {
		x.unlogged = true
		return -1
	}
	return x.decree
}

// rawKey returns the raw key of a record of which the hash key is not too long.
func rawKey(hashKey, sortKey []byte) []byte {
	return appendRawKey(make([]byte, 0, 2+len(hashKey)+len(sortKey)), hashKey, sortKey)
}

// rawKey returns the raw key until the next call.
func (x *execution) rawKey(hashKey, sortKey []byte) []byte {
	x.key = appendRawKey(x.key[:0], hashKey, sortKey)
	return x.key
}

func appendRawKey(dst, hashKey, sortKey []byte) []byte {
	dst, err := wire.AppendKey(dst, hashKey, sortKey)
	if err != nil {
		panic(err) // auditHash lets no such request pass
	}
	return dst
}

// snapshot returns the records of the replica as they are now. It is for operations without a lock.
func (x *execution) snapshot() *index {
	x.replica.mu.Lock()
	defer x.replica.mu.Unlock()
	return x.replica.store.snapshot()
}

// expiryOf returns the expiry of a record that is written with the given one.
func (c *Cluster) expiryOf(env *environment, expire uint32) uint32 {
	if expire == 0 && env.defaultTTL > 0 {
		return c.now() + env.defaultTTL
	}
	return expire
}

// put and remove add to the write. The key and the value are copied. An expiry of 0 means that of the
// table.

func (x *execution) put(key, value []byte, expire uint32) {
	expire = x.cluster.expiryOf(x.env, expire)
	memory := make([]byte, len(key)+len(value))
	n := copy(memory, key)
	copy(memory[n:], value)
	x.mutations = append(x.mutations, mutation{key: memory[:n:n], record: record{memory[n:], expire}})
}

func (x *execution) remove(key []byte) {
	x.mutations = append(x.mutations, mutation{key: append([]byte(nil), key...), remove: true})
}
