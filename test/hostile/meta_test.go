package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Addresses of hostile meta servers.
const (
	liarAddress  = "10.9.0.1:34601"
	otherAddress = "10.9.0.2:34601"
)

// lie changes the truth, or tells something else. number counts the answers.
type lie func(r *rand.Rand, truth *wire.QueryConfigResponse, number int) *wire.QueryConfigResponse

// changed makes a lie of what changes the truth in place.
func changed(change func(*wire.QueryConfigResponse)) lie {
	return func(_ *rand.Rand, truth *wire.QueryConfigResponse, _ int) *wire.QueryConfigResponse {
		change(truth)
		return truth
	}
}

// each makes a lie of what changes every partition.
func each(change func(*wire.PartitionConfiguration)) lie {
	return changed(func(q *wire.QueryConfigResponse) {
		for i := range q.Partitions {
			change(&q.Partitions[i])
		}
	})
}

// lies are what hostile meta servers answer.
var lies = map[string]lie{
	"forwards to itself": func(*rand.Rand, *wire.QueryConfigResponse, int) *wire.QueryConfigResponse {
		return forward(liarAddress)
	},
	"forwards in circles": func(*rand.Rand, *wire.QueryConfigResponse, int) *wire.QueryConfigResponse {
		return forward(otherAddress)
	},
	"ever new leaders": func(_ *rand.Rand, _ *wire.QueryConfigResponse, number int) *wire.QueryConfigResponse {
		return forward(fmt.Sprintf("10.8.%d.%d:34601", number>>8&0xff, number&0xff))
	},
	"forwards without a leader": changed(func(q *wire.QueryConfigResponse) { q.Error, q.Partitions = wire.ErrForwardToOthers, nil }),
	"forwards to nobody":        changed(func(q *wire.QueryConfigResponse) { *q = *forward("0.0.0.0:0") }),
	"forwards to many": changed(func(q *wire.QueryConfigResponse) {
		q.Error, q.Partitions = wire.ErrForwardToOthers, slices.Repeat(q.Partitions, 3000)
	}),

	"huge partition count":        changed(func(q *wire.QueryConfigResponse) { q.PartitionCount = math.MaxInt32 }),
	"negative partition count":    changed(func(q *wire.QueryConfigResponse) { q.PartitionCount = -2 }),
	"least partition count":       changed(func(q *wire.QueryConfigResponse) { q.PartitionCount = math.MinInt32 }),
	"no partition count":          changed(func(q *wire.QueryConfigResponse) { q.PartitionCount = 0 }),
	"no partitions":               changed(func(q *wire.QueryConfigResponse) { q.Partitions = nil }),
	"nothing at all":              changed(func(q *wire.QueryConfigResponse) { *q = wire.QueryConfigResponse{} }),
	"fewer partitions":            changed(func(q *wire.QueryConfigResponse) { q.Partitions = q.Partitions[:1] }),
	"more partitions":             changed(func(q *wire.QueryConfigResponse) { q.Partitions = append(q.Partitions, q.Partitions...) }),
	"same partition twice":        changed(func(q *wire.QueryConfigResponse) { q.Partitions[1] = q.Partitions[0] }),
	"partitions in disorder":      changed(func(q *wire.QueryConfigResponse) { slices.Reverse(q.Partitions) }),
	"negative indexes":            each(func(p *wire.PartitionConfiguration) { p.GPID.PartitionIndex = ^p.GPID.PartitionIndex }),
	"partitions of another table": each(func(p *wire.PartitionConfiguration) { p.GPID.AppID++ }),
	"thousands of partitions": func(r *rand.Rand, truth *wire.QueryConfigResponse, _ int) *wire.QueryConfigResponse {
		for i := len(truth.Partitions); i < 1024; i++ {
			truth.Partitions = append(truth.Partitions, wire.PartitionConfiguration{
				GPID: wire.GPID{AppID: truth.AppID, PartitionIndex: int32(i)}, Ballot: 1, Primary: someAddress(r),
			})
		}
		truth.PartitionCount = int32(len(truth.Partitions))
		return truth
	},

	"greatest ballots": each(func(p *wire.PartitionConfiguration) {
		p.Ballot, p.Primary = math.MaxInt64, netip.MustParseAddrPort(otherAddress)
	}),
	"least ballots": each(func(p *wire.PartitionConfiguration) { p.Ballot = math.MinInt64 }),
	"any ballots": func(r *rand.Rand, truth *wire.QueryConfigResponse, _ int) *wire.QueryConfigResponse {
		for i := range truth.Partitions {
			truth.Partitions[i].Ballot, truth.Partitions[i].Primary = int64(r.Uint64()), someAddress(r)
		}
		return truth
	},

	"no primaries":       each(func(p *wire.PartitionConfiguration) { p.Primary = netip.AddrPort{} }),
	"primary nowhere":    each(func(p *wire.PartitionConfiguration) { p.Primary = netip.MustParseAddrPort("0.0.0.0:0") }),
	"primary everywhere": each(func(p *wire.PartitionConfiguration) { p.Primary = netip.MustParseAddrPort("255.255.255.255:65535") }),
	"primary is a meta":  each(func(p *wire.PartitionConfiguration) { p.Primary = netip.MustParseAddrPort(liarAddress) }),
	"primary is the other": changed(func(q *wire.QueryConfigResponse) {
		q.Partitions[0].Primary, q.Partitions[1].Primary = q.Partitions[1].Primary, q.Partitions[0].Primary
	}),
	"ever new primaries": func(r *rand.Rand, truth *wire.QueryConfigResponse, number int) *wire.QueryConfigResponse {
		for i := range truth.Partitions {
			truth.Partitions[i].Ballot, truth.Partitions[i].Primary = int64(number+100), someAddress(r)
		}
		return truth
	},
	"name without end": each(func(p *wire.PartitionConfiguration) {
		p.Primary, p.PrimaryName = netip.AddrPort{}, wire.HostPort{Host: strings.Repeat("x", 1<<17), Port: 1}
	}),
	"name of nobody": each(func(p *wire.PartitionConfiguration) {
		p.Primary, p.PrimaryName = netip.AddrPort{}, wire.HostPort{Host: "\x00 \n%s", Port: 1}
	}),
	"thousands of secondaries": func(r *rand.Rand, truth *wire.QueryConfigResponse, _ int) *wire.QueryConfigResponse {
		for range 3000 {
			truth.Partitions[0].Secondaries = append(truth.Partitions[0].Secondaries, someAddress(r))
		}
		return truth
	},

	"another table each time": func(_ *rand.Rand, truth *wire.QueryConfigResponse, number int) *wire.QueryConfigResponse {
		truth.AppID += int32(number)
		for i := range truth.Partitions {
			truth.Partitions[i].GPID.AppID = truth.AppID
		}
		return truth
	},
	"negative table":   changed(func(q *wire.QueryConfigResponse) { q.AppID = -1 }),
	"stateless table":  changed(func(q *wire.QueryConfigResponse) { q.Stateful = false }),
	"unknown error":    changed(func(q *wire.QueryConfigResponse) { q.Error = "ERR_OF_TOMORROW" }),
	"endless error":    changed(func(q *wire.QueryConfigResponse) { q.Error = wire.ErrorName(strings.Repeat("E", 1<<18)) }),
	"loading for ever": changed(func(q *wire.QueryConfigResponse) { q.Error, q.Partitions = wire.ErrServiceNotActive, nil }),
	"busy for ever":    changed(func(q *wire.QueryConfigResponse) { q.Error, q.Partitions = wire.ErrBusyCreating, nil }),
}

