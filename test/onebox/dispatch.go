package onebox

import (
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// maxOperations is the size of arrays indexed by operation.
const maxOperations = 32

// operationKind says on which kind of server an RPC is served and under which lock.
type operationKind int

const (
	metaOperation         operationKind = iota // on meta servers, without a lock
	readOperation                              // on a replica, under replica.mu for reading
	unlockedReadOperation                      // on a replica, admitted under replica.mu but executed without
	writeOperation                             // on a primary, under partition.mu
)

// operation is an RPC that the cluster knows. To add one, add a row to allOperations.
type operation struct {
	kind    operationKind
	method  *wire.Method
	silent  bool // no reply on success
	strict  bool // a wrong partition hash aborts the server
	atomic  bool // reads before it writes
	newCall func() call
	index   int
}

// call is an operation's reusable argument and result on one connection.
type call interface {
	// arguments returns where to decode the arguments into.
	arguments() wire.Result
	// hash returns the partition hash that belongs to the arguments; ok is false if any will do, and
	// err tells why a real server would not survive the arguments.
	hash(header *wire.Header) (hash uint64, ok bool, err error)
	// execute carries the operation out, under the lock that goes with its kind.
	execute(x *execution) wire.Arguments
	// blank returns an empty success.
	blank(x *execution) wire.Arguments
}

// row describes one RPC with argument A and result R: how to find the partition hash, nil if any will
// do, where the result tells its origin, nil if it does not, and what to do.
type row[A, R any] struct {
	method  *wire.Method
	silent  bool
	strict  bool
	atomic  bool
	hash    func(*A, *wire.Header) (uint64, error)
	origin  func(*R) *wire.Origin
	execute func(x *execution, in *A, out *R)
}

// operation returns the row as an operation. PA and PR are inferred.
func newOperation[A, R any, PA interface {
	*A
	wire.Result
}, PR interface {
	*R
	wire.Arguments
}](kind operationKind, r row[A, R]) *operation {
	return &operation{
		kind: kind, method: r.method, silent: r.silent, strict: r.strict, atomic: r.atomic,
		newCall: func() call { return &typedCall[A, R, PA, PR]{row: &r} },
	}
}

type typedCall[A, R any, PA interface {
	*A
	wire.Result
}, PR interface {
	*R
	wire.Arguments
}] struct {
	row *row[A, R]
	in  A
	out R
}

func (c *typedCall[A, R, PA, PR]) arguments() wire.Result { return PA(&c.in) }

func (c *typedCall[A, R, PA, PR]) hash(header *wire.Header) (uint64, bool, error) {
	if c.row.hash == nil {
		return 0, false, nil
	}
	hash, err := c.row.hash(&c.in, header)
	return hash, true, err
}

func (c *typedCall[A, R, PA, PR]) blank(x *execution) wire.Arguments {
	var empty R
	c.out = empty
	if c.row.origin != nil {
		*c.row.origin(&c.out) = x.origin
	}
	return PR(&c.out)
}

func (c *typedCall[A, R, PA, PR]) execute(x *execution) wire.Arguments {
	result := c.blank(x)
	c.row.execute(x, &c.in, &c.out)
	return result
}

// operations maps the name of each RPC that the cluster knows to it.
var operations = func() map[string]*operation {
	byName := map[string]*operation{}
	for i, op := range allOperations {
		op.index = i
		byName[op.method.Name()] = op
	}
	return byName
}()

// serveRequest serves the current request (docs/protocol.md, dispatch).
func (k *connection) serveRequest() {
	op := operations[string(k.request.Name)]
	k.replySequence = k.request.Sequence
	if op == nil {
		k.replyMethod = wire.NewMethod(string(k.request.Name))
		k.node.countUnknown(string(k.request.Name))
	} else {
		k.replyMethod = op.method
		k.counts[op.index]++
	}
	if trouble := k.node.trouble.Load(); trouble != nil {
		k.serveTroubled(trouble, op)
		return
	}
	k.serveOperation(op)
}

// serveOperation serves the current request without any fault.
func (k *connection) serveOperation(op *operation) {
	addressed := k.request.Header.GPID.AppID > 0
	switch {
	case op == nil && !addressed && string(k.request.Name) == negotiationName:
		k.reply(wire.ErrOK, authenticationDisabled{})
	case op == nil:
		k.reply(wire.ErrHandlerNotFound, nil)
	case !addressed:
		k.serveByServer(op)
	case k.node.kind == kindMeta:
		k.abort("a known RPC with an app id aborts a meta server")
	default:
		k.serveByReplica(op)
	}
}

// serveByServer serves a request that addresses no partition.
func (k *connection) serveByServer(op *operation) {
	if op.kind != metaOperation {
		k.report("a data request must carry its partition")
	}
	if op.kind != metaOperation || k.node.kind != kindMeta {
		k.reply(wire.ErrHandlerNotFound, nil)
		return
	}
	k.reportUnless(k.request.Header.PartitionHash == 0, "a request to a meta server must have hash 0")
	k.auditHeader()
	call := k.callOf(op)
	if err := wire.DecodeArguments(&k.reader, k.request.Arguments, call.arguments()); err != nil {
		k.abort("undecodable arguments: %v", err)
		return
	}
	k.reply(wire.ErrOK, call.execute(&k.run))
}

// serveByReplica serves a request that addresses a partition.
func (k *connection) serveByReplica(op *operation) {
	r := k.node.replica(k.request.Header.GPID)
	if r == nil {
		k.reportUnless(k.node.cluster.everExisted(k.request.Header.GPID), "there never was such a partition")
		k.reply(wire.ErrObjectNotFound, nil)
		return
	}
	call := k.callOf(op)
	if !k.auditRequest(op, call) {
		return
	}
	k.run.begin(r)
	if op.kind == writeOperation {
		k.serveWrite(op, call, r)
		return
	}
	k.serveRead(op, call, r)
}

func (k *connection) serveRead(op *operation, call call, r *replica) {
	var result wire.Arguments
	r.mu.RLock()
	verdict := r.admitRead(&k.request, k.throttled)
	switch {
	case !verdict.serve:
	case op.kind == metaOperation:
		verdict = refused(wire.ErrHandlerNotFound)
	case !op.silent:
		verdict = r.admitBytes()
	}
	if verdict.serve && op.kind == readOperation {
		result = call.execute(&k.run)
	}
	k.run.split, k.run.env = r.split, r.env
	r.mu.RUnlock()
	if verdict.serve && op.kind == unlockedReadOperation {
		result = call.execute(&k.run)
	}
	if k.run.env.limitReadSize {
		r.throttles.charge(k.run.bytes)
	}
	// Values in the result are never changed once stored, so they can be encoded without the lock.
	k.replyVerdict(op, call, verdict, result)
}

func (k *connection) serveWrite(op *operation, call call, r *replica) {
	p := r.partition
	var result wire.Arguments
	p.mu.Lock()
	verdict := p.admitWrite(r, op, &k.request, k.throttled)
	switch {
	case !verdict.serve:
	case p.stalls():
		p.waiting = append(p.waiting, waitingWrite{k.detached(), op, r})
		verdict = ignored
	default:
		result = k.write(call, r)
	}
	p.mu.Unlock()
	k.replyVerdict(op, call, verdict, result)
}

// write carries out a write that was admitted. The caller holds partition.mu, and r is its primary.
func (k *connection) write(call call, r *replica) wire.Arguments {
	k.run.env, k.run.decree, k.run.mutations = r.env, r.partition.decree+1, k.run.mutations[:0]
	k.run.unlogged = false
	result := call.execute(&k.run)
	if !k.run.unlogged {
		r.partition.commit(k.run.mutations)
	}
	return result
}

func (k *connection) replyVerdict(op *operation, call call, verdict verdict, result wire.Arguments) {
	if verdict.body {
		result = call.blank(&k.run)
	}
	switch {
	case verdict.serve && op.silent:
	case verdict.serve:
		k.reply(wire.ErrOK, result)
	case verdict.later:
		k.later(verdict.after, func(late *connection) { late.serveOperation(op) })
	case verdict.name == "":
	case verdict.after > 0:
		k.later(verdict.after, func(late *connection) { late.reply(verdict.name, nil) })
	default:
		k.reply(verdict.name, result)
	}
}

func (k *connection) callOf(op *operation) call {
	if k.calls[op.index] == nil {
		k.calls[op.index] = op.newCall()
	}
	return k.calls[op.index]
}
