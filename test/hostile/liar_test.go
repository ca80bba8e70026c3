package hostile

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
)

// liar is a meta server that answers what it likes.
type liar struct {
	t        *testing.T
	listener net.Listener
	serving  sync.WaitGroup
	asked    atomic.Int64
	pours    []byte // sent on every connection, again and again
	// answer returns the frame to send for a request.
	answer atomic.Pointer[func(sequence int32) []byte]

	mu    sync.Mutex
	conns []net.Conn
}

func newLiar(t *testing.T, network *memnet.Network, address string) *liar {
	listener, err := network.Listen(address)
	require.NoError(t, err)
	l := &liar{t: t, listener: listener}
	l.serving.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

func (l *liar) close() {
	_ = l.listener.Close()
	l.hangUp()
	l.serving.Wait()
}

// hangUp closes all connections.
func (l *liar) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.conns = nil
}

func (l *liar) accept() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.conns = append(l.conns, conn)
		l.mu.Unlock()
		l.serving.Go(func() { l.serve(conn) })
		if l.pours != nil {
			l.serving.Go(func() { l.pour(conn) })
		}
	}
}

// pour sends without end.
func (l *liar) pour(conn net.Conn) {
	for {
		if _, err := conn.Write(l.pours); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (l *liar) serve(conn net.Conn) {
	defer conn.Close()
	var input []byte
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		input = append(input, buffer[:n]...)
		for {
			var request wire.Request
			size, err := wire.ParseRequest(input, &request)
			if err != nil {
				l.t.Errorf("the client sent nonsense: %v", err)
				return
			}
			if size == 0 {
				break
			}
			input = input[size:]
			if string(request.Name) != wire.QueryConfig.Name() {
				continue
			}
			l.asked.Inc()
			if _, err := conn.Write((*l.answer.Load())(request.Sequence)); err != nil {
				return
			}
		}
	}
}

// says has the liar answer with what the function returns each time.
func (l *liar) says(response func() *wire.QueryConfigResponse) {
	l.sends(func(sequence int32) []byte {
		return wire.AppendResponse(nil, wire.ErrOK, wire.QueryConfig, sequence, response())
	})
}

func (l *liar) sends(frame func(sequence int32) []byte) { l.answer.Store(&frame) }

// truth is the routing as it is. Its ballots count from 5, so that a liar has room below and above.
func (b *box) truth() *wire.QueryConfigResponse {
	response := &wire.QueryConfigResponse{Error: wire.ErrOK, AppID: b.appID, PartitionCount: 2, Stateful: true}
	for i := range 2 {
		response.Partitions = append(response.Partitions, wire.PartitionConfiguration{
			GPID:   wire.GPID{AppID: b.appID, PartitionIndex: int32(i)},
			Ballot: 5 + b.moves, Primary: netip.MustParseAddrPort(b.Primary(tableName, i).Address()),
		})
	}
	return response
}

// forward names a meta leader.
func forward(to string) *wire.QueryConfigResponse {
	return &wire.QueryConfigResponse{
		Error:      wire.ErrForwardToOthers,
		Partitions: []wire.PartitionConfiguration{{Primary: netip.MustParseAddrPort(to)}},
	}
}
