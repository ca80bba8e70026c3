package onebox_test

import (
	"context"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

func TestKillResetsAndRefuses(t *testing.T) {
	onBothNetworks(t, func(t *testing.T, config onebox.Config) {
		b := newBox(t, config, onebox.TableOptions{})
		key := rawKey("a", "b")
		node := b.Primary(tableName, b.index(key))
		c := b.primary(key)
		b.put(c, key, "kept on disk")
		require.Equal(t, 1, node.Connections())
		require.True(t, node.IsAlive())

		node.Kill()
		node.Kill() // killing the dead does nothing
		require.False(t, node.IsAlive())
		require.Zero(t, node.Connections())
		_, err := c.conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = b.DialContext(t.Context(), "tcp", node.Address())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)

		address := node.Address()
		node.Restart()
		node.Restart() // restarting the living does nothing
		require.True(t, node.IsAlive())
		require.Equal(t, address, node.Address())
		_, got := b.get(dial(t, b.Cluster, node), key)
		require.Equal(t, "kept on disk", string(got.Value))
		require.Equal(t, 2, node.Accepted())
	})
}

func TestPauseStopsTheProcess(t *testing.T) {
	onBothNetworks(t, func(t *testing.T, config onebox.Config) {
		config.FailoverDelay = time.Hour
		b := newBox(t, config, onebox.TableOptions{})
		key := rawKey("a", "b")
		node := b.Primary(tableName, b.index(key))
		c := b.primary(key)
		b.get(c, key)
		accepted, requests := node.Accepted(), node.Requests(wire.Get)

		node.Pause()
		require.True(t, node.IsAlive())
		seq := c.send(b.header(key), wire.Get, wire.Blob(key))
		late := dial(t, b.Cluster, node) // the operating system answers for the process
		late.send(b.header(key), wire.Get, wire.Blob(key))
		c.silence()
		late.silence()
		require.Equal(t, requests, node.Requests(wire.Get))
		require.Equal(t, accepted, node.Accepted())

		node.Resume()
		got, err := c.receive(nil)
		require.NoError(t, err)
		require.Equal(t, seq, got.Sequence)
		_, err = late.receive(nil)
		require.NoError(t, err)
	})
}

func TestKilledWhilePausedServesNothing(t *testing.T) {
	onBothNetworks(t, func(t *testing.T, config onebox.Config) {
		b := newBox(t, config, onebox.TableOptions{})
		key := rawKey("a", "b")
		node := b.Primary(tableName, b.index(key))
		c := b.primary(key)
		b.get(c, key)
		node.Pause()
		c.send(b.header(key), wire.Put, &wire.PutRequest{Key: key})
		node.Kill()
		node.Resume()
		require.False(t, node.IsAlive())
		_, err := io.ReadAll(c.conn)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		_, ok := b.Peek(tableName, []byte("a"), []byte("b"))
		require.False(t, ok, "the put arrived at a stopped process and died with it")
	})
}

func TestBlackhole(t *testing.T) {
	onBothNetworks(t, func(t *testing.T, config onebox.Config) {
		config.FailoverDelay = time.Hour
		b := newBox(t, config, onebox.TableOptions{})
		key := rawKey("a", "b")
		node := b.Primary(tableName, b.index(key))
		c := b.primary(key)
		b.get(c, key)

		node.Blackhole(true)
		require.True(t, node.IsAlive())
		c.send(b.header(key), wire.Get, wire.Blob(key))
		c.silence()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := b.DialContext(ctx, "tcp", node.Address())
		require.ErrorIs(t, err, context.DeadlineExceeded, "dials are not answered")

		node.Blackhole(false)
		_, err = c.receive(nil)
		require.NoError(t, err, "TCP repeats what was lost")
		b.get(dial(t, b.Cluster, node), key)
	})
}

func TestBlackholeOutlastsRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network, FailoverDelay: time.Hour}, onebox.TableOptions{Partitions: 1})
		node := b.Replica(0)
		node.Blackhole(true)
		node.Kill()
		node.Restart()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := b.DialContext(ctx, "tcp", node.Address())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		node.Blackhole(false)
		b.get(b.primary(rawKey("a", "b")), rawKey("a", "b"))
	})
}