func someAddress(r *rand.Rand) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 7, byte(r.IntN(8)), byte(r.IntN(256))}), 34801)
}

// withLiars runs a test in a bubble whose client knows only a hostile meta server, which may name
// another one.
func withLiars(t *testing.T, test func(t *testing.T, b *box, l *liar)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, liarAddress)
		l, other := newLiar(t, b.network, liarAddress), newLiar(t, b.network, otherAddress)
		other.says(func() *wire.QueryConfigResponse { return forward(liarAddress) })
		l.says(b.truth)
		test(t, b, l)
	})
}

const (
	// mostQuestions is how often one meta server may be asked in a second by a client that gets nowhere:
	// the first pause between rounds is 10 ms, and a forward may be followed a few times in a round.
	mostQuestions = 200
	// mostMembers bounds the meta servers that a client remembers, meta.Options.MaxMembers and a few more.
	mostMembers = 20
	// mostKept bounds the memory that is left of it, in bytes, nodes for thousands of addresses included.
	mostKept = 16 << 20
)

// suffer has the client work with what the liar says, for a while: whatever comes of it ends in time, and
// takes no memory to speak of.
func (b *box) suffer(l *liar) {
	asked, before := l.asked.Load(), inUse()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	began := time.Now()
	table := b.table
	if table == nil {
		table, _ = b.client.OpenTable(ctx, tableName)
	}
	for i := 0; table != nil && ctx.Err() == nil; i++ {
		_, _ = table.Get(ctx, b.keys[i%2], []byte("0"))
		time.Sleep(time.Millisecond)
	}
	<-ctx.Done()
	require.LessOrEqual(b.t, time.Since(began), within+time.Millisecond)
	require.LessOrEqual(b.t, l.asked.Load()-asked, int64(mostQuestions), "the meta server is asked without end")
	require.LessOrEqual(b.t, inUse(), before+mostKept)
	require.LessOrEqual(b.t, len(b.client.Snapshot().Meta.Members), mostMembers)
}

