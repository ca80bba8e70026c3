package conformance

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"
)

// fake is a fake cluster whose clock follows the recordings.
type fake struct {
	*onebox.Cluster
	clock  *atomic.Time
	tables map[int32]string // names by number
}

// newFake starts a cluster. Nobody looks at Violations: recordings contain requests that no client should
// send.
func newFake(t testing.TB, config onebox.Config) *fake {
	t.Helper()
	f := &fake{clock: atomic.NewTime(time.Unix(wire.ExpireEpoch, 0)), tables: map[int32]string{}}
	config.Now = f.clock.Load
	config.HostNames = true
	started, err := onebox.Start(config)
	require.NoError(t, err)
	f.Cluster = started
	t.Cleanup(func() { require.NoError(t, started.Close()) })
	return f
}

func (f *fake) createTable(t testing.TB, name string, partitions int) int32 {
	t.Helper()
	return f.createTableWith(t, name, onebox.TableOptions{Partitions: partitions})
}

func (f *fake) createTableWith(t testing.TB, name string, options onebox.TableOptions) int32 {
	t.Helper()
	appID, err := f.CreateTable(name, options)
	require.NoError(t, err)
	f.tables[appID] = name
	return appID
}

func (f *fake) reach(_ testing.TB, recorded time.Time) { f.clock.Store(recorded) }

func (f *fake) begin(recorded time.Time) (shift int32) {
	f.clock.Store(recorded)
	return 0
}

func (f *fake) slack() int32 { return 0 }

func (f *fake) address(t testing.TB, to role, gpid wire.GPID) string {
	t.Helper()
	return f.node(t, to, gpid).Address()
}

func (f *fake) node(t testing.TB, to role, gpid wire.GPID) *onebox.Node {
	t.Helper()
	name, index := f.tables[gpid.AppID], int(gpid.PartitionIndex)
	switch to {
	case toMetaLeader:
		leader := f.Leader()
		require.NotNil(t, leader, "no meta leader")
		return leader
	case toMetaFollower:
		for _, meta := range f.Metas() {
			if meta != f.Leader() && meta.IsAlive() {
				return meta
			}
		}
	case toSecondary:
		if secondaries := f.Secondaries(name, index); len(secondaries) > 0 {
			return secondaries[0]
		}
	case toPrimary, toOther:
		if primary := f.Primary(name, index); primary != nil {
			return primary
		}
		return f.Replica(0) // there is no such partition: any server will do
	}
	require.FailNow(t, "nobody is", "%v of %v", to, gpid)
	return nil
}

func (f *fake) dial(ctx context.Context, address string) (net.Conn, error) {
	return f.DialContext(ctx, "tcp", address)
}

// fence is a request that always gets a reply.
var fence = wire.NewMethod("RPC_CONFORMANCE_FENCE")

// requireSilence sends another request: the servers of a fake cluster serve those of a connection in order, so
// if the reply to it comes first, there is none to the request before.
func (f *fake) requireSilence(t testing.TB, e *exchange, conn net.Conn) {
	t.Helper()
	nothing := wire.Int64(0)
	_, err := conn.Write(wire.AppendRequestV1(nil, &wire.Header{TimeoutMillis: 1000}, fence, 1, &nothing))
	require.NoError(t, err, "%v", e)
	frame, err := readFrame(conn)
	require.NoError(t, err, "%v", e)
	var response wire.Response
	require.NoError(t, wire.ParseResponse(frame, &response), "%v", e)
	require.Equal(t, fence.ReplyName(), string(response.Name), "%v: there should be no reply", e)
}
