package rpc

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
)

// address is where the server of a test listens.
const address = "10.0.0.1:34801"

// patience bounds what must not hang; nothing that works comes near it.
const patience = time.Minute

// rig is a pool on a network in memory, and its only node. It is closed, and checked to end in time,
// when the test ends.
type rig struct {
	t       testing.TB
	network *memnet.Network
	pool    *Pool
	node    *Node
}

func newRig(t testing.TB, options Options) *rig {
	r := &rig{t: t, network: memnet.New()}
	if options.ReadSilenceLimit == 0 {
		options.ReadSilenceLimit = time.Hour // most tests are about the other limit
	}
	if options.Dial == nil {
		options.Dial = r.network.DialContext
	}
	pool, err := NewPool(options)
	require.NoError(t, err)
	r.pool, r.node = pool, pool.Node(address)
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(r.t, r.pool.Close(ctx))
	require.Zero(r.t, r.network.Open(address), "a connection was forgotten")
}

// conn returns the connection that the node has now.
func (r *rig) conn() *Conn { return r.node.links[0].conn.Load() }

// connect makes the node connect to a server of which the test plays the part.
func (r *rig) connect() *peer {
	r.t.Helper()
	s := listen(r.t, r.network)
	require.NoError(r.t, r.node.Connect(r.t.Context()))
	return s.accept()
}

// server is a listener whose connections are served by hand, with accept, or by a script.
type server struct {
	t        testing.TB
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	peers   []*peer
	stopped bool
}

func listen(t testing.TB, network *memnet.Network) *server {
	t.Helper()
	l, err := network.Listen(address)
	require.NoError(t, err)
	return serverOn(t, l)
}

func serverOn(t testing.TB, l net.Listener) *server {
	s := &server{t: t, listener: l}
	t.Cleanup(s.stop)
	return s
}

// serve runs the script for each connection, and closes the connection when the script returns.
func serve(t testing.TB, network *memnet.Network, script func(*peer)) *server {
	t.Helper()
	s := listen(t, network)
	s.run(script)
	return s
}

func (s *server) run(script func(*peer)) {
	s.running.Go(func() {
		for {
			p, err := s.take()
			if err != nil {
				return
			}
			s.running.Go(func() {
				defer p.close()
				script(p)
			})
		}
	})
}

// accept waits for the next connection. It is closed when the server stops, if not before.
func (s *server) accept() *peer {
	s.t.Helper()
	p, err := s.take()
	require.NoError(s.t, err)
	return p
}

func (s *server) take() (*peer, error) {
	conn, err := s.listener.Accept()
	if err != nil {
		return nil, err
	}
	p := &peer{t: s.t, conn: conn}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers = append(s.peers, p)
	if s.stopped {
		p.close()
	}
	return p, nil
}

