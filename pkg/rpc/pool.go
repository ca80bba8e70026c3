package rpc

import (
	"context"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
)

// Pool holds the nodes of a client, one per address. All methods are for concurrent use.
type Pool struct {
	options Options
	ctx     context.Context // ends with Close; dials run on it
	cancel  context.CancelFunc
	running sync.WaitGroup // goroutines of dials and connections
	notices Notices        // of what happens where locks are held

	mu     sync.Mutex // guards what follows
	roster roster
	closed bool
}

// NewPool returns an empty pool, or an error that says which option is out of range.
func NewPool(options Options) (*Pool, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{options: options, ctx: ctx, cancel: cancel, roster: roster{entries: make(map[string]*entry)}}
	p.notices.Start = p.Go
	return p, nil
}

// Node returns the node at address, "host:port"; always the same for the same address, as long as anybody
// has it. It does not connect.
func (p *Pool) Node(address string) *Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roster.node(address, p)
}

// Nodes returns every node there is, ordered by address: those in use, and those that were asked for in
// the last five minutes or so.
func (p *Pool) Nodes() []*Node {
	p.mu.Lock()
	nodes := p.roster.all()
	p.mu.Unlock()
	slices.SortFunc(nodes, func(a, b *Node) int { return strings.Compare(a.address, b.address) })
	return nodes
}

// Close fails every call in flight with ErrClosed, closes the connections and waits until all
// goroutines of the pool have ended, or until ctx is done, whose error it returns then. Calls that
// come later fail with ErrClosed. Close may be called more than once.
func (p *Pool) Close(ctx context.Context) error {
	p.cancel() // before closed is set: who sees that finds the context ended
	done := make(chan struct{})
	var dying sync.WaitGroup
	for _, conn := range p.shut() {
		// Side by side, since closing the stream of a foreign dialler may take its time.
		dying.Go(func() { conn.die(ErrClosed) })
	}
	go func() {
		dying.Wait()
		p.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shut lets nothing more be spawned or adopted, and returns the connections that are left.
func (p *Pool) shut() []*Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var conns []*Conn
	for _, n := range p.roster.all() {
		n.mu.Lock()
		conns = slices.AppendSeq(conns, maps.Keys(n.conns))
		n.mu.Unlock()
	}
	return conns
}

// Go runs f in a goroutine that Close waits for, and is false if the pool is closed. So f must end
// soon when calls fail with ErrClosed.
func (p *Pool) Go(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.running.Go(f)
	return true
}

// Notify has a function called by a goroutine that Close waits for, after all that were given before: so it
// must return soon. Notify itself waits for nobody. A closed pool calls nothing more, and neither does one
// for which 1024 calls are due because a logger or a hook hangs.
func (p *Pool) Notify(call func()) { p.notices.Add(call) }

// adopt makes a connection of a stream, or closes it if the pool was closed meanwhile.
func (p *Pool) adopt(l *link, stream net.Conn) (*Conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		_ = stream.Close() // nothing was sent on it, and ErrClosed is what matters
		return nil, ErrClosed
	}
	defer p.mu.Unlock()
	n := l.node
	n.mu.Lock() // so that it cannot be buried before it is known
	defer n.mu.Unlock()
	conn := newConn(n.address, stream, &p.options, n, &p.running, l.lost, n.trouble)
	n.conns[conn] = struct{}{}
	return conn, nil
}
