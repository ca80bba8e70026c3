package rpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
)

// Node is one server by address and the connections to it. There is one per address as long as anybody
// has it, so snapshots may hold it for ever, see roster. All methods are for concurrent use.
type Node struct {
	address  string
	pool     *Pool
	links    []link
	epoch    atomic.Uint32
	patience readPatience
	latency  latency
	circuit  circuit

	mu          sync.Mutex         // guards what follows; never held across I/O
	conns       map[*Conn]struct{} // alive, retired ones included
	buried      connStats          // of connections that are no more
	dials       uint64
	lastError   error
	lastErrorAt time.Time
}

func newNode(address string, pool *Pool) *Node {
	n := &Node{
		address: address, pool: pool,
		links: make([]link, pool.options.ConnectionsPerNode), conns: make(map[*Conn]struct{}),
	}
	n.patience.start(&pool.options)
	n.circuit.changed = n.circuitChanged
	for i := range n.links {
		n.links[i].node = n
	}
	return n
}

// Address returns the node's "host:port".
func (n *Node) Address() string { return n.address }

// Epoch is a number that grows whenever the node gives reason to doubt what is known about it: when a
// connection to it is lost. Who recorded an older one should ask for news.
func (n *Node) Epoch() uint32 { return n.epoch.Load() }

// Latency returns the time that the given share of reads takes on this node, 0 to 1, at most a
// quarter too long: of a sample of those made lately. It is false while too little is known.
func (n *Node) Latency(share float64) (time.Duration, bool) { return n.latency.quantile(share) }

// Troubled says whether a connection to the node was lost, or could not be made, within the given
// time.
func (n *Node) Troubled(within time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lastError != nil && time.Since(n.lastErrorAt) < within
}

// Call sends a request and waits for its answer, which is decoded into request.Result when Call
// returns nil. It connects first if need be; callers that need the same connection share one dial.
// An error is one of
//   - *ServerError, ErrNoResult, *ResultError: the server answered;
//   - *CallError: there was no answer, and its Outcome says whether the request may have been
//     executed. The cause behind it is an error of the context, context.DeadlineExceeded for
//     request.Deadline, ErrClosed, *ConnectError, *CircuitError, ErrBusy for request.FailFast, ErrMoved
//     for request.Route, or why the connection was lost.
func (n *Node) Call(ctx context.Context, request *Request) error {
	if err := ctx.Err(); err != nil {
		return n.notSent(err)
	}
	if request.Method.IsRead() {
		return n.call(ctx, request)
	}
	if err := n.circuit.admit(); err != nil {
		return n.notSent(err)
	}
	err := n.call(ctx, request)
	n.circuit.settle(err, n.pool.options.CircuitFailures)
	return err
}

// call finds a connection for a request, and sends it there.
func (n *Node) call(ctx context.Context, request *Request) error {
	l := n.link()
	for turn := 1; ; turn++ {
		conn := l.live()
		if conn == nil {
			var err error
			if conn, err = l.connect(ctx, request); err != nil {
				return n.notSent(err)
			}
		}
		err := conn.do(ctx, request)
		if err == nil {
			return nil
		}
		cause := unusable(err)
		if cause == nil {
			return err
		}
		if turn == maxTurns {
			return n.notSent(cause)
		}
	}
}

// unusable returns why a connection did not take a call, or nil if it did.
func unusable(err error) error {
	var unusable *errUnusable
	if errors.As(err, &unusable) {
		return unusable.cause
	}
	return nil
}

// maxTurns is the number of connections that a call tries to enter. One that ended just before says
// nothing about the call, which belongs on the next; a node that goes on accepting connections only
// to close them says a lot.
const maxTurns = 3

// Send sends a request that has no answer, if there is a connection with room for it. It never waits
// and never connects.
func (n *Node) Send(request *Request) error {
	if conn := n.link().live(); conn != nil {
		return conn.send(request)
	}
	return n.notSent(ErrConnect)
}

// Connect makes sure that every link of the node has a connection, so that later calls need not wait
// for one.
func (n *Node) Connect(ctx context.Context) error {
	for i := range n.links {
		l := &n.links[i]
		if l.live() != nil {
			continue
		}
		if _, err := l.connect(ctx, new(Request)); err != nil {
			return n.notSent(err)
		}
	}
	return nil
}

// Retire closes the node's connections as soon as the calls on them are done. Later calls connect
// anew. It is for nodes that no routing mentions any more.
func (n *Node) Retire() {
	for i := range n.links {
		if conn := n.links[i].conn.Load(); conn != nil {
			conn.retire()
		}
	}
}

// Stats describes the node at this moment.
func (n *Node) Stats() NodeStats {
	stats := NodeStats{Address: n.address, Epoch: n.epoch.Load()}
	n.circuit.describe(&stats) // before the mutex: a circuit that tells of a change may wait for it
	stats.LatencyP50, _ = n.latency.quantile(0.5)
	stats.LatencyP95, _ = n.latency.quantile(0.95)
	stats.LatencyP99, _ = n.latency.quantile(0.99)
	n.mu.Lock()
	defer n.mu.Unlock()
	stats.Connections, stats.Dials = len(n.conns), n.dials
	stats.LastError, stats.LastErrorAt = n.lastError, n.lastErrorAt
	total := n.buried
	for conn := range n.conns {
		total.add(conn.describe(&stats))
	}
	stats.Sent, stats.Received, stats.Flushes = total.sent, total.received, total.flushes
	stats.Late, stats.Unexpected = total.late, total.unexpected
	stats.Abandoned, stats.Waited = total.abandoned, total.waited
	stats.Refused, stats.Busy = total.refused, total.busy
	stats.SentBytes, stats.ReceivedBytes = total.sentBytes, total.readBytes
	return stats
}

func (n *Node) link() *link {
	if len(n.links) == 1 {
		return &n.links[0]
	}
	return &n.links[rand.IntN(len(n.links))]
}

func (n *Node) notSent(cause error) error {
	return &CallError{Address: n.address, Stage: StageConnecting, Outcome: retry.NotSent, Err: cause}
}

// bury forgets a connection that is no more, but for its counters, which it returns.
func (n *Node) bury(conn *Conn) connStats {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, conn)
	counters := conn.describe(new(NodeStats))
	n.buried.add(counters)
	return counters
}

// trouble records a lost connection or a failed dial.
func (n *Node) trouble(err error) {
	n.epoch.Inc()
	n.mu.Lock()
	n.lastError, n.lastErrorAt = err, time.Now()
	n.mu.Unlock()
}