// stop ends the server as a process ends: nothing listens, and all connections are closed.
func (s *server) stop() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.stopped = true
	for _, p := range s.peers {
		p.close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// peer is the server's end of one connection. One goroutine may read and another one write.
type peer struct {
	t      testing.TB
	conn   net.Conn
	in     []byte // received and not yet taken
	probes bool   // next returns requests for a sign of life, too
}

// asked is a request as it arrived.
type asked struct {
	method   *wire.Method
	sequence int32
	millis   int32
	gpid     wire.GPID
	key      string
}

// next waits for the next request. It is false when the connection has ended.
func (p *peer) next() (asked, bool) {
	for {
		var request wire.Request
		size, err := wire.ParseRequest(p.in, &request)
		if err != nil {
			p.t.Errorf("the client sent what is not a request: %v", err)
			return asked{}, false
		}
		if size > 0 {
			a := asked{
				method: wire.NewMethod(string(request.Name)), sequence: request.Sequence,
				millis: request.Header.TimeoutMillis, gpid: request.Header.GPID, key: keyOf(&request),
			}
			p.in = p.in[size:]
			if a.method.Name() == probe.Method.Name() && !p.probes {
				continue
			}
			return a, true
		}
		buffer := make([]byte, 64<<10)
		n, err := p.conn.Read(buffer)
		if n == 0 && err != nil {
			return asked{}, false
		}
		p.in = append(p.in, buffer[:n]...)
	}
}

// keyOf returns the argument of a Get, and "" for other requests.
func keyOf(request *wire.Request) string {
	var key wire.Blob
	if string(request.Name) == wire.Get.Name() {
		_ = wire.DecodeArguments(&wire.Reader{}, request.Arguments, &key) // a key that is wrong fails its test
	}
	return string(key)
}

// mustNext is next where the connection must not have ended. It is for the goroutine of the test.
func (p *peer) mustNext() asked {
	p.t.Helper()
	a, ok := p.next()
	require.True(p.t, ok, "the client closed the connection")
	return a
}

// write sends bytes; the client may have closed the connection meanwhile.
func (p *peer) write(frames ...[]byte) {
	for _, frame := range frames {
		if _, err := p.conn.Write(frame); err != nil {
			return
		}
	}
}

func (p *peer) close() { _ = p.conn.Close() }

// ended waits until the client has closed the connection, and throws away what it sent before.
func (p *peer) ended() {
	for p.in = nil; ; {
		if _, err := p.conn.Read(make([]byte, 64<<10)); err != nil {
			require.ErrorIs(p.t, err, io.EOF)
			return
		}
	}
}

// echo answers every request with the value of its key, in batches as they come.
func echo(p *peer) {
	var out []byte
	for {
		a, ok := p.next()
		if !ok {
			return
		}
		out = append(out, a.answer()...)
		if len(p.in) == 0 {
			p.write(out)
			out = out[:0]
		}
	}
}

// silence reads and never answers.
func silence(p *peer) {
	for ok := true; ok; {
		_, ok = p.next()
	}
}

// valueOf is the only right answer to a Get of key.
func valueOf(key string) string { return "value of " + key }

// answer is the right answer to the request, as a frame.
func (a asked) answer() []byte { return a.answerWith([]byte(valueOf(a.key))) }

func (a asked) answerWith(value []byte) []byte {
	return wire.AppendResponse(nil, wire.ErrOK, a.method, a.sequence, &wire.GetResponse{Value: value})
}

// refusal is a frame error without a result.
func (a asked) refusal(name wire.ErrorName) []byte {
	return wire.AppendResponse(nil, name, a.method, a.sequence, nil)
}

// get is a prepared request for one record, and room for the answer.
type get struct {
	Request
	key   wire.Blob
	value []byte
}

func newGet(key string) *get {
	g := &get{key: wire.Blob(key)}
	g.Request = Request{
		Method: wire.Get, Header: wire.Header{GPID: wire.GPID{AppID: 1}, TimeoutMillis: 1000},
		Arguments: &g.key, Result: g,
	}
	return g
}

// Decode implements wire.Result.
func (g *get) Decode(r *wire.Reader) {
	var response wire.GetResponse
	response.Decode(r)
	g.value = append(g.value[:0], response.Value...)
}

// right says whether the answer is the one for the key.
func (g *get) right() bool { return string(g.value) == valueOf(string(g.key)) }

// call makes one call and checks its answer.
func (r *rig) call(key string) {
	r.t.Helper()
	g := newGet(key)
	require.NoError(r.t, r.node.Call(r.t.Context(), &g.Request))
	require.Equal(r.t, valueOf(key), string(g.value))
}

// background is a call in a goroutine of its own.
type background struct {
	*get
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	took   time.Duration
}

// start makes a call in the background, with a context that can be cancelled.
func (r *rig) start(key string) *background {
	return r.startWith(newGet(key))
}

func (r *rig) startWith(g *get) *background {
	ctx, cancel := context.WithCancel(r.t.Context())
	b := &background{get: g, cancel: cancel, done: make(chan struct{})}
	began := time.Now()
	go func() {
		defer cancel()
		defer close(b.done)
		b.err = r.node.Call(ctx, &b.Request)
		b.took = time.Since(began)
	}()
	return b
}

// ended says whether the call has returned.
func (b *background) ended() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// result waits for the end of the call.
func (b *background) result() error {
	<-b.done
	return b.err
}

// requireAnswered checks that the call got its own answer.
func (b *background) requireAnswered(t testing.TB) {
	t.Helper()
	require.NoError(t, b.result())
	require.Equal(t, valueOf(string(b.key)), string(b.value))
}

// requireFailed checks that the call got no answer, how far it had come and why it ended.
func (b *background) requireFailed(t testing.TB, stage Stage, outcome retry.Outcome, cause error) *CallError {
	t.Helper()
	return requireCallError(t, b.result(), stage, outcome, cause)
}

func requireCallError(t testing.TB, err error, stage Stage, outcome retry.Outcome, cause error) *CallError {
	t.Helper()
	var failure *CallError
	require.ErrorAs(t, err, &failure)
	require.Equal(t, address, failure.Address)
	require.Equal(t, stage.String(), failure.Stage.String())
	require.Equal(t, outcome.String(), failure.Outcome.String())
	require.ErrorIs(t, err, cause)
	return failure
}

// large is a key of n bytes that starts with name, for requests that fill buffers.
func large(name string, n int) string { return name + strings.Repeat(".", n-len(name)) }

// bubble runs a test in virtual time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}
