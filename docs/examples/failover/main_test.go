package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/test/onebox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func small() settings {
	return settings{table: "failover", duration: 2 * time.Second, callers: 4, keys: 10, valueSize: 16, readShare: 0.5}
}

func TestEverythingSucceeds(t *testing.T) {
	ok, err := run(t.Context(), small())
	require.NoError(t, err)
	require.True(t, ok)
}

// newCaller returns one of the callers of a load that is not running, and the cluster that it calls.
func newCaller(t *testing.T, options ...pegasus.Option) (*caller, *onebox.Cluster) {
	cluster := onebox.New(t, onebox.Config{})
	s := small()
	_, err := cluster.CreateTable(s.table, onebox.TableOptions{Partitions: partitions})
	require.NoError(t, err)
	client, err := pegasus.Open(cluster.MetaAddresses(), options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	table, err := client.OpenTable(t.Context(), s.table)
	require.NoError(t, err)
	return newLoad(s, table).callers[1], cluster
}

// The demonstration is worth something only if it notices what it says did not happen.
func TestLostWritesAreNoticed(t *testing.T) {
	c, _ := newCaller(t)
	c.read(0) // nothing was written yet
	c.write(0)
	c.read(0)
	require.True(t, c.load.flawless())
	require.EqualValues(t, 1, c.load.written.Load())

	require.NoError(t, c.load.table.Del(t.Context(), c.key(0), nil)) // behind the caller's back
	c.read(0)
	require.EqualValues(t, 1, c.load.lost.Load())
	require.False(t, c.load.flawless())
	require.Contains(t, c.load.examples[0], "holds version 0, version 1 was acknowledged")

	c.write(0)
	c.acked[0], c.doubt[0] = 1, 2 // as if that had been in doubt: then there may be either
	c.load.verify(t.Context())
	require.EqualValues(t, 1, c.load.lost.Load())
	c.doubt[0] = 0
	c.load.verify(t.Context())
	require.EqualValues(t, 2, c.load.lost.Load(), "what nobody wrote is no better than what is lost")
}

func TestFailedOperationsAreNoticed(t *testing.T) {
	c, cluster := newCaller(t, pegasus.WithOperationTimeout(100*time.Millisecond))
	c.write(0)
	for _, replica := range cluster.Replicas() {
		replica.Kill()
	}
	c.write(0)
	c.read(0)
	require.EqualValues(t, 2, c.load.failures.Load())
	require.Zero(t, c.load.lost.Load())
	require.False(t, c.load.flawless())
	require.Len(t, c.load.examples, 2)
}

func TestSettings(t *testing.T) {
	require.NoError(t, small().check())
	for name, spoil := range map[string]func(s *settings){
		"duration":   func(s *settings) { s.duration = 0 },
		"callers":    func(s *settings) { s.callers = 0 },
		"keys":       func(s *settings) { s.keys = -1 },
		"value-size": func(s *settings) { s.valueSize = 15 },
		"read-share": func(s *settings) { s.readShare = 1.1 },
	} {
		s := small()
		spoil(&s)
		require.ErrorContains(t, s.check(), "-"+name)
	}
}

func TestClusterThatIsAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	s := small()
	s.meta = strings.Join([]string{"127.0.0.1:1", "127.0.0.1:2"}, ",")
	ok, err := run(ctx, s)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, ok)
}
