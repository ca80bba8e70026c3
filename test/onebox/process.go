package onebox

import (
	"net"
	"sync"
	"time"
)

// acceptPause is the time a server waits after its listener reported a passing error.
const acceptPause = 5 * time.Millisecond

// process is one life of a server, from its start or restart until it is killed.
type process struct {
	node     *Node
	listener net.Listener
	dead     chan struct{} // closed by stop

	mu          sync.Mutex
	connections map[*connection]struct{} // nil once stopped
}

// startProcess starts serving on the listener. The caller holds Cluster.mu, and the cluster is not
// closed.
func startProcess(node *Node, listener net.Listener) *process {
	p := &process{
		node: node, listener: listener,
		dead: make(chan struct{}), connections: map[*connection]struct{}{},
	}
	node.cluster.working.Go(p.accept)
	return p
}

// stop ends the process: nobody connects or gets an answer any more. It is called once and does not
// wait for the goroutines.
func (p *process) stop() {
	close(p.dead)
	_ = p.listener.Close()
	p.mu.Lock()
	connections := p.connections
	p.connections = nil
	p.mu.Unlock()
	p.node.cluster.network.resetAll(p.node.address, connections)
}

func (p *process) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			if !p.pause(acceptPause) {
				return
			}
			continue
		}
		if !p.proceed() {
			reset(conn)
			return
		}
		p.serve(conn)
	}
}

// proceed waits while the process must not do anything; it returns false once the process is dead.
func (p *process) proceed() bool {
	return p.node.stalled.wait(p.dead) && !p.isDead()
}

func (p *process) isDead() bool {
	select {
	case <-p.dead:
		return true
	default:
		return false
	}
}

// pause waits; it returns false if the process dies meanwhile.
func (p *process) pause(delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.dead:
		return false
	}
}

// serve starts a connection. It runs on the goroutine of accept, so that Cluster.working cannot be
// zero.
func (p *process) serve(conn net.Conn) {
	k := newConnection(p, conn)
	p.mu.Lock()
	alive := p.connections != nil
	if alive {
		p.connections[k] = struct{}{}
	}
	p.mu.Unlock()
	if !alive {
		reset(conn)
		return
	}
	p.node.accepted.Inc()
	p.node.cluster.working.Go(k.serve)
}

func (p *process) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.connections)
}

func (p *process) forget(k *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.connections, k)
}
