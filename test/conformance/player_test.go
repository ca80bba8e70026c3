package conformance

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// patience is how long an answer that must come may take.
const patience = 20 * time.Second

// maxAnswer bounds the size of answers.
const maxAnswer = 64 << 20

// cluster is what recordings are played against.
type cluster interface {
	// createTable makes an empty table, whose name begins with the given one, and returns its number.
	createTable(t testing.TB, name string, partitions int) int32
	// reach waits until the clock of the servers shows the time of a recording, or sets it.
	reach(t testing.TB, recorded time.Time)
	// begin makes now the time of the first exchange. It returns by how many seconds the clock of the
	// servers is ahead of the recording.
	begin(recorded time.Time) (shift int32)
	// slack returns by how many seconds a remaining life may differ.
	slack() int32
	// address returns the server that is the given thing to a partition.
	address(t testing.TB, to role, gpid wire.GPID) string
	// dial connects to a server.
	dial(ctx context.Context, address string) (net.Conn, error)
	// requireSilence fails the test if the request just sent gets a reply.
	requireSilence(t testing.TB, e *exchange, conn net.Conn)
}

// player sends recorded requests to a cluster and checks the answers.
type player struct {
	cluster cluster
	translation
	connections map[string]net.Conn // by address
}

func newPlayer(t testing.TB, c cluster) *player {
	p := &player{
		cluster:     c,
		translation: translation{apps: map[int32]int32{}, contexts: map[int64]int64{}},
		connections: map[string]net.Conn{},
	}
	t.Cleanup(p.close)
	return p
}

func (p *player) close() {
	for address := range p.connections {
		p.hangUp(address)
	}
}

// run plays an exchange as a test of its own, so that those behind it are played even if it fails.
func (p *player) run(t *testing.T, e *exchange) {
	if !t.Run(e.Name, func(t *testing.T) { p.play(t, e) }) {
		p.close() // there may be a reply on its way that nobody waits for
	}
}

// play sends a recorded request, at its time, and checks what comes back.
func (p *player) play(t testing.TB, e *exchange) {
	t.Helper()
	p.cluster.reach(t, e.time())
	gpid := e.gpid()
	gpid.AppID = p.table(gpid.AppID)
	address := p.cluster.address(t, e.To, gpid)
	conn := p.connect(t, address)
	_, err := conn.Write(p.request(e))
	require.NoError(t, err, "%v", e)
	switch {
	case e.ClosedByServer:
		requireClosed(t, e, conn)
		p.hangUp(address)
	case len(e.Response) == 0:
		p.cluster.requireSilence(t, e, conn)
	default:
		frame, err := readFrame(conn)
		require.NoError(t, err, "%v", e)
		p.requireAnswer(t, e, frame, p.cluster.slack())
		p.learn(t, e, frame)
	}
}

// connect returns the connection to a server.
func (p *player) connect(t testing.TB, address string) net.Conn {
	t.Helper()
	conn := p.connections[address]
	if conn == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		var err error
		conn, err = p.cluster.dial(ctx, address)
		require.NoError(t, err)
		p.connections[address] = conn
	}
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// hangUp closes the connection to a server, so that the next request gets a new one.
func (p *player) hangUp(address string) {
	_ = p.connections[address].Close()
	delete(p.connections, address)
}

func requireClosed(t testing.TB, e *exchange, conn net.Conn) {
	t.Helper()
	got, err := io.ReadAll(conn)
	require.Empty(t, got, "%v: the server should hang up", e)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "%v: the server did not hang up", e)
}

// readFrame reads a whole response frame.
func readFrame(conn io.Reader) ([]byte, error) {
	prefix := make([]byte, wire.ResponseSizePrefix)
	if _, err := io.ReadFull(conn, prefix); err != nil {
		return nil, err
	}
	size, err := wire.ResponseSize(prefix, maxAnswer)
	if err != nil {
		return nil, err
	}
	frame := append(prefix, make([]byte, size-len(prefix))...)
	_, err = io.ReadFull(conn, frame[len(prefix):])
	return frame, err
}
