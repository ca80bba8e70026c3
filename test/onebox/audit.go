package onebox

import (
	"fmt"
	"sync"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// maxViolations bounds the violations that are kept.
const maxViolations = 100

// auditor collects what clients did wrong. The zero value is ready.
type auditor struct {
	mu         sync.Mutex
	violations []string
}

func (a *auditor) report(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.violations) < maxViolations {
		a.violations = append(a.violations, fmt.Sprintf(format, args...))
	}
}

// Violations returns what clients did wrong so far, one line each, at most 100: requests on which a
// real server aborts, and requests that a real server may accept but a correct client never sends
// (docs/protocol.md, requests that abort a server, and fake cluster). A request of the first sort
// closes its connection.
func (c *Cluster) Violations() []string {
	c.audit.mu.Lock()
	defer c.audit.mu.Unlock()
	return append([]string(nil), c.audit.violations...)
}

func (k *connection) reportUnless(ok bool, message string) {
	if !ok {
		k.report("%s", message)
	}
}

// auditHeader checks what holds for every request.
func (k *connection) auditHeader() {
	k.reportUnless(k.request.Header.TimeoutMillis > 0, "client_timeout must be positive")
}

// auditRequest decodes the arguments of a data request and checks that the request is what a correct
// client sends. It returns false if the request is not to be served.
func (k *connection) auditRequest(op *operation, call call) bool {
	k.auditHeader()
	if k.request.ThreadHash != k.request.Header.GPID.ThreadHash() {
		k.abort("thread hash %d aborts a server", k.request.ThreadHash)
		return false
	}
	if err := wire.DecodeArguments(&k.reader, k.request.Arguments, call.arguments()); err != nil {
		return k.undecodable(op, err)
	}
	k.auditArguments(call)
	return k.auditHash(op, call)
}

// undecodable handles arguments on which a server aborts, or which it ignores in case of a write.
func (k *connection) undecodable(op *operation, err error) bool {
	if op.kind == writeOperation {
		k.report("undecodable arguments of a write: %v", err)
	} else {
		k.abort("undecodable arguments: %v", err)
	}
	return false
}

// auditHash checks the partition hash. A server that applies a single put or remove checks it as well,
// but lets 0 pass.
func (k *connection) auditHash(op *operation, call call) bool {
	hash, ok, err := call.hash(&k.request.Header)
	got := k.request.Header.PartitionHash
	switch {
	case err != nil:
		k.abort("a key that aborts a server: %v", err)
		return false
	case !ok || hash == got:
		return true
	case op.strict && got != 0:
		k.abort("partition hash %#x instead of %#x aborts a server", got, hash)
		return false
	}
	k.report("partition hash %#x instead of %#x", got, hash)
	return true
}

// Field types that a request's argument must have.
const (
	thriftI64    = 10
	thriftStruct = 12
)

// auditArguments checks marks of the encoding that the decoder overlooks, as servers do. Arguments that
// are longer than what was decoded from them held something that was skipped.
func (k *connection) auditArguments(call call) {
	in := call.arguments()
	fieldType := byte(thriftStruct)
	if _, isNumber := in.(*wire.Int64); isNumber {
		fieldType = thriftI64
	}
	k.reportUnless(k.request.Arguments[0] == fieldType, "the argument has the wrong field type")
	if put, ok := in.(*wire.PutRequest); ok && put.Internal {
		k.report("fields 4 to 7 are for servers only")
		return
	}
	if decoded, ok := in.(wire.Arguments); ok {
		k.scratch = decoded.AppendField(k.scratch[:0], 1)
		k.reportUnless(len(k.request.Arguments) <= len(k.scratch)+len("\x00"),
			"a blob has not field type STRUCT, or there are unknown fields")
		if cap(k.scratch) > maxBuffer {
			k.scratch = nil
		}
	}
}

// everExisted tells whether the cluster ever had the partition.
func (c *Cluster) everExisted(gpid wire.GPID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return gpid.PartitionIndex >= 0 && int(gpid.PartitionIndex) < c.everHad[gpid.AppID]
}
