package rpc

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// stubRoute moves the requests whose partition hashes it is told.
type stubRoute struct {
	mu    sync.Mutex
	moves map[uint64]bool
	news  chan struct{}
	asked int
}

func newStubRoute() *stubRoute {
	return &stubRoute{moves: map[uint64]bool{}, news: make(chan struct{})}
}

// Moved implements Route.
func (s *stubRoute) Moved(header *wire.Header, at string) (bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if at != address {
		panic("asked about the node at " + at)
	}
	return s.moves[header.PartitionHash], s.news
}

// move gives news, by which these hashes belong elsewhere.
func (s *stubRoute) move(hashes ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hash := range hashes {
		s.moves[hash] = true
	}
	close(s.news)
	s.news = make(chan struct{})
}

// startRouted makes n calls in the background, each after the one before. The hash of each is its number.
func (r *rig) startRouted(route Route, n int) []*background {
	calls := make([]*background, n)
	for i := range calls {
		g := newGet(fmt.Sprint("key ", i))
		g.Header.PartitionHash, g.Route = uint64(i), route
		calls[i] = r.startWith(g)
		synctest.Wait()
	}
	return calls
}

// undisturbed are options with which nothing ends a wait but what a test does.
var undisturbed = Options{Window: 1, SilenceLimit: time.Hour, ReadSilenceLimit: time.Hour}

// serveInOrder answers the next requests, which must be those of the calls.
func (p *peer) serveInOrder(calls ...*background) {
	p.t.Helper()
	for _, c := range calls {
		a := p.mustNext()
		require.Equal(p.t, string(c.key), a.key)
		p.write(a.answer())
		c.requireAnswered(p.t)
	}
}

// Those who wait leave as soon as their requests belong elsewhere, and nobody else: not who was sent, nor
// those who are still right, who are served in their order.
func TestAdmissionEndsWhenTheRequestHasMoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, route := newRig(t, undisturbed), newStubRoute()
		p := r.connect()
		calls := r.startRouted(route, 8)
		time.Sleep(time.Second)
		route.move(0, 1, 4, 5, 7)
		began := time.Now()
		for _, i := range []int{1, 4, 5, 7} {
			calls[i].requireFailed(t, StageAdmission, retry.NotSent, ErrMoved)
		}
		require.LessOrEqual(t, time.Since(began), r.pool.options.SweepInterval)
		synctest.Wait()
		require.Equal(t, 3, r.node.Stats().Waiting)
		p.serveInOrder(calls[0], calls[2], calls[3], calls[6])
		require.Zero(t, r.node.Stats().Waiting)
		require.Zero(t, r.node.Stats().Abandoned, "nothing of them was sent")
	})
}

// News by which nothing moves wake nobody and cost nobody its place. Without news, nobody asks.
func TestAdmissionIsNotDisturbedByOtherNews(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const waiting, rounds = 50, 20
		r, route := newRig(t, undisturbed), newStubRoute()
		p := r.connect()
		calls := r.startRouted(route, 1+waiting)
		asked := func() int {
			route.mu.Lock()
			defer route.mu.Unlock()
			return route.asked
		}
		require.Equal(t, waiting, asked(), "who need not wait does not ask")
		for range rounds {
			route.move(1000)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		require.Equal(t, waiting*(1+rounds), asked())
		require.Equal(t, waiting, r.node.Stats().Waiting)
		p.serveInOrder(calls...)
	})
}

// Who comes after the news does not begin to wait, and who has no route waits as ever.
func TestAdmissionOfWhoHasMovedBefore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, route := newRig(t, undisturbed), newStubRoute()
		p := r.connect()
		route.move(0, 1)
		calls := r.startRouted(route, 2)
		calls[1].requireFailed(t, StageAdmission, retry.NotSent, ErrMoved)
		require.Zero(t, calls[1].took)
		plain := r.start("plain")
		synctest.Wait()
		route.move()
		time.Sleep(time.Second)
		p.serveInOrder(calls[0], plain)
	})
}

// The news come at the moment in which the waiter is admitted, cancelled, or told of a connection's end:
// one of them counts, and places are neither lost nor given twice.
func TestStressMovedRequests(t *testing.T) {
	const callers, rounds = 16, 300
	r, route := newRig(t, Options{Window: 2, SweepInterval: time.Millisecond}), newStubRoute()
	serve(t, r.network, echo)
	require.NoError(t, r.node.Connect(t.Context())) // so that nobody waits for a dial
	done := make(chan struct{})
	var running, moving sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			for n := range rounds {
				g := newGet(fmt.Sprint("caller ", i, " call ", n))
				g.Header.PartitionHash, g.Route = uint64(n), route
				if err := r.node.Call(t.Context(), &g.Request); err == nil && !g.right() {
					t.Errorf("%s got %q", g.key, g.value)
				} else if err != nil {
					requireCallError(t, err, StageAdmission, retry.NotSent, ErrMoved)
				}
			}
		})
	}
	moving.Go(func() {
		for hash := uint64(0); ; hash++ {
			select {
			case <-done:
				return
			default:
				route.move(hash % rounds)
				time.Sleep(100 * time.Microsecond)
			}
		}
	})
	running.Wait()
	close(done)
	moving.Wait()
	conn := r.conn()
	conn.mu.Lock()
	defer conn.mu.Unlock()
	require.Zero(t, conn.admission.waiting)
	require.Zero(t, conn.admission.reserved)
	require.Zero(t, conn.pending.inFlight)
}

// Those who wait for a dial leave it as soon as their requests belong elsewhere, and others stay, however much
// other news comes. The dial goes on for them.
func TestDialIsNotWaitedForWhenTheRequestHasMoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, route := newRig(t, undisturbed), newStubRoute()
		serve(t, r.network, echo)
		r.network.SetLatency(address, 400*time.Millisecond)
		calls := r.startRouted(route, 4)
		for _, moved := range [][]uint64{{1000}, {1, 3}, {1001}} {
			time.Sleep(100 * time.Millisecond)
			route.move(moved...)
		}
		for _, i := range []int{1, 3} {
			calls[i].requireFailed(t, StageConnecting, retry.NotSent, ErrMoved)
			require.Equal(t, 200*time.Millisecond, calls[i].took)
		}
		for _, i := range []int{0, 2} {
			calls[i].requireAnswered(t)
		}
		require.Equal(t, 1, r.network.Dials(address))
	})
}
