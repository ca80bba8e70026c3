package stress

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
)

const (
	// lanes is how many connections are raced for at a time.
	lanes = 4
	// batch is how many calls one death races with. The answers to two batches fit into a connection.
	batch = 256
	// raceAddress is where the server of each lane listens, on a network of its own.
	raceAddress = "10.0.0.1:34801"
)

// end is how a call ended: which of the three came first.
type end int

const (
	answered end = iota
	cancelled
	lost
	wrong // in no way in which it may
	ends
)

// deaths are ways for a connection to die. They differ in who takes the calls from those who would answer
// or cancel them.
var deaths = []struct {
	foundBy string
	kill    func(*trial)
}{
	{"the reader", func(r *trial) { r.network.Reset(raceAddress) }},
	{"the writer", func(r *trial) { // or the reader: they race as well
		r.network.Reset(raceAddress)
		_ = r.node.Send(&rpc.Request{Method: wire.ClearScanner, Arguments: wire.Int64(1)}) // it may be too late
	}},
	{"Close", func(r *trial) { r.closing.Go(r.close) }},
}

// tally counts, over all lanes.
type tally struct {
	calls atomic.Int64 // each has its number for a key
	races atomic.Int64

	mu      sync.Mutex
	winners [][ends]int64 // of races, by death
}

// TestThreeWayRace has answer, cancellation and death of the connection compete for calls.
func TestThreeWayRace(t *testing.T) {
	before := measure()
	all := tally{winners: make([][ends]int64, len(deaths))}
	var racing sync.WaitGroup
	for range lanes {
		racing.Go(func() { runLane(t, &all) })
	}
	racing.Wait()
	t.Logf("%d races of %d calls", all.races.Load(), all.calls.Load())
	for i, won := range all.winners {
		t.Logf("death found by %s: %d answered, %d cancelled, %d lost", deaths[i].foundBy, won[answered], won[cancelled], won[lost])
		for _, count := range won[:wrong] {
			require.Positive(t, count, "one of the three never wins, so it was no race")
		}
	}
	require.GreaterOrEqual(t, all.races.Load(), int64(*raceCount), "too few of the calls were raced for")
	before.back(t)
}

// enough says whether there have been enough races, and each of the three has won some; or so many calls that it never
// will.
func (a *tally) enough() bool {
	if a.calls.Load() > 20*(int64(*raceCount)+64*batch) {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, won := range a.winners {
		if won[answered] == 0 || won[cancelled] == 0 || won[lost] == 0 {
			return false
		}
	}
	return a.races.Load() >= int64(*raceCount)
}

// runLane has one connection after the other die, until there have been enough races.
func runLane(t *testing.T, all *tally) {
	network := memnet.New()
	listener, err := network.Listen(raceAddress)
	if err != nil {
		t.Error(err)
		return
	}
	s := &racedServer{t: t, listener: listener, came: make(chan requests, 1)}
	s.serving.Go(s.accept)
	for number := 0; !all.enough() && !t.Failed(); number++ {
		death := number % len(deaths)
		newTrial(t, network, s, all).run(death)
	}
	_ = listener.Close()
	s.serving.Wait()
}

// trial is one connection, from its dial to its death.
type trial struct {
	t       *testing.T
	network *memnet.Network
	server  *racedServer
	pool    *rpc.Pool
	node    *rpc.Node
	all     *tally
	closing sync.WaitGroup
	ended   [ends]int64 // calls
}

func newTrial(t *testing.T, network *memnet.Network, server *racedServer, all *tally) *trial {
	pool, err := rpc.NewPool(rpc.Options{
		// Twice the batch leaves room for the request that finds out that the connection is dead.
		Dial: network.DialContext, Window: 2 * batch,
		// A machine that has much else to do must not be taken for a dead server.
		DialTimeout: patience, SilenceLimit: patience, ReadSilenceLimit: patience,
	})
	if err != nil {
		panic(err) // the options never change
	}
	return &trial{t: t, network: network, server: server, pool: pool, node: pool.Node(raceAddress), all: all}
}

// run makes two batches of calls. The first ends by answers and cancellations, so that answers come late
// and the second one gets the slots of the first; it ends by the death as well.
func (r *trial) run(death int) {
	if rand.IntN(4) == 0 {
		r.wave(nil)
	}
	won := r.wave(func() { deaths[death].kill(r) })
	r.closing.Wait()
	r.close()
	r.check()
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	for how, count := range won {
		r.all.winners[death][how] += count
		r.all.races.Add(count)
	}
}

// close returns when no goroutine of the client is left.
func (r *trial) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.pool.Close(ctx); err != nil {
		r.t.Errorf("goroutines are left: %v", err)
	}
}

// check compares what the node has counted with what its callers were told.
func (r *trial) check() {
	stats := r.node.Stats()
	if stats.InFlight != 0 || stats.Waiting != 0 || stats.Connections != 0 || r.network.Open(raceAddress) != 0 {
		r.t.Errorf("something is left: %+v", stats)
	}
	if stats.Dials != 1 || stats.Unexpected != 0 || stats.Abandoned != uint64(r.ended[cancelled]) ||
		stats.Received != uint64(r.ended[answered])+stats.Late {
		r.t.Errorf("%d calls answered, %d cancelled, %d lost; the node says: %+v",
			r.ended[answered], r.ended[cancelled], r.ended[lost], stats)
	}
}

