package onebox_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// client is a connection with the least on top of it that a test can use.
type client struct {
	t       testing.TB
	conn    net.Conn
	version int
	seq     int32
}

// answer is a reply with its result decoded into what the caller expected.
type answer struct {
	Error     wire.ErrorName
	Name      string
	Sequence  int32
	HasResult bool
}

func dial(t testing.TB, cluster *onebox.Cluster, node *onebox.Node) *client {
	t.Helper()
	conn, err := cluster.DialContext(context.Background(), "tcp", node.Address())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &client{t: t, conn: conn, version: 1}
}

func (c *client) send(header wire.Header, method *wire.Method, in wire.Arguments) int32 {
	c.t.Helper()
	c.seq++
	if header.TimeoutMillis == 0 {
		header.TimeoutMillis = 1000
	}
	encode := wire.AppendRequestV1
	if c.version == 0 {
		encode = wire.AppendRequestV0
	}
	c.write(encode(nil, &header, method, c.seq, in))
	return c.seq
}

func (c *client) write(data []byte) {
	c.t.Helper()
	_, err := c.conn.Write(data)
	require.NoError(c.t, err)
}

// receive reads one reply. result may be nil.
func (c *client) receive(result wire.Result) (answer, error) {
	frame, err := c.receiveFrame()
	if err != nil {
		return answer{}, err
	}
	var response wire.Response
	if err := wire.ParseResponse(frame, &response); err != nil {
		return answer{}, err
	}
	got := answer{
		Error: response.Error, Name: string(response.Name),
		Sequence: response.Sequence, HasResult: len(response.Result) > 0,
	}
	if result != nil && got.HasResult {
		var r wire.Reader
		err = wire.DecodeResult(&r, response.Result, result)
	}
	return got, err
}

func (c *client) receiveFrame() ([]byte, error) {
	prefix := make([]byte, wire.ResponseSizePrefix)
	if _, err := io.ReadFull(c.conn, prefix); err != nil {
		return nil, err
	}
	size, err := wire.ResponseSize(prefix, 64<<20)
	if err != nil {
		return nil, err
	}
	frame := append(prefix, make([]byte, size-len(prefix))...)
	_, err = io.ReadFull(c.conn, frame[len(prefix):])
	return frame, err
}

// call sends a request and returns the reply to it.
func (c *client) call(header wire.Header, method *wire.Method, in wire.Arguments, result wire.Result) answer {
	c.t.Helper()
	seq := c.send(header, method, in)
	got, err := c.receive(result)
	require.NoError(c.t, err)
	require.Equal(c.t, seq, got.Sequence)
	require.Equal(c.t, method.ReplyName(), got.Name)
	return got
}

// silence asserts that the server says nothing and does not close the connection, for long enough that
// a reply would have come.
func (c *client) silence() {
	c.t.Helper()
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	n, err := c.conn.Read(make([]byte, 1))
	require.Zero(c.t, n)
	var timeout net.Error
	require.True(c.t, errors.As(err, &timeout) && timeout.Timeout(), "%v", err)
	require.NoError(c.t, c.conn.SetReadDeadline(time.Time{}))
}

// ends asserts that the server sends exactly the given bytes, then ends the connection.
func (c *client) ends(want []byte) {
	c.t.Helper()
	got, _ := io.ReadAll(c.conn) // may end with a reset
	require.Equal(c.t, want, append([]byte{}, got...))
}

func rawKey(hashKey, sortKey string) []byte {
	raw, err := wire.AppendKey(nil, []byte(hashKey), []byte(sortKey))
	if err != nil {
		panic(err)
	}
	return raw
}

// headerOf returns the header of a request about a key in a table with so many partitions.
func headerOf(appID int32, partitions int, raw []byte) wire.Header {
	hashKey, sortKey, err := wire.SplitKey(raw)
	if err != nil {
		panic(err)
	}
	hash := wire.KeyHash(hashKey, sortKey)
	return wire.Header{
		GPID:          wire.GPID{AppID: appID, PartitionIndex: int32(hash % uint64(partitions))},
		PartitionHash: hash,
	}
}

// box is a cluster with one table, "temp", and a way to its records.
type box struct {
	*onebox.Cluster
	t          testing.TB
	appID      int32
	partitions int
}

const tableName = "temp"

func newBox(t testing.TB, config onebox.Config, options onebox.TableOptions) *box {
	t.Helper()
	return boxOf(t, onebox.New(t, config), options)
}

// newRudeBox returns a box whose clients may break the protocol.
func newRudeBox(t testing.TB, config onebox.Config, options onebox.TableOptions) *box {
	t.Helper()
	cluster, err := onebox.Start(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Close()) })
	return boxOf(t, cluster, options)
}

func boxOf(t testing.TB, cluster *onebox.Cluster, options onebox.TableOptions) *box {
	t.Helper()
	appID, err := cluster.CreateTable(tableName, options)
	require.NoError(t, err)
	return &box{Cluster: cluster, t: t, appID: appID, partitions: cluster.PartitionCount(tableName)}
}

func (b *box) header(raw []byte) wire.Header { return headerOf(b.appID, b.partitions, raw) }

func (b *box) index(raw []byte) int { return int(b.header(raw).GPID.PartitionIndex) }

// primary returns a connection to the primary of a key.
func (b *box) primary(raw []byte) *client {
	b.t.Helper()
	return dial(b.t, b.Cluster, b.Primary(tableName, b.index(raw)))
}

func (b *box) put(c *client, raw []byte, value string) (answer, wire.UpdateResponse) {
	b.t.Helper()
	var result wire.UpdateResponse
	got := c.call(b.header(raw), wire.Put, &wire.PutRequest{Key: raw, Value: []byte(value)}, &result)
	return got, result
}

func (b *box) get(c *client, raw []byte) (answer, wire.GetResponse) {
	b.t.Helper()
	var result wire.GetResponse
	got := c.call(b.header(raw), wire.Get, wire.Blob(raw), &result)
	return got, result
}

// query asks a meta server for the routing of the table.
func (b *box) query(node *onebox.Node) wire.QueryConfigResponse {
	b.t.Helper()
	c := dial(b.t, b.Cluster, node)
	defer c.conn.Close()
	var result wire.QueryConfigResponse
	got := c.call(wire.Header{}, wire.QueryConfig, &wire.QueryConfigRequest{Table: tableName}, &result)
	require.Equal(b.t, wire.ErrOK, got.Error)
	return result
}

// inBubble runs a test in virtual time, on a cluster in memory.
func inBubble(t *testing.T, test func(t *testing.T, network *memnet.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, memnet.New()) })
}

// onBothNetworks runs a test on TCP, and in virtual time in memory.
func onBothNetworks(t *testing.T, test func(t *testing.T, config onebox.Config)) {
	t.Helper()
	t.Run("tcp", func(t *testing.T) { test(t, onebox.Config{}) })
	t.Run("memory", func(t *testing.T) {
		inBubble(t, func(t *testing.T, network *memnet.Network) { test(t, onebox.Config{Network: network}) })
	})
}

// pass lets time pass in a bubble, and then everything happen that was due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// nameOf returns the name of a server, "none" for nil.
func nameOf(node *onebox.Node) string {
	if node == nil {
		return "none"
	}
	return node.Name()
}

// within waits until the condition holds.
func within(t testing.TB, condition func() bool, message string) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, time.Millisecond, message)
}

// frame returns the reply frame for an error without a result.
func frame(name wire.ErrorName, method *wire.Method, seq int32) []byte {
	return wire.AppendResponse(nil, name, method, seq, nil)
}
