package onebox_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// patient runs a test on a cluster whose writes wait for secondaries, which are removed after a second.
// The primary is server 0.
func patient(t *testing.T, test func(t *testing.T, b *box, c *client, put func(value string) int32)) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network, FailoverDelay: time.Second, PatientWrites: true}, onebox.TableOptions{Partitions: 1})
		key := rawKey("a", "b")
		c := b.primary(key)
		test(t, b, c, func(value string) int32 {
			return c.send(b.header(key), wire.Put, &wire.PutRequest{Key: key, Value: []byte(value)})
		})
	})
}

// peek returns the value of the record.
func (b *box) peek() string {
	value, _ := b.Peek(tableName, []byte("a"), []byte("b"))
	return string(value)
}

// answered asserts that the next reply is to the given request, and comes after the given time.
func (c *client) answered(seq int32, want wire.ErrorName, after time.Duration) {
	c.t.Helper()
	began := time.Now()
	got, err := c.receive(nil)
	require.NoError(c.t, err)
	require.Equal(c.t, seq, got.Sequence)
	require.Equal(c.t, want, got.Error)
	require.Equal(c.t, want == wire.ErrOK, got.HasResult)
	require.Equal(c.t, after, time.Since(began))
}

func TestWritesWaitUntilTheSecondaryIsRemoved(t *testing.T) {
	for name, stop := range map[string]func(*onebox.Node){
		"paused": (*onebox.Node).Pause, "killed": (*onebox.Node).Kill,
		"blackhole": func(n *onebox.Node) { n.Blackhole(true) },
	} {
		t.Run(name, func(t *testing.T) {
			patient(t, func(t *testing.T, b *box, c *client, put func(string) int32) {
				stop(b.Replica(2))
				waiting := []int32{put("1"), put("2")}
				pass(time.Second / 2)
				require.Empty(t, b.peek())
				got, _ := b.get(dial(t, b.Cluster, b.Replica(0)), rawKey("a", "b"))
				require.Equal(t, wire.ErrOK, got.Error, "reads are served")
				began := time.Now()
				for range waiting {
					got, err := c.receive(nil)
					require.NoError(t, err)
					require.Equal(t, wire.ErrOK, got.Error)
					require.Contains(t, waiting, got.Sequence)
				}
				require.Equal(t, time.Second/2, time.Since(began))
				require.Equal(t, "2", b.peek(), "they were carried out in their order")
				c.answered(put("3"), wire.ErrOK, 0)
			})
		})
	}
}

func TestWritesWaitUntilTheSecondaryIsBack(t *testing.T) {
	patient(t, func(t *testing.T, b *box, c *client, put func(string) int32) {
		b.Replica(1).Pause()
		waiting := put("1")
		pass(time.Second / 2)
		b.Replica(1).Resume()
		c.answered(waiting, wire.ErrOK, 0)
		require.Len(t, b.Secondaries(tableName, 0), 2)
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		require.Equal(t, "1", b.peek())
	})
}

func TestWritesThatWaitAreLostWithTheirPrimary(t *testing.T) {
	for name, lose := range map[string]func(*box){
		"moved": func(b *box) { _ = b.MovePrimary(tableName, 0, 1) },
		"none":  func(b *box) { _ = b.ClearPrimary(tableName, 0); _ = b.AssignPrimary(tableName, 0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			patient(t, func(t *testing.T, b *box, c *client, put func(string) int32) {
				b.Replica(2).Pause()
				put("lost")
				pass(time.Second / 2)
				lose(b)
				b.Replica(2).Resume()
				c.silence()
				require.Empty(t, b.peek())
			})
		})
	}
	patient(t, func(t *testing.T, b *box, c *client, put func(string) int32) {
		b.Replica(2).Pause()
		put("lost")
		pass(time.Second / 2)
		b.Replica(0).Kill()
		pass(2 * time.Second)
		require.Empty(t, b.peek())
		require.Equal(t, b.Replica(1), b.Primary(tableName, 0))
		b.Replica(0).Restart()
		require.Empty(t, b.peek())
	})
}

// A write that waits needs no more replicas than are left; those that come later do.
func TestWritesThatWaitNeedNoReplicas(t *testing.T) {
	patient(t, func(t *testing.T, b *box, c *client, put func(string) int32) {
		b.Replica(1).Kill()
		b.Replica(2).Kill()
		c.answered(put("1"), wire.ErrOK, time.Second)
		require.Equal(t, "1", b.peek())
		c.answered(put("2"), wire.ErrNotEnoughMember, 0)
	})
}

// A split that takes a record away from the partition takes it from the writes that wait as well.
func TestWritesThatWaitAreNotForTheSibling(t *testing.T) {
	patient(t, func(t *testing.T, b *box, c *client, put func(string) int32) {
		other := rawKey("b", "b")
		require.NoError(t, b.StartSplit(tableName))
		b.Replica(2).Pause()
		answers := map[int32]wire.ErrorName{}
		for _, key := range [][]byte{rawKey("a", "b"), other} {
			seq := c.send(b.header(key), wire.Put, &wire.PutRequest{Key: key, Value: []byte("v")})
			if answers[seq] = wire.ErrOK; wire.KeyHash(key[2:3], nil)%2 == 1 {
				answers[seq] = wire.ErrParentPartitionMisused
			}
		}
		pass(time.Second / 2)
		require.NoError(t, b.FinishSplit(tableName))
		for range 2 {
			got, err := c.receive(nil)
			require.NoError(t, err)
			require.Equal(t, answers[got.Sequence], got.Error)
		}
		require.Len(t, slices.Compact(slices.Sorted(maps.Values(answers))), 2, "one key on each side")
	})
}

// A client that is gone misses its reply, nothing else.
func TestWritesThatWaitOutliveTheirClient(t *testing.T) {
	patient(t, func(t *testing.T, b *box, c *client, put func(string) int32) {
		b.Replica(2).Pause()
		put("late")
		pass(time.Second / 2)
		require.NoError(t, c.conn.Close())
		pass(time.Second)
		require.Equal(t, "late", b.peek())
	})
}
