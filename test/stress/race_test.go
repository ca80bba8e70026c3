package stress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
)

// lanes is how many races go on at a time, each with a server of its own.
const lanes = 4

// lane is a server and a client's node for it.
type lane struct {
	t       *testing.T
	network *memnet.Network
	address string
	node    *rpc.Node
	ends    *endings

	requests chan request // those that came and are for the test to answer
}

// request is one that came, and how to answer it.
type request struct {
	conn     net.Conn
	sequence int32
	key      string
}

func (r *request) answer() {
	_, _ = r.conn.Write(wire.AppendResponse(nil, wire.ErrOK, wire.Get, r.sequence, &wire.GetResponse{Value: []byte("value of " + r.key)}))
}

// endings counts how the calls ended.
type endings struct{ answered, cancelled, lost atomic.Int64 }

// serve accepts connections and hands every Get to the test.
func (l *lane) serve(listener net.Listener, serving *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		serving.Go(func() { l.read(conn) })
	}
}

func (l *lane) read(conn net.Conn) {
	defer conn.Close()
	var in []byte
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		in = append(in, buffer[:n]...)
		for {
			var came wire.Request
			size, err := wire.ParseRequest(in, &came)
			if err != nil {
				l.t.Error(err)
				return
			}
			if size == 0 {
				break
			}
			var key wire.Blob
			if string(came.Name) == wire.Get.Name() && wire.DecodeArguments(new(wire.Reader), came.Arguments, &key) == nil {
				l.requests <- request{conn, came.Sequence, string(key)}
			}
			in = in[size:]
		}
	}
}

// call is one call of a lane. Its result must be nobody's but the caller's once the call has returned:
// the race detector sees who writes it later.
type call struct {
	rpc.Request
	value []byte
}

// Decode implements wire.Result.
func (c *call) Decode(r *wire.Reader) {
	var response wire.GetResponse
	response.Decode(r)
	c.value = append(c.value[:0], response.Value...)
}

func (l *lane) call(ctx context.Context, key string) error {
	c := &call{}
	argument := wire.Blob(key)
	c.Request = rpc.Request{
		Method: wire.Get, Header: wire.Header{GPID: wire.GPID{AppID: 1}, TimeoutMillis: 1000},
		Arguments: &argument, Result: c,
	}
	err := l.node.Call(ctx, &c.Request)
	if err == nil && string(c.value) != "value of "+key {
		l.t.Errorf("%q got %q", key, c.value)
	}
	c.value = append(c.value[:0], "the caller's again"...)
	return err
}

// arrive calls until the request is on its way: a connection that died in the round before may not
// have been noticed yet, and then the node may not be dialled at once.
func (l *lane) arrive(ctx context.Context, key string) error {
	for {
		err := l.call(ctx, key)
		var failure *rpc.CallError
		if !errors.As(err, &failure) || failure.Outcome != retry.NotSent || ctx.Err() != nil {
			return err
		}
		var connect *rpc.ConnectError
		if errors.As(err, &connect) {
			time.Sleep(connect.RetryIn)
		}
	}
}

// round has those of answer, cancellation and death that the bits say happen at once.
func (l *lane) round(number int) {
	key := fmt.Sprint("round ", number)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- l.arrive(ctx, key) }()
	var came request
	select {
	case came = <-l.requests:
	case err := <-ended: // on the connection that died before
		l.judge(err)
		return
	}
	if came.key != key {
		l.t.Errorf("%q was sent instead of %q", came.key, key)
	}
	start := make(chan struct{})
	var racing sync.WaitGroup
	for bit, do := range []func(){came.answer, cancel, func() { l.network.Reset(l.address) }} {
		if which := 1 + number%7; which>>bit&1 != 0 {
			racing.Go(func() {
				<-start
				do()
			})
		}
	}
	close(start)
	racing.Wait()
	l.judge(<-ended)
}

func (l *lane) judge(err error) {
	var failure *rpc.CallError
	switch {
	case err == nil:
		l.ends.answered.Inc()
		return
	case !errors.As(err, &failure) || failure.Outcome != retry.InDoubt:
		l.t.Errorf("a request that came is not in doubt: %v", err)
	case errors.Is(err, context.Canceled):
		l.ends.cancelled.Inc()
	default:
		l.ends.lost.Inc()
	}
}

func TestThreeWayRace(t *testing.T) {
	before := measure()
	var racing sync.WaitGroup
	var ends endings
	var next atomic.Int64
	for i := range lanes {
		racing.Go(func() { race(t, fmt.Sprintf("10.0.0.%d:34801", i+1), &ends, &next) })
	}
	racing.Wait()
	t.Logf("%d answered, %d cancelled, %d lost", ends.answered.Load(), ends.cancelled.Load(), ends.lost.Load())
	for _, count := range []*atomic.Int64{&ends.answered, &ends.cancelled, &ends.lost} {
		require.Greater(t, count.Load(), int64(*roundCount/20), "one of the three never wins")
	}
	before.back(t)
}

// race runs rounds on a lane of its own until all are done.
func race(t *testing.T, address string, ends *endings, next *atomic.Int64) {
	network := memnet.New()
	listener, err := network.Listen(address)
	pool, poolErr := rpc.NewPool(rpc.Options{
		Dial: network.DialContext, Window: 4, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
	})
	if err != nil || poolErr != nil {
		t.Error(err, poolErr)
		return
	}
	l := &lane{t: t, network: network, address: address, node: pool.Node(address), ends: ends, requests: make(chan request)}
	var serving sync.WaitGroup
	serving.Go(func() { l.serve(listener, &serving) })
	for number := next.Inc(); number <= int64(*roundCount); number = next.Inc() {
		l.round(int(number))
	}
	if stats := l.node.Stats(); stats.InFlight != 0 || stats.Waiting != 0 || stats.Unexpected != 0 {
		t.Errorf("left over: %+v", stats)
	}
	if err := pool.Close(context.Background()); err != nil {
		t.Error(err)
	}
	_ = listener.Close()
	serving.Wait()
}
