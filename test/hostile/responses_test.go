package hostile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/metrics"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

const (
	tableName = "temp"
	// maxResponse is the largest answer that the client accepts here.
	maxResponse = 1 << 20
	// within is the time that an operation may take, and recovery that in which one must succeed again. A frame that
	// announces more than it brings swallows the answers behind it, until the client takes it for silence after
	// 8 times silenceLimit.
	within, recovery = time.Second, 12 * silenceLimit
	silenceLimit     = time.Second
	// sound and hostile are the partitions of the two servers.
	hostile, sound = 0, 1
)

// victims are operations that send a request of each method.
var victims = map[*wire.Method]func(ctx context.Context, table *pegasus.Table, key []byte) error{
	wire.Get: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, err := table.Get(ctx, key, []byte("0"))
		return err
	},
	wire.TTL: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, _, err := table.TTL(ctx, key, []byte("0"))
		return err
	},
	wire.Put: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		return table.Set(ctx, key, []byte("victim"), []byte("value"))
	},
	wire.Remove: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		return table.Del(ctx, key, []byte("victim"))
	},
	wire.MultiGet: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, err := table.MultiGet(ctx, key, [][]byte{[]byte("0"), []byte("1")}, nil)
		_, rangeErr := table.MultiGetRange(ctx, key, nil, nil, nil)
		return errors.Join(err, rangeErr)
	},
	wire.SortKeyCount: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, err := table.SortKeyCount(ctx, key)
		return err
	},
	wire.BatchGet: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, err := table.BatchGet(ctx, []pegasus.Key{{HashKey: key, SortKey: []byte("0")}, {HashKey: key, SortKey: []byte("1")}}, nil)
		return err
	},
	wire.MultiPut: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		return table.MultiSet(ctx, key, []pegasus.Record{{SortKey: []byte("victim"), Value: []byte("value")}})
	},
	wire.MultiRemove: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, err := table.MultiDel(ctx, key, [][]byte{[]byte("victim")})
		return err
	},
	wire.Incr: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, err := table.Incr(ctx, key, []byte("number"), 1)
		return err
	},
	wire.CheckAndSet: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, _, err := table.CompareExchange(ctx, key, []byte("victim"), nil, []byte("value"))
		return err
	},
	wire.CheckAndMutate: func(ctx context.Context, table *pegasus.Table, key []byte) error {
		_, err := table.CheckAndMutate(ctx, key, pegasus.Check{}, []pegasus.Mutation{{SortKey: []byte("victim"), Delete: true}}, nil)
		return err
	},
	wire.GetScanner: scan,
	wire.Scan:       scan,
}

func scan(ctx context.Context, table *pegasus.Table, key []byte) error {
	for _, err := range table.Scan(ctx, key, nil, nil, &pegasus.ScanOptions{BatchSize: 1}) {
		if err != nil {
			return err
		}
	}
	return nil
}

func methodOf(name string) *wire.Method {
	for method := range victims {
		if method.Name() == name {
			return method
		}
	}
	return nil
}

// box is a cluster with a table of two partitions on two servers, of which one is hostile at times, and
// a client.
type box struct {
	*onebox.Cluster
	t       *testing.T
	network *memnet.Network
	appID   int32
	moves   int64 // of primaries, which raise ballots
	client  *pegasus.Client
	table   *pegasus.Table
	keys    [2][]byte // a hash key of each partition
}

// newBox returns a box on a network in memory, for a bubble. The client knows the given meta servers, or
// else those of the cluster.
func newBox(t *testing.T, metas ...string) *box {
	network := memnet.New()
	cluster, err := onebox.Start(onebox.Config{Network: network, Replicas: 2, MinReplicas: 1})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, cluster.Close())
		if len(metas) == 0 { // otherwise the client is misled to do what no client should
			require.Empty(t, cluster.Violations())
		}
	})
	b := &box{Cluster: cluster, t: t, network: network}
	b.appID, err = b.CreateTable(tableName, onebox.TableOptions{Partitions: 2, Replicas: 1})
	require.NoError(t, err)
	// Servers then refuse what is none of theirs, as they do since a split, and do not answer that it is not there.
	require.NoError(t, b.SetTableEnv(tableName, "replica.split.validate_partition_hash", "true"))
	for i := 0; b.keys[hostile] == nil || b.keys[sound] == nil; i++ {
		key := fmt.Appendf(nil, "key %d", i)
		b.keys[wire.KeyHash(key, nil)%2] = key
	}
	require.NoError(t, b.Load(tableName, 6, func(i int) (hashKey, sortKey, value []byte) {
		return b.keys[i%2], fmt.Appendf(nil, "%d", i/2), fmt.Appendf(nil, "value %d of %s", i/2, b.keys[i%2])
	}))
	known := metas
	if len(metas) == 0 {
		known = b.MetaAddresses()
	}
	b.client, err = pegasus.Open(known,
		pegasus.WithConnections(rpc.Options{
			Dial: network.DialContext, MaxResponseBytes: maxResponse, SilenceLimit: silenceLimit, CircuitFailures: -1,
		}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.client.Close()) })
	return b
}

