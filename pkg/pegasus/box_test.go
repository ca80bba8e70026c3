package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// tableName is the table that every box has.
const tableName = "temp"

// box is a cluster with one table, and a client that has it open.
type box struct {
	*onebox.Cluster
	t       testing.TB
	network *memnet.Network // of a box in a bubble
	appID   int32
	client  *pegasus.Client
	table   *pegasus.Table
}

func newBox(t testing.TB, config onebox.Config, table onebox.TableOptions, options ...pegasus.Option) *box {
	t.Helper()
	b := newCluster(t, config, table)
	b.network, _ = config.Network.(*memnet.Network)
	b.client = b.open(options...)
	b.table = b.openTable()
	return b
}

// newCluster returns a box that has no client yet.
func newCluster(t testing.TB, config onebox.Config, table onebox.TableOptions) *box {
	t.Helper()
	b := &box{Cluster: onebox.New(t, config), t: t}
	b.create(table)
	return b
}

func (b *box) create(table onebox.TableOptions) {
	b.t.Helper()
	var err error
	b.appID, err = b.CreateTable(tableName, table)
	require.NoError(b.t, err)
}

// open returns a client of the box, which is closed when the test ends.
func (b *box) open(options ...pegasus.Option) *pegasus.Client {
	b.t.Helper()
	return openClient(b.t, b.MetaAddresses(), append(options, pegasus.WithDialer(b.DialContext))...)
}

func openClient(t testing.TB, metas []string, options ...pegasus.Option) *pegasus.Client {
	t.Helper()
	client, err := pegasus.Open(metas, options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func (b *box) openTable() *pegasus.Table {
	b.t.Helper()
	table, err := b.client.OpenTable(b.t.Context(), tableName)
	require.NoError(b.t, err)
	return table
}

// inBubble runs a test in virtual time, with a cluster on a network in memory, which by itself takes
// no time at all.
func inBubble(t *testing.T, config onebox.Config, table onebox.TableOptions, test func(t *testing.T, b *box), options ...pegasus.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		year2030()
		config.Network = memnet.New()
		test(t, newBox(t, config, table, options...))
	})
}

// inCluster is inBubble without a client.
func inCluster(t *testing.T, config onebox.Config, test func(t *testing.T, b *box)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		config.Network = network
		b := newCluster(t, config, onebox.TableOptions{})
		b.network = network
		test(t, b)
	})
}

// year2030 lets the clock of a bubble, which starts in 2000, pass the year before which there are no
// expiry times.
func year2030() { time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))) }

// single is a table of one partition, whose primary is replica server 0.
var single = onebox.TableOptions{Partitions: 1}

// pass lets virtual time pass, and then everybody do what is to be done at that moment.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// elapsed returns how long f takes, for use in virtual time.
func elapsed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// within returns a context that ends after the given time, or with the test.
func (b *box) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), d)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *box) set(key, value string) {
	b.t.Helper()
	require.NoError(b.t, b.table.Set(b.t.Context(), []byte(key), []byte("sort"), []byte(value)))
}

func (b *box) get(key string) (string, error) {
	value, err := b.table.Get(b.t.Context(), []byte(key), []byte("sort"))
	return string(value), err
}

// holds checks the value of a record through the client.
func (b *box) holds(key, want string) {
	b.t.Helper()
	value, err := b.get(key)
	require.NoError(b.t, err)
	require.Equal(b.t, want, value)
}

// hashOf returns the partition hash of a hash key.
func hashOf(key string) uint64 { return wire.KeyHash([]byte(key), nil) }

// keyIn returns a hash key of the given partition.
func keyIn(partition, partitions int) string {
	for i := 0; ; i++ {
		key := fmt.Sprint("key ", i)
		if int(hashOf(key)%uint64(partitions)) == partition {
			return key
		}
	}
}

// requests returns how often the replica servers together were sent a request of the method.
func (b *box) requests(method *wire.Method) (count int) {
	for _, node := range b.Replicas() {
		count += node.Requests(method)
	}
	return count
}

// queries returns how often the meta servers together were asked for routing.
func (b *box) queries() (count int) {
	for _, node := range b.Metas() {
		count += node.Requests(wire.QueryConfig)
	}
	return count
}

// injectAll disturbs all replica servers in the same way.
func (b *box) injectAll(fault onebox.Fault) {
	for _, node := range b.Replicas() {
		b.t.Cleanup(node.Inject(fault))
	}
}

// failed returns the error as the *pegasus.Error that it must be.
func failed(t testing.TB, err error) *pegasus.Error {
	t.Helper()
	var failure *pegasus.Error
	require.ErrorAs(t, err, &failure)
	return failure
}

// present says whether a get found a record; any error but ErrNotFound fails the test.
func present(t testing.TB, err error) bool {
	t.Helper()
	if !errors.Is(err, pegasus.ErrNotFound) {
		require.NoError(t, err)
	}
	return err == nil
}

// cancelled returns a context that has ended.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// withoutPrimary takes the primary of a partition away, and has the client know it.
func (b *box) withoutPrimary(partition int) {
	b.t.Helper()
	require.NoError(b.t, b.ClearPrimary(tableName, partition))
	b.refused(keyIn(partition, b.PartitionCount(tableName)))
}

// refused runs an operation that has just time enough to have the routing asked for.
func (b *box) refused(key string) {
	b.t.Helper()
	_, err := b.table.Get(b.within(time.Millisecond), []byte(key), nil)
	require.Error(b.t, err)
	pass(100 * time.Millisecond)
}
