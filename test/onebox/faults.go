package onebox

import (
	"slices"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"go.uber.org/atomic"
)

// Fault disturbs requests to one server. The zero value disturbs nothing. Effects can be combined where
// that makes sense; where it does not, the one listed first wins. Replies that a table's throttling or
// Config.PatientWrites hold back are not disturbed.
type Fault struct {
	// Match selects the requests; nil selects all. It runs on the goroutine of the connection, which
	// waits for it, and must not keep the Request. It may call methods of Node and Cluster.
	Match func(*Request) bool
	// Times is the number of requests to disturb; 0 means all until the fault is removed.
	Times int

	// CloseBefore closes the connection instead of serving the request.
	CloseBefore bool
	// DropRequest ignores the request.
	DropRequest bool
	// Error is answered as the frame error, without serving the request. It need not be a name that
	// anybody knows.
	Error wire.ErrorName
	// ErrorWithBody lets an empty success follow Error.
	ErrorWithBody bool
	// OKWithoutBody answers ERR_OK without a result, without serving the request.
	OKWithoutBody bool
	// MetaError is answered as the error in the body of a query_cfg reply, without serving the
	// request. Other requests are served.
	MetaError wire.ErrorName
	// ForwardTo lets a meta server answer query_cfg with ERR_FORWARD_TO_OTHERS naming this
	// "IPv4:port" as the leader. Other requests are served.
	ForwardTo string
	// ForwardNowhere lets a meta server answer query_cfg with ERR_FORWARD_TO_OTHERS without naming a
	// leader. Other requests are served.
	ForwardNowhere bool

	// CloseAfter closes the connection after serving the request, without replying.
	CloseAfter bool
	// DropReply serves the request but does not reply.
	DropReply bool
	// WrongSequence gives the reply a sequence id that the client did not use.
	WrongSequence bool
	// WrongName gives the reply the name of another request, "_ACK" added.
	WrongName string
	// HugeLength declares the reply to be almost 2 GiB long.
	HugeLength bool
	// Garbage is sent instead of the reply.
	Garbage []byte
	// Duplicate sends the reply twice.
	Duplicate bool
	// Truncate sends only the first so many bytes of the reply, then closes the connection.
	Truncate int
	// Hold sends the reply after the next reply on the connection, so that they come out of order.
	Hold bool
	// Delay sends the reply so much later; other requests overtake it.
	Delay time.Duration
	// Chunk sends the reply in pieces of so many bytes.
	Chunk int
}

// Request is a request as Fault.Match sees it.
type Request struct {
	// Method is the name of the RPC, for example "RPC_RRDB_RRDB_GET".
	Method string
	// Header is the frame's header.
	Header wire.Header
	// Sequence is the sequence id.
	Sequence int32
	// Node is the server that has received the request.
	Node *Node
}

// Is tells whether the request is one of the given method.
func (r *Request) Is(method *wire.Method) bool { return r.Method == method.Name() }

// OnMethod returns a Fault.Match that selects the requests of the given methods.
func OnMethod(methods ...*wire.Method) func(*Request) bool {
	return func(r *Request) bool { return slices.ContainsFunc(methods, r.Is) }
}

// trouble is everything that disturbs the requests to a server. It is immutable but for the counters.
type trouble struct {
	denyClients bool
	faults      []*injected
}

// injected is a fault in force.
type injected struct {
	left atomic.Int64 // requests to disturb yet, if Times is positive; first, for its alignment
	Fault
}

// take tells whether the fault disturbs the request, and counts it.
func (f *injected) take(request *Request) bool {
	if f.Match != nil && !f.Match(request) {
		return false
	}
	return f.Times <= 0 || f.left.Dec() >= 0
}

// Inject lets the fault disturb requests to the server that arrive from now on. Of several faults that
// match a request, the one injected first disturbs it. remove ends it; it can be called any number of
// times.
func (n *Node) Inject(fault Fault) (remove func()) {
	added := &injected{Fault: fault}
	added.left.Store(int64(fault.Times))
	n.editTrouble(func(t *trouble) { t.faults = append(t.faults, added) })
	return func() {
		n.editTrouble(func(t *trouble) {
			t.faults = slices.DeleteFunc(t.faults, func(f *injected) bool { return f == added })
		})
	}
}

// DenyClients makes the server ignore all requests of clients, as the operator command
// replica.deny-client does. The rest of the cluster does not notice.
func (n *Node) DenyClients(on bool) {
	n.editTrouble(func(t *trouble) { t.denyClients = on })
}

func (n *Node) editTrouble(edit func(*trouble)) {
	for {
		old := n.trouble.Load()
		edited := &trouble{}
		if old != nil {
			edited.denyClients, edited.faults = old.denyClients, slices.Clone(old.faults)
		}
		edit(edited)
		if !edited.denyClients && len(edited.faults) == 0 {
			edited = nil
		}
		if n.trouble.CompareAndSwap(old, edited) {
			return
		}
	}
}
