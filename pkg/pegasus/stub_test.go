package pegasus_test

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
)

// stubGPID is the only partition of a stub's only table.
var stubGPID = wire.GPID{AppID: 7}

// answerFunc is what a stub answers to a request for data: an error and a result, or only one of them,
// or, with neither, nothing. It is called by one goroutine per connection, and the request is good
// until it returns.
type answerFunc func(request *wire.Request) (wire.ErrorName, wire.Arguments)

// stub is a server that plays the only meta server and the only replica server at once, for answers
// that no sound server gives.
type stub struct {
	t        testing.TB
	listener net.Listener
	routing  wire.QueryConfigResponse
	answer   answerFunc
	serving  sync.WaitGroup
	client   *pegasus.Client
	table    *pegasus.Table

	mu    sync.Mutex
	conns []net.Conn
}

func newStub(t testing.TB, listener net.Listener, answer answerFunc) *stub {
	s := &stub{t: t, listener: listener, answer: answer}
	s.routing = wire.QueryConfigResponse{
		Error: wire.ErrOK, AppID: stubGPID.AppID, PartitionCount: 1, Stateful: true,
		Partitions: []wire.PartitionConfiguration{{
			GPID: stubGPID, Ballot: 1, Primary: netip.MustParseAddrPort(listener.Addr().String()),
		}},
	}
	s.serving.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *stub) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

func (s *stub) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		s.serving.Go(func() { s.serve(conn) })
	}
}

// serve allocates nothing per request once its buffers have grown.
func (s *stub) serve(conn net.Conn) {
	input, output := make([]byte, 0, 1<<21), make([]byte, 0, 1<<16)
	var request wire.Request
	for {
		n, err := conn.Read(input[len(input):cap(input)])
		if err != nil {
			return
		}
		input = input[:len(input)+n]
		for {
			size, err := wire.ParseRequest(input, &request)
			if err != nil {
				s.t.Errorf("the client sent nonsense: %v", err)
				return
			}
			if size == 0 {
				break
			}
			output = s.reply(output, &request)
			input = slices.Delete(input, 0, size)
		}
		if _, err := conn.Write(output); err != nil {
			return
		}
		output = output[:0]
	}
}

func (s *stub) reply(output []byte, request *wire.Request) []byte {
	method := methodOf(request.Name)
	if method == wire.QueryConfig {
		return wire.AppendResponse(output, wire.ErrOK, method, request.Sequence, &s.routing)
	}
	name, result := s.answer(request)
	if name == "" && result == nil {
		return output
	}
	if name == "" {
		name = wire.ErrOK
	}
	return wire.AppendResponse(output, name, method, request.Sequence, result)
}

var methods = []*wire.Method{
	wire.QueryConfig, wire.Get, wire.TTL, wire.Put, wire.Remove, wire.MultiGet, wire.BatchGet, wire.SortKeyCount,
	wire.MultiPut, wire.MultiRemove, wire.Incr, wire.CheckAndSet, wire.CheckAndMutate,
	wire.GetScanner, wire.Scan, wire.ClearScanner,
}

// methodOf returns the method of that name, which must be one that clients use.
func methodOf(name []byte) *wire.Method {
	for _, method := range methods {
		if method.Name() == string(name) {
			return method
		}
	}
	return nil
}

// connections returns how many were ever accepted.
func (s *stub) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// open gives the stub a client.
func (s *stub) open(options ...pegasus.Option) {
	s.t.Helper()
	s.client = openClient(s.t, []string{s.listener.Addr().String()}, options...)
	var err error
	s.table, err = s.client.OpenTable(s.t.Context(), tableName)
	require.NoError(s.t, err)
}

// withStub runs a test in virtual time against a stub.
func withStub(t *testing.T, answer answerFunc, test func(t *testing.T, s *stub), options ...pegasus.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		year2030()
		test(t, openStub(t, answer, options...))
	})
}

// openStub returns a stub on a network in memory, and its client.
func openStub(t *testing.T, answer answerFunc, options ...pegasus.Option) *stub {
	t.Helper()
	network := memnet.New()
	listener, err := network.Listen("10.0.0.9:34601")
	require.NoError(t, err)
	s := newStub(t, listener, answer)
	s.open(append(options, pegasus.WithDialer(network.DialContext))...)
	return s
}

// arguments decodes the arguments of a request.
func arguments(t testing.TB, request *wire.Request, into wire.Result) {
	var reader wire.Reader
	if err := wire.DecodeArguments(&reader, request.Arguments, into); err != nil {
		t.Errorf("the arguments cannot be decoded: %v", err)
	}
}
