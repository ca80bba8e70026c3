package conformance

import (
	"encoding/binary"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// front is a meta server before a fake cluster, which does what that does not: it creates and drops tables.
type front struct {
	created, dropped atomic.Int64 // tables; first, for their alignment on 32-bit machines

	fake     *fake
	listener net.Listener
	leader   string // where it forwards to; empty: it is the leader
	working  sync.WaitGroup
}

func newFront(t testing.TB, f *fake, leader string) *front {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	m := &front{fake: f, listener: listener, leader: leader}
	m.working.Go(m.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		m.working.Wait()
	})
	return m
}

func (m *front) address() string { return m.listener.Addr().String() }

func (m *front) accept() {
	for {
		conn, err := m.listener.Accept()
		if err != nil {
			return
		}
		m.working.Go(func() {
			defer conn.Close()
			m.serve(conn)
		})
	}
}

// serve answers the requests of a connection.
func (m *front) serve(conn net.Conn) {
	var input []byte
	buffer := make([]byte, 4096)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		input = append(input, buffer[:n]...)
		var request wire.Request
		size, err := wire.ParseRequest(input, &request)
		if err != nil {
			return
		}
		if size == 0 {
			continue
		}
		if _, err := conn.Write(m.answer(&request, input[:size])); err != nil {
			return
		}
		input = input[size:]
	}
}

func (m *front) answer(request *wire.Request, frame []byte) []byte {
	method := wire.NewMethod(string(request.Name))
	if m.leader != "" {
		forward := &wire.QueryConfigResponse{Error: wire.ErrForwardToOthers}
		if string(request.Name) == wire.QueryConfig.Name() {
			forward.Partitions = []wire.PartitionConfiguration{{Primary: netip.MustParseAddrPort(m.leader)}}
		}
		return wire.AppendResponse(nil, wire.ErrOK, method, request.Sequence, forward)
	}
	switch string(request.Name) {
	case createApp.Name():
		return wire.AppendResponse(nil, wire.ErrOK, method, request.Sequence, m.create(request.Arguments))
	case dropApp.Name():
		return wire.AppendResponse(nil, wire.ErrOK, method, request.Sequence, m.drop(request.Arguments))
	}
	return m.pass(frame)
}

// Where the arguments have the name of the table, and after it the two numbers of options.
const (
	nameOffset       = 3 + 3
	partitionsOffset = 3 + 3
	replicasOffset   = partitionsOffset + 4 + 3
)

func (m *front) create(arguments []byte) *adminResponse {
	name, rest := readName(arguments)
	appID, err := m.fake.CreateTable(name, onebox.TableOptions{
		Partitions: int(binary.BigEndian.Uint32(rest[partitionsOffset:])),
		Replicas:   int(binary.BigEndian.Uint32(rest[replicasOffset:])),
	})
	if err != nil {
		return &adminResponse{Error: wire.ErrAppExist}
	}
	m.created.Inc()
	return &adminResponse{Error: wire.ErrOK, AppID: appID}
}

func (m *front) drop(arguments []byte) *adminResponse {
	name, _ := readName(arguments)
	if err := m.fake.DropTable(name); err != nil {
		return &adminResponse{Error: wire.ErrAppNotExist}
	}
	m.dropped.Inc()
	return &adminResponse{Error: wire.ErrOK}
}

func readName(arguments []byte) (name string, rest []byte) {
	length := int(binary.BigEndian.Uint32(arguments[nameOffset:]))
	rest = arguments[nameOffset+4:]
	return string(rest[:length]), rest[length:]
}

// pass lets the leader of the fake cluster answer; without an answer it returns nothing.
func (m *front) pass(frame []byte) []byte {
	conn, err := net.Dial("tcp", m.fake.Leader().Address())
	if err != nil {
		return nil
	}
	defer conn.Close()
	if _, err := conn.Write(frame); err != nil {
		return nil
	}
	answer, err := readFrame(conn)
	if err != nil {
		return nil
	}
	return answer
}

// TestScriptsLive takes the way to a live cluster, with a fake one at its end. Its clock is years ahead of the
// recordings, and jumps where that of a live cluster would have to be waited for.
func TestScriptsLive(t *testing.T) {
	for _, topic := range slices.Sorted(maps.Keys(recorded(t)[scripts])) {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, onebox.Config{})
			f.clock.Store(time.Date(2031, time.May, 1, 12, 0, 0, 700e6, time.UTC))
			leader := newFront(t, f, "")
			follower := newFront(t, f, leader.address())
			l := newLiveAt(t, []string{follower.address()}, 3, clock{
				now:   f.clock.Load,
				sleep: func(d time.Duration) { f.clock.Store(f.clock.Load().Add(d)) },
			})
			l.silent = f.requireSilence
			t.Run("script", func(t *testing.T) { playScript(t, l, topic, liveSkips) })
			require.Positive(t, leader.created.Load())
			require.Equal(t, leader.created.Load(), leader.dropped.Load(), "every table is dropped at the end")
		})
	}
}
