package onebox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

var errStress = errors.New("not answered as wanted")

// router is the least client that survives chaos: it routes by query_cfg, gives each request a few
// milliseconds, and forgets everything it knows after each failure. Not for concurrent use.
type router struct {
	cluster *onebox.Cluster
	t       *testing.T
	routing wire.QueryConfigResponse
	conns   map[string]*client
}

const (
	patience = 20 * time.Millisecond // how long a router waits for anything
	backOff  = time.Millisecond      // how long it rests after a failure
)

func newRouter(t *testing.T, cluster *onebox.Cluster) *router {
	return &router{cluster: cluster, t: t, conns: map[string]*client{}}
}

func (r *router) connect(address string) (*client, error) {
	c := r.conns[address]
	if c == nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := r.cluster.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		c = &client{t: r.t, conn: conn, version: 1}
		r.conns[address] = c
	}
	return c, c.conn.SetDeadline(time.Now().Add(patience))
}

// exchange sends one request and receives its reply.
func (r *router) exchange(address string, header wire.Header, method *wire.Method, in wire.Arguments, out wire.Result) error {
	c, err := r.connect(address)
	if err != nil {
		return err
	}
	c.seq++
	header.TimeoutMillis = 1
	if _, err := c.conn.Write(wire.AppendRequestV1(nil, &header, method, c.seq, in)); err != nil {
		return err
	}
	got, err := c.receive(out)
	if err == nil && (got.Error != wire.ErrOK || !got.HasResult || got.Sequence != c.seq) {
		err = fmt.Errorf("%w: %+v", errStress, got)
	}
	return err
}

// do sends a request about a key to where the key is.
func (r *router) do(key []byte, method *wire.Method, in wire.Arguments, out wire.Result) error {
	err := r.try(key, method, in, out)
	if err != nil {
		r.close()
		time.Sleep(backOff)
	}
	return err
}

func (r *router) try(key []byte, method *wire.Method, in wire.Arguments, out wire.Result) error {
	if err := r.route(); err != nil {
		return err
	}
	count := len(r.routing.Partitions)
	header := headerOf(r.routing.AppID, count, key)
	p := r.routing.Partitions[header.GPID.PartitionIndex]
	if p.Ballot < 0 {
		header.GPID.PartitionIndex -= int32(count / 2)
		p = r.routing.Partitions[header.GPID.PartitionIndex]
	}
	if !p.Primary.IsValid() {
		return fmt.Errorf("%w: no primary", errStress)
	}
	return r.exchange(p.Primary.String(), header, method, in, out)
}

// route asks the meta leader for the routing, unless it is known.
func (r *router) route() error {
	leader := r.cluster.Leader()
	switch {
	case len(r.routing.Partitions) > 0:
		return nil
	case leader == nil:
		return fmt.Errorf("%w: no leader", errStress)
	}
	query := &wire.QueryConfigRequest{Table: tableName}
	err := r.exchange(leader.Address(), wire.Header{}, wire.QueryConfig, query, &r.routing)
	if err == nil && r.routing.Error != wire.ErrOK {
		err = fmt.Errorf("%w: %s", errStress, r.routing.Error)
	}
	return err
}

// close forgets the routing and all connections.
func (r *router) close() {
	r.routing = wire.QueryConfigResponse{}
	for address, c := range r.conns {
		_ = c.conn.Close()
		delete(r.conns, address)
	}
}

// journal is a series of records of one hash key, numbered from 1. Each is written once, so that a write
// in doubt that takes effect late cannot undo one that was acknowledged.
type journal struct {
	hashKey string
	mu      sync.Mutex
	written []int // the records whose writes were acknowledged
}

func (j *journal) key(number int) []byte { return rawKey(j.hashKey, strconv.Itoa(number)) }