// recover checks that all is well once the liar says the truth.
func (b *box) recover(l *liar) {
	l.says(b.truth)
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	if b.table == nil {
		var err error
		b.table, err = b.client.OpenTable(ctx, tableName)
		require.NoError(b.t, err)
	}
	b.requireWorks("lies")
}

// inUse returns the bytes of all that is reachable.
func inUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// TestLies opens a table while the only meta server lies.
func TestLies(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			withLiars(t, func(t *testing.T, b *box, l *liar) {
				r := rand.New(rand.NewPCG(*seed, 1))
				l.says(func() *wire.QueryConfigResponse { return lie(r, b.truth(), int(l.asked.Load())) })
				b.suffer(l)
				b.recover(l)
			})
		})
	}
}

// TestLiesLater has the meta server lie when the table is in use, and its primaries have moved.
func TestLiesLater(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			withLiars(t, func(t *testing.T, b *box, l *liar) {
				b.open()
				b.requireWorks("opened")
				r := rand.New(rand.NewPCG(*seed, 2))
				l.says(func() *wire.QueryConfigResponse { return lie(r, b.truth(), int(l.asked.Load())) })
				b.move()
				b.suffer(l)
				b.recover(l)
			})
		})
	}
}

// move has the servers change places.
func (b *box) move() {
	b.moves++
	for i := range 2 {
		require.NoError(b.t, b.MovePrimary(tableName, i, 1-b.Primary(tableName, i).Index()))
	}
}

// TestMutatedRouting has the meta server send recorded answers, changed in many ways.
func TestMutatedRouting(t *testing.T) {
	all := recordings(t, func(name string) *wire.Method {
		if name == wire.QueryConfig.Name() {
			return wire.QueryConfig
		}
		return methodOf(name)
	})
	routing := slices.DeleteFunc(slices.Clone(all), func(r *recording) bool { return r.method != wire.QueryConfig })
	require.Greater(t, len(routing), 30)
	names := slices.Sorted(maps.Keys(mutators))
	withLiars(t, func(t *testing.T, b *box, l *liar) {
		r := rand.New(rand.NewPCG(*seed, 3))
		for i := range *mutations * len(routing) {
			name, of := names[r.IntN(len(names))], routing[i%len(routing)]
			m := mutators[name](r, of, all)
			l.sends(func(sequence int32) []byte {
				frame := slices.Clone(m.frame)
				if at := m.sequenceAt; at >= 0 && at+4 <= len(frame) {
					binary.BigEndian.PutUint32(frame[at:], binary.BigEndian.Uint32(frame[at:])^uint32(sequence))
				}
				return frame
			})
			if b.table != nil {
				b.table.Close()
				b.table = nil
			}
			b.suffer(l)
			if m.closes {
				l.hangUp()
			}
			b.recover(l)
			if t.Failed() {
				t.Fatalf("mutation %d of seed %d: %s, %s: %x", i, *seed, of.name, name, m.frame[:min(len(m.frame), 1000)])
			}
		}
	})
}
