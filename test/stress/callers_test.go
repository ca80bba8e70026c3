package stress

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/test/onebox"
)

// crowd is many callers of one client, who all wait for the same server.
type crowd struct {
	*onebox.Cluster
	t      *testing.T
	client *pegasus.Client
	table  *pegasus.Table
	server *onebox.Node
	before baseline
}

func newCrowd(t *testing.T, failover time.Duration) *crowd {
	c := &crowd{Cluster: newCluster(t, failover), t: t}
	_, err := c.CreateTable(tableName, onebox.TableOptions{Partitions: 1})
	require.NoError(t, err)
	c.client = open(t, c.Cluster)
	c.table = openTable(t, c.client)
	require.NoError(t, c.table.Set(t.Context(), []byte("key"), nil, []byte("value")))
	c.server = c.Primary(tableName, 0)
	breed(*callerCount + 1000)
	c.before = measure()
	return c
}

// waiting returns how many calls wait for the server, for its answer or for admission.
func (c *crowd) waiting() (count int) {
	for _, node := range c.client.Snapshot().Nodes {
		if node.Address == c.server.Address() {
			count += node.InFlight + node.Waiting
		}
	}
	return count
}

// gather stops the server and has every caller call; it returns when all of them wait. end waits for
// the end of all calls, and returns how many ended well; the others have ended as said by also.
func (c *crowd) gather(ctx context.Context, also error) (end func() (good int)) {
	c.server.Pause()
	var calling sync.WaitGroup
	var good, bad atomic.Int64
	for range *callerCount {
		calling.Go(func() {
			value, err := c.table.Get(ctx, []byte("key"), nil)
			switch {
			case err == nil && string(value) == "value":
				good.Inc()
			case bad.Inc() == 1 && !errors.Is(err, also): // one complaint will do
				c.t.Errorf("a call brought %q and ended with %v", value, err)
			}
		})
	}
	eventually(c.t, func() bool { return c.waiting() == *callerCount || bad.Load() > 0 }, "not all callers wait")
	require.Zero(c.t, bad.Load())
	c.t.Logf("%d bytes for each waiting caller", (measure().memory-c.before.memory)/uint64(*callerCount))
	return func() int {
		calling.Wait()
		require.Zero(c.t, c.waiting())
		require.EqualValues(c.t, *callerCount, good.Load()+bad.Load())
		return int(good.Load())
	}
}

func TestManyCallers(t *testing.T) {
	errNone := fmt.Errorf("no error at all is expected")
	for name, test := range map[string]struct {
		failover time.Duration // from the moment in which the server stops
		end      func(*crowd)
	}{
		"the server goes on": {time.Hour, func(c *crowd) {
			end := c.gather(context.Background(), errNone)
			c.server.Resume()
			require.Equal(c.t, *callerCount, end())
		}},
		"another server takes over": {20 * time.Millisecond, func(c *crowd) {
			end := c.gather(context.Background(), errNone)
			c.server.Kill()
			require.Equal(c.t, *callerCount, end())
		}},
		"all give up": {time.Hour, func(c *crowd) {
			ctx, cancel := context.WithCancel(context.Background())
			end := c.gather(ctx, context.Canceled)
			cancel()
			require.Zero(c.t, end())
			c.server.Resume()
		}},
		"the client is closed": {time.Hour, func(c *crowd) {
			end := c.gather(context.Background(), pegasus.ErrClosed)
			require.NoError(c.t, c.client.Close())
			require.Zero(c.t, end())
			c.server.Resume()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, test.failover)
			test.end(c)
			c.before.back(t)
		})
	}
}
