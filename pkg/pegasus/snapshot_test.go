package pegasus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/onebox"
)

// stats returns what the client knows about a server.
func (b *box) stats(node *onebox.Node) rpc.NodeStats {
	b.t.Helper()
	for _, stats := range b.client.Snapshot().Nodes {
		if stats.Address == node.Address() {
			return stats
		}
	}
	require.Fail(b.t, "the server is unknown")
	return rpc.NodeStats{}
}

func TestSnapshot(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 2}, func(t *testing.T, b *box) {
		for range 10 {
			b.set("key", "value")
		}
		s := b.client.Snapshot()
		require.Equal(t, time.Now(), s.Taken)
		require.Equal(t, pegasus.MetaSnapshot{
			Epoch: 1, Leader: b.Leader().Address(), Confirmed: true,
			Members: []pegasus.MemberSnapshot{
				{Address: "10.0.0.1:34601", Source: "configured"},
				{Address: "10.0.0.2:34601", Source: "configured"},
				{Address: "10.0.0.3:34601", Source: "configured"},
			},
		}, s.Meta)
		require.Equal(t, []pegasus.TableSnapshot{{
			Name: tableName, AppID: b.appID, Version: 1, ReceivedAt: time.Now(), FetchedAt: time.Now(),
			Partitions: []pegasus.PartitionSnapshot{
				{Ballot: 1, Primary: "10.0.1.1:34801", Secondaries: []string{"10.0.1.2:34801", "10.0.1.3:34801"}, Trusted: true},
				{Ballot: 1, Primary: "10.0.1.2:34801", Secondaries: []string{"10.0.1.3:34801", "10.0.1.1:34801"}, Trusted: true},
			},
		}}, s.Tables)
		require.Len(t, s.Nodes, 6)
		primary := b.Primary(tableName, int(hashOf("key")%2))
		stats := b.stats(primary)
		require.NotZero(t, stats.SentBytes)
		require.NotZero(t, stats.ReceivedBytes)
		stats.SentBytes, stats.ReceivedBytes = 0, 0
		require.Equal(t, rpc.NodeStats{
			Address: primary.Address(), Connections: 1, Sent: 10, Received: 10, Flushes: 10, Dials: 1,
		}, stats)
		_, err := json.Marshal(s.Meta)
		require.NoError(t, err, "it is plain data")
	})
}

// TestSnapshotFollows changes the cluster and looks whether it shows.
func TestSnapshotFollows(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		before := b.client.Snapshot()

		added := b.AddMeta()
		b.ElectLeader(added.Index())
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		pass(time.Second)
		b.set("key", "value")
		s := b.client.Snapshot()
		require.Equal(t, before.Meta.Epoch+1, s.Meta.Epoch)
		require.Equal(t, added.Address(), s.Meta.Leader)
		require.Contains(t, s.Meta.Members, pegasus.MemberSnapshot{Address: added.Address(), Source: "forwarded"})
		require.Equal(t, uint64(2), s.Tables[0].Version)
		require.Equal(t, b.Replica(1).Address(), s.Tables[0].Partitions[0].Primary)
		require.Greater(t, s.Tables[0].Partitions[0].Ballot, before.Tables[0].Partitions[0].Ballot)
		require.Equal(t, time.Now(), s.Tables[0].FetchedAt)

		require.NoError(t, b.ClearPrimary(tableName, 0))
		b.refused("key")
		require.Empty(t, b.client.Snapshot().Tables[0].Partitions[0].Primary)
		require.NoError(t, b.AssignPrimary(tableName, 0, 1))
		pass(time.Second)
		b.set("key", "value")

		require.NoError(t, b.StartSplit(tableName))
		pass(10 * time.Minute) // it becomes known by age
		partitions := b.client.Snapshot().Tables[0].Partitions
		require.Len(t, partitions, 2)
		require.Equal(t, pegasus.PartitionSnapshot{Ballot: -1, Trusted: true}, partitions[1])

		for _, node := range b.Metas() {
			node.Kill()
		}
		b.Replica(1).Inject(onebox.Fault{CloseBefore: true})
		b.refused("key")
		require.False(t, b.client.Snapshot().Tables[0].Partitions[0].Trusted)
		pass(10 * time.Second)
		require.ErrorIs(t, b.client.Snapshot().Tables[0].LastFailure, meta.ErrNoLeader)
		require.Error(t, b.stats(b.Replica(1)).LastError)

		b.table.Close()
		require.Empty(t, b.client.Snapshot().Tables)
		require.NoError(t, b.client.Close())
		require.NotEmpty(t, b.client.Snapshot().Nodes)
	})
}