// wave makes a batch of calls. When all requests have come and all answers are on their way, these arrive, the
// calls are cancelled and the connection dies, unless death is nil, at the same time. It returns how the
// races ended: they are the calls that were not over yet when the last of the three was set off.
func (r *trial) wave(death func()) (won [ends]int64) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var setOff atomic.Int32
	var calling sync.WaitGroup
	calls := make([]racedCall, batch)
	for i := range calls {
		calling.Go(func() { calls[i].do(ctx, r, &setOff) })
	}
	select {
	case came := <-r.server.came:
		r.network.Blackhole(raceAddress, true)
		r.network.SetChunk(raceAddress, 1+rand.IntN(len(came.answers)))
		_, _ = came.conn.Write(came.answers)
		atOnce(&setOff, func() { r.network.Blackhole(raceAddress, false) }, cancel, death)
	case <-ctx.Done():
		r.t.Error("the requests do not arrive")
	}
	calling.Wait()
	r.network.SetChunk(raceAddress, 0)
	for i := range calls {
		r.ended[calls[i].end]++
		if calls[i].raced {
			won[calls[i].end]++
		}
	}
	return won
}

// atOnce does all that is not nil, one right after the other in any order, and counts. What is set off thereby goes on
// in other goroutines: the reader's, the callers', and those that take the connection down. Some of the time they are
// given a lead.
func atOnce(setOff *atomic.Int32, actions ...func()) {
	rand.Shuffle(len(actions), func(i, j int) { actions[i], actions[j] = actions[j], actions[i] })
	for _, do := range actions {
		if do != nil {
			setOff.Inc()
			do()
			if rand.IntN(3) == 0 {
				runtime.Gosched()
			}
		}
	}
}

// racedCall is one call. The value must be nobody's but the caller's once the call has returned: the race
// detector sees who writes it later.
type racedCall struct {
	rpc.Request
	key   wire.Blob
	value []byte
	end   end
	raced bool
}

// Decode implements wire.Result.
func (c *racedCall) Decode(r *wire.Reader) {
	var response wire.GetResponse
	response.Decode(r)
	c.value = append(c.value[:0], response.Value...)
}

func (c *racedCall) do(ctx context.Context, r *trial, setOff *atomic.Int32) {
	c.key = binary.BigEndian.AppendUint64(nil, uint64(r.all.calls.Inc()))
	c.Request = rpc.Request{
		Method: wire.Get, Header: wire.Header{GPID: wire.GPID{AppID: 1}, TimeoutMillis: 1000},
		Arguments: &c.key, Result: c,
	}
	err := r.node.Call(ctx, &c.Request)
	c.raced = setOff.Load() == 3
	c.end = c.judge(err)
	if c.end == wrong {
		r.t.Errorf("%x got %x and %v", c.key, c.value, err)
	}
	c.value = append(c.value[:0], "the caller's again"...)
}

// judge says how the call ended. Whatever it was, the request had come, so an error must not claim that it
// had not.
func (c *racedCall) judge(err error) end {
	var failure *rpc.CallError
	switch {
	case err == nil && bytes.Equal(c.value, c.key):
		return answered
	case !errors.As(err, &failure) || failure.Outcome != retry.InDoubt || failure.Stage != rpc.StageAwaiting:
		return wrong
	case errors.Is(err, context.Canceled):
		return cancelled
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, rpc.ErrClosed):
		return lost
	}
	return wrong
}

// racedServer is the server of a lane. It hands over requests a batch at a time.
type racedServer struct {
	t        *testing.T
	listener net.Listener
	serving  sync.WaitGroup
	came     chan requests
}

// requests are a batch of requests that came on a connection, and the answers to them, one frame each. The
// value of a key is the key.
type requests struct {
	conn    net.Conn
	answers []byte
	count   int
}

func (s *racedServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.serving.Go(func() { s.read(conn) })
	}
}

func (s *racedServer) read(conn net.Conn) {
	defer conn.Close()
	var in []byte
	now := requests{conn: conn}
	buffer := make([]byte, memnet.BufferSize)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		for in = append(in, buffer[:n]...); ; {
			var came wire.Request
			size, err := wire.ParseRequest(in, &came)
			if err != nil {
				s.t.Error(err)
				return
			}
			if size == 0 {
				break
			}
			in = in[size:]
			now.add(&came)
			if now.count == batch {
				s.came <- now
				now = requests{conn: conn}
			}
		}
	}
}

func (q *requests) add(came *wire.Request) {
	var key wire.Blob
	if string(came.Name) != wire.Get.Name() || wire.DecodeArguments(new(wire.Reader), came.Arguments, &key) != nil {
		return // it finds out that the connection is dead, or it will be missed
	}
	q.answers = wire.AppendResponse(q.answers, wire.ErrOK, wire.Get, came.Sequence, &wire.GetResponse{Value: key})
	q.count++
}
