package onebox_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// delay is the failover delay of these tests, that of a real cluster.
const delay = 22 * time.Second

// inFailoverBox runs a test in virtual time on a table of one partition, whose primary is replica 0.
func inFailoverBox(t *testing.T, config onebox.Config, test func(t *testing.T, b *box, key []byte)) {
	t.Helper()
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		config.Network, config.FailoverDelay = network, delay
		test(t, newBox(t, config, onebox.TableOptions{Partitions: 1}), rawKey("a", "b"))
	})
}

func (b *box) configuration() wire.PartitionConfiguration {
	b.t.Helper()
	return b.query(b.Leader()).Partitions[0]
}

func TestFailover(t *testing.T) {
	for name, stop := range map[string]func(*onebox.Node){
		"killed":     (*onebox.Node).Kill,
		"paused":     (*onebox.Node).Pause,
		"blackholed": func(node *onebox.Node) { node.Blackhole(true) },
	} {
		t.Run(name, func(t *testing.T) {
			inFailoverBox(t, onebox.Config{}, func(t *testing.T, b *box, key []byte) {
				b.put(b.primary(key), key, "acknowledged")
				before := b.configuration()
				stop(b.Replica(0))
				pass(delay - 1)
				require.Equal(t, before, b.configuration(), "the dead node is still named")
				atSecondary, _ := b.get(dial(t, b.Cluster, b.Replica(1)), key)
				require.Equal(t, wire.ErrInvalidState, atSecondary.Error)

				pass(1)
				after := b.configuration()
				require.Equal(t, before.Ballot+1, after.Ballot)
				require.Equal(t, addressOf(b.Replica(1)), after.Primary)
				require.Equal(t, []netip.AddrPort{addressOf(b.Replica(2))}, after.Secondaries)
				require.Equal(t, []netip.AddrPort{addressOf(b.Replica(0))}, after.LastDrops)
				_, got := b.get(b.primary(key), key)
				require.Equal(t, "acknowledged", string(got.Value))
			})
		})
	}
}

func TestRestartInTimeKeepsTheRole(t *testing.T) {
	inFailoverBox(t, onebox.Config{}, func(t *testing.T, b *box, key []byte) {
		before := b.configuration()
		for range 3 { // no timer of an earlier death counts
			b.Replica(0).Kill()
			pass(delay * 2 / 3)
			b.Replica(0).Restart()
		}
		pass(2 * delay)
		require.Equal(t, before, b.configuration())
		b.put(b.primary(key), key, "v")
	})
}

func TestRestartedReplicaCatchesUp(t *testing.T) {
	inFailoverBox(t, onebox.Config{}, func(t *testing.T, b *box, key []byte) {
		b.put(b.primary(key), key, "old")
		b.Replica(0).Kill()
		pass(delay)
		b.put(b.primary(key), key, "new")
		b.Replica(0).Restart()
		joined := b.configuration()
		require.Contains(t, joined.Secondaries, addressOf(b.Replica(0)))
		require.Empty(t, joined.LastDrops)
		got, _ := b.get(dial(t, b.Cluster, b.Replica(0)), key)
		require.Equal(t, wire.ErrInvalidState, got.Error, "a secondary")

		b.Replica(1).Kill()
		b.Replica(2).Kill()
		pass(delay)
		require.Equal(t, "replica-0", nameOf(b.Primary(tableName, 0)), "a candidate again")
		_, record := b.get(b.primary(key), key)
		require.Equal(t, "new", string(record.Value))
	})
}

func TestReplicaThatMissedAWriteIsNoCandidate(t *testing.T) {
	inFailoverBox(t, onebox.Config{}, func(t *testing.T, b *box, key []byte) {
		b.Replica(2).Kill()
		b.put(b.primary(key), key, "missed by replica 2")
		b.Replica(0).Kill()
		b.Replica(1).Kill()
		b.Replica(2).Restart()
		pass(delay)
		lost := b.configuration()
		require.False(t, lost.Primary.IsValid(), "nobody who is reachable has the write")
		require.Positive(t, lost.Ballot)
		require.Contains(t, lost.LastDrops, addressOf(b.Replica(0)))

		b.Replica(1).Restart()
		require.Equal(t, "replica-1", nameOf(b.Primary(tableName, 0)))
		require.Equal(t, []string{"replica-2"}, namesOf(b.Secondaries(tableName, 0)), "it has caught up")
		require.NoError(t, b.MovePrimary(tableName, 0, 2))
		_, record := b.get(b.primary(key), key)
		require.Equal(t, "missed by replica 2", string(record.Value))
	})
}