func (b *box) open() {
	var err error
	b.table, err = b.client.OpenTable(context.Background(), tableName)
	require.NoError(b.t, err)
}

// misbehave has the hostile server answer the next request of the method with the mutant.
func (b *box) misbehave(method *wire.Method, m mutant) (behave func()) {
	fault := onebox.Fault{Garbage: slices.Clone(m.frame), Chunk: m.chunk, Times: 1}
	if m.closes {
		fault.Truncate = len(m.frame)
	}
	fault.Match = func(r *onebox.Request) bool {
		if !r.Is(method) {
			return false
		}
		if at := m.sequenceAt; at >= 0 && at+4 <= len(m.frame) {
			// XOR, so that bits of the id that were flipped stay so.
			binary.BigEndian.PutUint32(fault.Garbage[at:], binary.BigEndian.Uint32(m.frame[at:])^uint32(r.Sequence))
		}
		return true
	}
	return b.Replica(hostile).Inject(fault)
}

// attack has one operation meet the mutant, with others under way on the same connection and on another.
func (b *box) attack(name string, method *wire.Method, m mutant) {
	behave := b.misbehave(method, m)
	defer behave()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	began := time.Now()
	var others sync.WaitGroup
	others.Go(func() {
		if value, err := b.table.Get(ctx, b.keys[sound], []byte("0")); err != nil || string(value) != b.value(sound) {
			b.t.Errorf("%s: another connection got %q, %v", name, value, err)
		}
	})
	others.Go(func() { b.bystander(ctx, name, method) })
	_ = victims[method](ctx, b.table, b.keys[hostile]) // it may succeed: not everything that is changed is wrong
	others.Wait()
	if took := time.Since(began); took > within {
		b.t.Errorf("%s: it took %v", name, took)
	}
	behave()
	b.requireWorks(name)
}

func (b *box) value(partition int) string { return fmt.Sprintf("value 0 of %s", b.keys[partition]) }

// bystander reads from the hostile server by another method than the victim's: it may fail, but
// it must not get what is not its own.
func (b *box) bystander(ctx context.Context, name string, method *wire.Method) {
	if method == wire.Get {
		result, err := b.table.MultiGet(ctx, b.keys[hostile], [][]byte{[]byte("0")}, nil)
		if err == nil && (len(result.Records) != 1 || string(result.Records[0].Value) != b.value(hostile)) {
			b.t.Errorf("%s: another multi get got %v", name, result.Records)
		}
		return
	}
	if value, err := b.table.Get(ctx, b.keys[hostile], []byte("0")); err == nil && string(value) != b.value(hostile) {
		b.t.Errorf("%s: another get got %q", name, value)
	}
}

// requireWorks checks that all is well again now that all servers behave.
func (b *box) requireWorks(after string) {
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	for partition, key := range b.keys {
		value, err := b.table.Get(ctx, key, []byte("0"))
		require.NoError(b.t, err, after)
		require.Equal(b.t, b.value(partition), string(value), after)
		require.NoError(b.t, b.table.Set(ctx, key, []byte("written"), []byte(after)), after)
	}
}

// allocated returns how many bytes were allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// allowance is how much an attack may have allocated: connections made anew, with 64 KiB for reading on
// the client's side and more on the server's, and a multiple of what was sent.
func allowance(m mutant) uint64 { return 8<<20 + 64*uint64(len(m.frame)) }

// TestMutatedResponses has a server send every recorded response, changed in many ways.
func TestMutatedResponses(t *testing.T) {
	all := recordings(t, methodOf)
	require.Greater(t, len(all), 700)
	names := slices.Sorted(maps.Keys(mutators))
	byMethod := make(map[*wire.Method][]*recording)
	for _, r := range all {
		byMethod[r.method] = append(byMethod[r.method], r)
	}
	for method, recorded := range byMethod {
		t.Run(method.Name(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(*seed, 0))
			synctest.Test(t, func(t *testing.T) {
				b := newBox(t)
				b.open()
				for i := range *mutations * len(recorded) {
					mutator, of := names[(i+r.IntN(2))%len(names)], recorded[i%len(recorded)]
					m := mutators[mutator](r, of, all)
					before := allocated()
					b.attack(fmt.Sprintf("attack %d of seed %d: %s, %s", i, *seed, of.name, mutator), method, m)
					if size := allocated() - before; size > allowance(m) {
						t.Errorf("attack %d, %s, %s: %d bytes were allocated for %d that were sent", i, of.name, mutator, size, len(m.frame))
					}
					if t.Failed() {
						t.Fatalf("%s: %x", mutator, m.frame[:min(len(m.frame), 1000)])
					}
				}
				require.Equal(t, 1, b.Replica(sound).Accepted(), "the connection to the sound server was lost")
			})
		})
	}
}
