package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
)

// witness knows which requests a server has seen, to convict clients that deny having sent them.
type witness struct {
	mu     sync.Mutex
	seen   map[string]bool
	denied []string // keys of calls that were reported as not sent
	ends   [4]int   // calls by how they ended: answered, then by outcome
}

func newWitness() *witness { return &witness{seen: make(map[string]bool)} }

// serve answers in random order, now and then not at all or late, and sooner or later it closes the
// connection or falls silent in the middle of a frame.
func (w *witness) serve(p *peer) {
	var held []asked
	for left := 1 + rand.IntN(2000); left > 0; left-- {
		a, ok := p.next()
		if !ok {
			return
		}
		w.mu.Lock()
		w.seen[a.key] = true
		w.mu.Unlock()
		held = append(held, a)
		for len(held) > 0 && (len(p.in) == 0 || len(held) > 8) {
			i := rand.IntN(len(held))
			if rand.IntN(100) > 0 {
				p.write(held[i].answer())
			}
			held[i] = held[len(held)-1]
			held = held[:len(held)-1]
		}
	}
	if len(held) > 0 {
		p.write(held[0].answer()[:10])
	}
}

// judge checks how a call ended: it has its own answer, or it has none and says what may have happened.
func (w *witness) judge(t *testing.T, g *get, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var failure *CallError
	switch {
	case err == nil && g.right():
		w.ends[0]++
	case err == nil:
		t.Errorf("%s got %q", g.key, g.value)
	case !errors.As(err, &failure):
		t.Errorf("%s failed with %v", g.key, err)
	default:
		w.ends[1+failure.Outcome]++
		if failure.Outcome == retry.NotSent {
			w.denied = append(w.denied, string(g.key))
		}
	}
}

// sum checks that no request was seen that is said not to have been sent. The servers have ended.
func (w *witness) sum(t *testing.T) {
	for _, key := range w.denied {
		require.False(t, w.seen[key], "%q was not sent, says the client, but it came", key)
	}
	t.Logf("%d answered, %d not sent, %d in doubt", w.ends[0], w.ends[1+retry.NotSent], w.ends[1+retry.InDoubt])
	require.NotZero(t, w.ends[0])
	require.NotZero(t, w.ends[1+retry.InDoubt])
}

// disturbed returns a request and a context of which one call in three is cancelled at about the time
// at which its answer comes, and one in three has a deadline for the sweep.
func disturbed(key string) (*get, context.Context, context.CancelFunc) {
	g := newGet(key)
	switch rand.IntN(3) {
	case 0:
		ctx, cancel := context.WithCancel(context.Background())
		timer := time.AfterFunc(rand.N(300*time.Microsecond), cancel)
		return g, ctx, func() { timer.Stop(); cancel() }
	case 1:
		g.Deadline = time.Now().Add(rand.N(3 * time.Millisecond))
	}
	return g, context.Background(), func() {}
}

// Cancellation, answer, sweep and the death of the connection compete for the same calls and the same
// few ids, with callers waiting for admission all the time.
func TestStressNode(t *testing.T) {
	calls := int64(100_000)
	if testing.Short() {
		calls = 10_000
	}
	r := newRig(t, Options{
		Window: 8, SweepInterval: time.Millisecond, SilenceLimit: 50 * time.Millisecond,
		BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
	})
	w := newWitness()
	s := serve(t, r.network, w.serve)
	var made atomic.Int64
	var running sync.WaitGroup
	for range 32 {
		running.Go(func() {
			for n := made.Inc(); n <= calls; n = made.Inc() {
				g, ctx, cancel := disturbed(fmt.Sprint("key ", n))
				err := r.node.Call(ctx, &g.Request)
				cancel()
				w.judge(t, g, err)
			}
		})
	}
	running.Wait()
	stats := r.node.Stats()
	require.Zero(t, stats.InFlight)
	require.Zero(t, stats.Waiting)
	if conn := r.conn(); conn != nil {
		require.Zero(t, conn.admission.reserved)
	}
	require.NotZero(t, stats.Abandoned)
	require.NotZero(t, stats.Late)
	require.Zero(t, stats.Unexpected)
	require.Greater(t, stats.Dials, uint64(2))
	r.close()
	s.stop()
	w.sum(t)
}

// The same on connections whose slots have few generations, so that ids repeat all the time and slots
// go out of service and come back, which on a real connection takes days. On every other connection
// lone callers write themselves.
func TestStressFewGenerations(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	w := newWitness()
	r := newRig(t, Options{})
	s := serve(t, r.network, w.serve)
	options := r.pool.options
	options.Window, options.SweepInterval, options.SilenceLimit = 8, time.Millisecond, 20*time.Millisecond
	r.node.patience.start(&options)
	wornOut := 0
	for round := range rounds {
		conn := r.connWithFewGenerations(&options, 3)
		if round%2 == 0 {
			setDirect(conn)
		}
		var running sync.WaitGroup
		for i := range 1 + rand.IntN(12) {
			running.Go(func() {
				for n := range 100 {
					g, ctx, cancel := disturbed(fmt.Sprint("round ", round, " caller ", i, " call ", n))
					err := conn.do(ctx, &g.Request)
					cancel()
					var unusable *errUnusable
					if errors.As(err, &unusable) {
						return
					}
					w.judge(t, g, err)
				}
			})
		}
		running.Wait()
		if conn.retired != nil {
			wornOut++
		}
		conn.die(ErrClosed)
	}
	require.NotZero(t, wornOut, "no connection used up its ids")
	r.close()
	s.stop()
	w.sum(t)
}

// connWithFewGenerations returns a connection outside of any node.
func (r *rig) connWithFewGenerations(options *Options, generationBits int) *Conn {
	stream, err := r.network.DialContext(r.t.Context(), "tcp", address)
	require.NoError(r.t, err)
	conn := newConn(address, stream, options, r.node, &r.pool.running, func(*Conn, error) {}, func(error) {})
	conn.mu.Lock()
	conn.pending = *tinyTable(options.Window, generationBits)
	conn.mu.Unlock()
	return conn
}