// TestSnapshotOwnsItsMemory changes one snapshot and looks at the next.
func TestSnapshotOwnsItsMemory(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		s := b.client.Snapshot()
		s.Meta.Members[0].Address = "spoilt"
		s.Tables[0].Partitions[0].Primary = "spoilt"
		s.Tables[0].Partitions[0].Secondaries[0] = "spoilt"
		s.Nodes[0].Address = "spoilt"
		require.NotContains(t, fmt.Sprint(b.client.Snapshot()), "spoilt")
		b.set("key", "value")
	})
}

// TestSnapshotWhileOpening takes snapshots at the same time as everything else happens.
func TestSnapshotWhileOpening(t *testing.T) {
	inCluster(t, onebox.Config{}, func(t *testing.T, b *box) {
		client := b.open()
		b.silenceOnce()
		wait := b.inBackground(func() {
			_, err := client.OpenTable(t.Context(), tableName)
			require.NoError(t, err)
		})
		s := client.Snapshot()
		require.Empty(t, s.Tables)
		require.False(t, s.Meta.Confirmed)
		wait()
		require.Len(t, client.Snapshot().Tables, 1)
	})
}

// journal is a slog handler that remembers what it was told.
type journal struct {
	slog.Handler
	mu   sync.Mutex
	text bytes.Buffer
}

func newJournal() *journal {
	j := &journal{}
	j.Handler = slog.NewTextHandler(&j.text, &slog.HandlerOptions{Level: slog.LevelDebug})
	return j
}

func (j *journal) Handle(ctx context.Context, record slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.Handler.Handle(ctx, record)
}

func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.text.Reset()
	return j.text.String()
}

// TestLogger checks that what happens to the cluster is logged, and operations are not.
func TestLogger(t *testing.T) {
	j := newJournal()
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		text := j.take()
		for _, event := range []string{"meta leader found", "connected", b.Leader().Address(), b.Replica(0).Address()} {
			require.Contains(t, text, event)
		}
		for i := range 100 {
			b.set(fmt.Sprint("key ", i), "value")
			_, _ = b.get("absent")
			_, _ = b.table.Get(cancelled(), nil, nil)
			_ = b.table.Set(t.Context(), make([]byte, 65535), nil, nil)
		}
		require.Empty(t, j.take(), "operations are logged")
		leader := b.Leader()
		leader.Kill()
		b.Replica(0).Kill()
		b.holds("key 1", "value")
		pass(0)
		text = j.take()
		for _, event := range []string{"connection lost", "routing installed", "meta leader found", leader.Address(), b.Replica(1).Address()} {
			require.Contains(t, text, event)
		}
		for _, secret := range []string{"key 1", "value"} {
			require.NotContains(t, text, secret)
		}
	}, pegasus.WithLogger(slog.New(j)))
}

// Without a logger, not a word.
func TestDefect46SilentByDefault(t *testing.T) {
	j := newJournal()
	before, output := slog.Default(), log.Writer()
	slog.SetDefault(slog.New(j))
	log.SetOutput(&j.text)
	defer func() {
		slog.SetDefault(before)
		log.SetOutput(output)
	}()
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		b.Leader().Kill()
		b.Replica(0).Kill()
		b.holds("key", "value")
		require.NoError(t, b.StartSplit(tableName))
		require.NoError(t, b.FinishSplit(tableName))
		_, _ = b.get("key")
		require.NoError(t, b.client.Close())
	})
	require.Empty(t, j.take())
}