func TestDenyClients(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	key := rawKey("a", "b")
	c := b.primary(key)
	node := b.Primary(tableName, b.index(key))
	node.DenyClients(true)
	c.send(b.header(key), wire.Put, &wire.PutRequest{Key: key})
	absent := b.header(key)
	absent.GPID.PartitionIndex++
	c.send(absent, wire.Get, wire.Blob(key)) // denied before anything else is checked
	c.silence()
	require.Same(t, node, b.Primary(tableName, b.index(key)), "the cluster does not mind")

	node.DenyClients(false)
	c.seq = 100
	_, got := b.get(c, key)
	require.Equal(t, wire.StatusNotFound, got.Status, "the put was ignored, not postponed")
}

func TestRequestsAreCountedBeforeTheReply(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	key := rawKey("a", "b")
	c := b.primary(key)
	node := b.Primary(tableName, b.index(key))
	unknown := wire.NewMethod("RPC_UNHEARD_OF")
	for i := range 100 {
		require.Equal(t, i, node.Requests(wire.Get))
		b.get(c, key)
		got := c.call(b.header(key), unknown, wire.Blob(nil), nil)
		require.Equal(t, wire.ErrHandlerNotFound, got.Error)
		require.Equal(t, i+1, node.Requests(unknown))
	}
	require.Zero(t, node.Requests(wire.Put))
	require.Zero(t, node.Requests(wire.NewMethod("RPC_NEVER_SENT")))
}

func TestNodesAreFound(t *testing.T) {
	b := newBox(t, onebox.Config{Metas: 2, Replicas: 4}, onebox.TableOptions{})
	require.Len(t, b.Metas(), 2)
	require.Len(t, b.Replicas(), 4)
	for i, node := range b.Replicas() {
		require.Same(t, node, b.NodeAt(node.Address()))
		require.Same(t, node, b.Replica(i))
		require.Equal(t, i, node.Index())
		require.Contains(t, node.String(), node.Address())
	}
	require.Nil(t, b.NodeAt("127.0.0.1:1"))
}

func TestStartRefusesNonsense(t *testing.T) {
	for _, config := range []onebox.Config{{Metas: -1}, {Replicas: -1}, {MinReplicas: -1}} {
		_, err := onebox.Start(config)
		require.Error(t, err)
	}
}

func TestStartReportsThatItCannotListen(t *testing.T) {
	network := memnet.New()
	listener, err := network.Listen("10.0.1.2:34801")
	require.NoError(t, err)
	defer listener.Close()
	_, err = onebox.Start(onebox.Config{Network: network})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = network.DialContext(t.Context(), "tcp", "10.0.0.1:34601")
	require.ErrorIs(t, err, syscall.ECONNREFUSED, "what was started is stopped again")
}

func TestCloseEndsEverything(t *testing.T) {
	cluster, err := onebox.Start(onebox.Config{FailoverDelay: time.Hour, ElectionDelay: time.Hour})
	require.NoError(t, err)
	b := boxOf(t, cluster, onebox.TableOptions{})
	key := rawKey("a", "b")
	node := b.Primary(tableName, b.index(key))
	node.Inject(onebox.Fault{Delay: time.Hour})
	c := b.primary(key)
	c.send(b.header(key), wire.Get, wire.Blob(key))
	within(t, func() bool { return node.Requests(wire.Get) == 1 }, "the request arrives")
	b.Replica((node.Index() + 1) % 3).Pause()
	b.Meta(0).Kill()

	require.NoError(t, cluster.Close())
	require.NoError(t, cluster.Close(), "closing again does nothing")
	_, err = io.ReadAll(c.conn)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	node.Restart()
	require.False(t, node.IsAlive(), "nothing is started after Close")
	require.Panics(t, func() { cluster.AddMeta() })
	require.Empty(t, cluster.Violations())
}