// write writes records until the context is done.
func (j *journal) write(ctx context.Context, r *router) {
	defer r.close()
	for number := 1; ctx.Err() == nil; number++ {
		key := j.key(number)
		in := &wire.PutRequest{Key: key, Value: []byte(strconv.Itoa(number))}
		if r.do(key, wire.Put, in, &wire.UpdateResponse{}) == nil {
			j.mu.Lock()
			j.written = append(j.written, number)
			j.mu.Unlock()
		}
	}
}

// acknowledged returns the records that must exist.
func (j *journal) acknowledged() []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.written
}

// check reads a record that must exist, unless its number is 0.
func (j *journal) check(r *router, number int) error {
	var out wire.GetResponse
	key := j.key(number)
	if err := r.do(key, wire.Get, wire.Blob(key), &out); err != nil {
		return err
	}
	if number > 0 && string(out.Value) != strconv.Itoa(number) {
		r.t.Errorf("%s %d: acknowledged, but %s has %q", j.hashKey, number, out.Origin.Server, out.Value)
	}
	return nil
}

// checkNewest reads the record written last, again and again until the context is done.
func (j *journal) checkNewest(ctx context.Context, r *router) {
	defer r.close()
	for ctx.Err() == nil {
		number := 0
		if written := j.acknowledged(); len(written) > 0 {
			number = written[len(written)-1]
		}
		_ = j.check(r, number) // fails while there is no primary
	}
}

// disturb does something to a replica server or a partition.
func disturb(b *box, random *rand.Rand) {
	node := b.Replica(random.IntN(3))
	switch random.IntN(12) {
	case 0, 1:
		node.Kill()
	case 2, 3, 4:
		node.Restart()
	case 5:
		node.Pause()
	case 6, 7:
		node.Resume()
	case 8:
		node.Blackhole(true)
	case 9:
		node.Blackhole(false)
	default:
		// May fail, which is as good.
		_ = b.MovePrimary(tableName, random.IntN(b.PartitionCount(tableName)), node.Index())
	}
}

func heal(b *box) {
	for _, node := range b.Replicas() {
		node.Resume()
		node.Blackhole(false)
		node.Restart()
	}
}

// TestNoAcknowledgedWriteIsLost lets writers write and readers read while servers die, stop and return,
// primaries move and the table is split.
func TestNoAcknowledgedWriteIsLost(t *testing.T) {
	for _, patient := range []bool{false, true} {
		t.Run(fmt.Sprint("patient ", patient), func(t *testing.T) {
			testNoAcknowledgedWriteIsLost(t, onebox.Config{FailoverDelay: 2 * time.Millisecond, PatientWrites: patient})
		})
	}
}

func testNoAcknowledgedWriteIsLost(t *testing.T, config onebox.Config) {
	const rounds, disturbances = 8, 12
	b := newBox(t, config, onebox.TableOptions{Partitions: 2})
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	journals := make([]*journal, 8)
	for i := range journals {
		journals[i] = &journal{hashKey: fmt.Sprint("journal", i)}
		working.Go(func() { journals[i].write(ctx, newRouter(t, b.Cluster)) })
		working.Go(func() { journals[i].checkNewest(ctx, newRouter(t, b.Cluster)) })
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for round := range rounds {
		for range disturbances {
			disturb(b, random)
			time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
		}
		heal(b)
		switch round % 4 {
		case 1:
			require.NoError(t, b.StartSplit(tableName))
		case 3:
			within(t, func() bool { return b.FinishSplit(tableName) == nil }, "all parents have primaries")
		}
	}
	for _, j := range journals {
		before := len(j.acknowledged())
		within(t, func() bool { return len(j.acknowledged()) > before }, "the healed cluster takes writes")
	}
	cancel()
	working.Wait()

	r := newRouter(t, b.Cluster)
	defer r.close()
	for _, j := range journals {
		for _, number := range j.acknowledged() {
			within(t, func() bool { return j.check(r, number) == nil }, "the healed cluster serves")
		}
	}
}