func namesOf(nodes []*onebox.Node) (names []string) {
	for _, node := range nodes {
		names = append(names, nameOf(node))
	}
	return names
}

func TestPausedPrimaryWakesUpDemoted(t *testing.T) {
	inFailoverBox(t, onebox.Config{}, func(t *testing.T, b *box, key []byte) {
		c := b.primary(key)
		b.put(c, key, "v1")
		b.Replica(0).Pause()
		c.send(b.header(key), wire.Get, wire.Blob(key))
		pass(delay)
		b.put(b.primary(key), key, "v2")
		b.Replica(0).Resume()
		got, err := c.receive(nil)
		require.NoError(t, err)
		require.Equal(t, wire.ErrInvalidState, got.Error, "not the stale v1")
	})
}

func TestNotEnoughMembers(t *testing.T) {
	inFailoverBox(t, onebox.Config{}, func(t *testing.T, b *box, key []byte) {
		c := b.primary(key)
		b.Replica(1).Kill()
		got, _ := b.put(c, key, "two of three are enough")
		require.Equal(t, wire.ErrOK, got.Error)
		b.Replica(2).Pause()
		got, _ = b.put(c, key, "one is not")
		require.Equal(t, wire.ErrNotEnoughMember, got.Error)
		_, record := b.get(c, key)
		require.Equal(t, "two of three are enough", string(record.Value), "reads are served")
		b.Replica(2).Resume()
		got, _ = b.put(c, key, "v")
		require.Equal(t, wire.ErrOK, got.Error)
	})
}

func TestSingleReplica(t *testing.T) {
	key := rawKey("a", "b")
	for minReplicas, want := range map[int]wire.ErrorName{2: wire.ErrNotEnoughMember, 1: wire.ErrOK} {
		b := newBox(t, onebox.Config{Replicas: 1, MinReplicas: minReplicas}, onebox.TableOptions{})
		got, _ := b.put(b.primary(key), key, "v")
		require.Equal(t, want, got.Error)
	}
}

func TestMovePrimary(t *testing.T) {
	b := newBox(t, onebox.Config{Replicas: 4}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	old := b.primary(key)
	b.put(old, key, "v")
	before := b.configuration()
	require.NoError(t, b.MovePrimary(tableName, 0, 1))
	after := b.configuration()
	require.Equal(t, before.Ballot+1, after.Ballot)
	require.Equal(t, addressOf(b.Replica(1)), after.Primary)
	require.Contains(t, after.Secondaries, before.Primary)
	for _, method := range []*wire.Method{wire.Get, wire.TTL, wire.Remove} {
		got := old.call(b.header(key), method, wire.Blob(key), nil)
		require.Equal(t, wire.ErrInvalidState, got.Error)
	}
	got, _ := b.put(old, key, "w")
	require.Equal(t, wire.ErrInvalidState, got.Error)
	_, record := b.get(b.primary(key), key)
	require.Equal(t, "v", string(record.Value))

	require.NoError(t, b.MovePrimary(tableName, 0, 3), "copies the data first")
	_, record = b.get(b.primary(key), key)
	require.Equal(t, "v", string(record.Value))
	require.NoError(t, b.MovePrimary(tableName, 0, 3), "nothing to do")
	require.Equal(t, after.Ballot+1, b.configuration().Ballot)

	b.Replica(2).Kill()
	require.ErrorIs(t, b.MovePrimary(tableName, 0, 2), onebox.ErrReplica)
	require.ErrorIs(t, b.MovePrimary(tableName, 1, 0), onebox.ErrNoPartition)
	require.ErrorIs(t, b.MovePrimary("none", 0, 0), onebox.ErrNoTable)
}

func TestRemoveReplica(t *testing.T) {
	b := newBox(t, onebox.Config{FailoverDelay: time.Hour}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	b.put(c, key, "v")
	require.NoError(t, b.RemoveReplica(tableName, 0, 0))
	got, _ := b.get(c, key)
	require.Equal(t, wire.ErrObjectNotFound, got.Error)
	_, record := b.get(b.primary(key), key)
	require.Equal(t, "v", string(record.Value))
	require.ErrorIs(t, b.RemoveReplica(tableName, 0, 0), onebox.ErrReplica)
	require.NoError(t, b.RemoveReplica(tableName, 0, 1))
	require.Equal(t, "replica-2", nameOf(b.Primary(tableName, 0)))
	require.ErrorIs(t, b.RemoveReplica(tableName, 0, 2), onebox.ErrReplica, "the last data")
}
