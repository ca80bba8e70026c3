package meta

import (
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// answered is a meta server's answer for table 7 whose partitions have these ballots. Partition i has
// its primary at 10.0.1.i and its secondary at 10.0.2.i, but those with a ballot of 0 or less have
// none.
func answered(ballots ...int64) *wire.QueryConfigResponse {
	answer := &wire.QueryConfigResponse{Error: wire.ErrOK, AppID: 7, PartitionCount: int32(len(ballots)), Stateful: true}
	for i, ballot := range ballots {
		p := wire.PartitionConfiguration{GPID: wire.GPID{AppID: 7, PartitionIndex: int32(i)}, Ballot: ballot}
		if ballot > 0 {
			p.Primary = serverAt(1, i)
			p.Secondaries = []netip.AddrPort{serverAt(2, i)}
		}
		answer.Partitions = append(answer.Partitions, p)
	}
	return answer
}

func serverAt(kind, i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(kind), byte(i)}), 34801)
}

// inApp changes the number of the table.
func inApp(app int32, answer *wire.QueryConfigResponse) *wire.QueryConfigResponse {
	answer.AppID = app
	for i := range answer.Partitions {
		answer.Partitions[i].GPID.AppID = app
	}
	return answer
}

func (r *Routing) ballots() (list []int64) {
	for _, p := range r.Partitions {
		list = append(list, p.Ballot)
	}
	return list
}

func mustRoute(t require.TestingT, pool *rpc.Pool, answer *wire.QueryConfigResponse) *Routing {
	r, err := newRouting(tableName, answer, pool)
	require.NoError(t, err)
	return r
}

func TestNewRouting(t *testing.T) {
	pool := nodes(t)
	answer := answered(3, 0)
	answer.Partitions[0].Secondaries = append(answer.Partitions[0].Secondaries, netip.AddrPort{}, serverAt(3, 0))
	answer.Partitions[0].SecondaryNames = []wire.HostPort{{}, {}, {}, {Host: "replica-9", Port: 1}}
	r := mustRoute(t, pool, answer)
	require.Equal(t, tableName, r.Table)
	require.EqualValues(t, 7, r.AppID)
	require.EqualValues(t, 1, r.Version)
	require.Equal(t, wire.GPID{AppID: 7, PartitionIndex: 0}, r.Partitions[0].GPID)
	require.Same(t, pool.Node("10.0.1.0:34801"), r.Partitions[0].Primary)
	require.Equal(t, []*rpc.Node{pool.Node("10.0.2.0:34801"), pool.Node("10.0.3.0:34801"), pool.Node("replica-9:1")},
		r.Partitions[0].Secondaries)
	require.Nil(t, r.Partitions[1].Primary, "a partition without primary is part of a valid table")
	require.True(t, r.Partitions[1].Trusted(), "there is nobody to doubt")
	_, p := r.Locate(1)
	require.Same(t, &r.Partitions[1], p)
}

// What a broken or hostile meta server can send.
func TestMalformedRouting(t *testing.T) {
	for name, edit := range map[string]func(a *wire.QueryConfigResponse){
		"no partitions":             func(a *wire.QueryConfigResponse) { a.Partitions, a.PartitionCount = nil, 0 },
		"no partitions but a count": func(a *wire.QueryConfigResponse) { a.Partitions = nil },
		"negative count":            func(a *wire.QueryConfigResponse) { a.PartitionCount = -4 },
		"count -1 and none":         func(a *wire.QueryConfigResponse) { a.Partitions, a.PartitionCount = nil, -1 },
		"huge count":                func(a *wire.QueryConfigResponse) { a.PartitionCount = math.MaxInt32 },
		"least count":               func(a *wire.QueryConfigResponse) { a.PartitionCount = math.MinInt32 },
		"count too small":           func(a *wire.QueryConfigResponse) { a.PartitionCount = 3 },
		"partition missing":         func(a *wire.QueryConfigResponse) { a.Partitions = a.Partitions[:3] },
		"partition missing inside": func(a *wire.QueryConfigResponse) {
			a.Partitions, a.PartitionCount = slices.Delete(a.Partitions, 1, 2), 3
		},
		"partition twice":         func(a *wire.QueryConfigResponse) { a.Partitions[2] = a.Partitions[1] },
		"partitions out of order": func(a *wire.QueryConfigResponse) { slices.Reverse(a.Partitions) },
		"partition of another":    func(a *wire.QueryConfigResponse) { a.Partitions[3].GPID.AppID = 8 },
		"negative index":          func(a *wire.QueryConfigResponse) { a.Partitions[0].GPID.PartitionIndex = -1 },
		"number 0":                func(a *wire.QueryConfigResponse) { inApp(0, a) },
		"negative number":         func(a *wire.QueryConfigResponse) { inApp(-7, a) },
		"more than anybody has": func(a *wire.QueryConfigResponse) {
			a.Partitions = make([]wire.PartitionConfiguration, maxPartitions+1)
			a.PartitionCount = maxPartitions + 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := answered(1, 1, 1, 1)
			edit(answer)
			r, err := newRouting(tableName, answer, nodes(t))
			require.Nil(t, r)
			require.ErrorIs(t, err, ErrRouting)
			require.ErrorContains(t, err, tableName)
		})
	}
}

// Who serves the keys of which partition, by the ballots: a child of a split that is not ready is
// represented by its parent, and nothing else is.
func TestLocate(t *testing.T) {
	for name, test := range map[string]struct{ ballots, serving []int64 }{
		"one":                        {[]int64{1}, []int64{0}},
		"one, negative":              {[]int64{-1}, []int64{0}},
		"two":                        {[]int64{1, 1}, []int64{0, 1}},
		"two, splitting":             {[]int64{1, -1}, []int64{0, 0}},
		"three":                      {[]int64{1, 1, 1}, []int64{0, 1, 2}},
		"three, negative":            {[]int64{1, -1, -1}, []int64{0, 1, 2}}, // an odd count comes from no split
		"four, splitting":            {[]int64{1, 1, -1, -1}, []int64{0, 1, 0, 1}},
		"four, half way":             {[]int64{1, 1, 4, -1}, []int64{0, 1, 2, 1}},
		"four, finished":             {[]int64{1, 1, 4, 4}, []int64{0, 1, 2, 3}},
		"four, no primary":           {[]int64{1, 0, 4, 0}, []int64{0, 1, 2, 3}},
		"four, negative lower half":  {[]int64{-1, -2, 1, 1}, []int64{0, 1, 2, 3}},
		"four, negative everywhere":  {[]int64{-1, -1, -1, math.MinInt64}, []int64{0, 1, 0, 1}},
		"six, splitting from three":  {[]int64{1, 1, 1, -1, 2, -1}, []int64{0, 1, 2, 0, 4, 2}},
		"ten, the last not yet":      {[]int64{1, 1, 1, 1, 1, 1, 1, 1, 1, -1}, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 4}},
		"eight of a table never led": {[]int64{0, 0, 0, 0, 0, 0, 0, 0}, []int64{0, 1, 2, 3, 4, 5, 6, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustRoute(t, nodes(t), answered(test.ballots...))
			count := uint64(len(test.ballots))
			for i, serving := range test.serving {
				for _, hash := range []uint64{uint64(i), uint64(i) + count, uint64(i) + count*1_000_003} {
					index, p := r.Locate(hash)
					require.Equal(t, i, index)
					require.Same(t, &r.Partitions[serving], p, "partition %d", i)
					require.EqualValues(t, serving, p.GPID.PartitionIndex)
				}
			}
			checkRouting(t, r)
		})
	}
}

// checkRouting checks what must hold of every routing.
func checkRouting(t require.TestingT, r *Routing) {
	count := len(r.Partitions)
	require.NotZero(t, count)
	require.Len(t, r.serving, count)
	for i := range r.Partitions {
		require.Equal(t, wire.GPID{AppID: r.AppID, PartitionIndex: int32(i)}, r.Partitions[i].GPID)
	}
	for _, hash := range []uint64{0, 1, uint64(count) - 1, uint64(count), math.MaxInt64, 1 << 63, math.MaxUint64} {
		index, p := r.Locate(hash)
		require.EqualValues(t, hash%uint64(count), index)
		want := index
		if half := count / 2; count%2 == 0 && index >= half && r.Partitions[index].Ballot < 0 {
			want = index - half
		}
		require.Same(t, &r.Partitions[want], p)
	}
}

// Which routing is left when another one comes.
func TestSuccession(t *testing.T) {
	for name, test := range map[string]struct {
		old, fresh        []int64
		believe           bool
		want              []int64
		wantOlder, noNews bool
	}{
		"same":                   {old: []int64{3, 3}, fresh: []int64{3, 3}, want: []int64{3, 3}, noNews: true},
		"newer":                  {old: []int64{3, 3}, fresh: []int64{4, 3}, want: []int64{4, 3}},
		"older":                  {old: []int64{3, 3}, fresh: []int64{3, 2}, want: []int64{3, 3}, wantOlder: true, noNews: true},
		"older believed":         {old: []int64{3, 3}, fresh: []int64{3, 2}, believe: true, want: []int64{3, 2}, wantOlder: true},
		"some of both":           {old: []int64{3, 3, 3}, fresh: []int64{2, 4, 3}, want: []int64{3, 4, 3}, wantOlder: true},
		"some of both, believed": {old: []int64{3, 3}, fresh: []int64{2, 4}, believe: true, want: []int64{2, 4}, wantOlder: true},
		"primary assigned":       {old: []int64{0, 0}, fresh: []int64{1, 0}, want: []int64{1, 0}},
		"split starts":           {old: []int64{3, 3}, fresh: []int64{3, 3, -1, -1}, want: []int64{3, 3, -1, -1}},
		"split, older parents":   {old: []int64{3, 3}, fresh: []int64{2, 2, -1, -1}, want: []int64{2, 2, -1, -1}},
		"child registers":        {old: []int64{3, -1}, fresh: []int64{4, 4}, want: []int64{4, 4}},
		"child no longer ready":  {old: []int64{4, 4}, fresh: []int64{4, -1}, want: []int64{4, 4}, wantOlder: true, noNews: true},
		"split is cancelled":     {old: []int64{3, 3, -1, -1}, fresh: []int64{3, 3}, want: []int64{3, 3}},
		"one from two":           {old: []int64{3, 3}, fresh: []int64{1}, want: []int64{1}},
		"three from two":         {old: []int64{3, 3}, fresh: []int64{1, 1, 1}, want: []int64{1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			pool := nodes(t)
			old, fresh := mustRoute(t, pool, answered(test.old...)), mustRoute(t, pool, answered(test.fresh...))
			old.Version = 41
			next, older, news := old.succeededBy(fresh, test.believe)
			require.Equal(t, test.want, next.ballots())
			require.Equal(t, test.wantOlder, older)
			require.Equal(t, test.noNews, !news)
			require.EqualValues(t, 42, next.Version)
			require.Equal(t, test.old, old.ballots(), "published is frozen")
			checkRouting(t, next)
		})
	}
}

// A table made anew replaces everything, whatever the ballots.
func TestNewTableReplacesTheOld(t *testing.T) {
	pool := nodes(t)
	old, fresh := mustRoute(t, pool, answered(9, 9)), mustRoute(t, pool, inApp(8, answered(1, 1)))
	next, older, news := old.succeededBy(fresh, false)
	require.EqualValues(t, 8, next.AppID)
	require.Equal(t, []int64{1, 1}, next.ballots())
	require.False(t, older)
	require.True(t, news)
	checkRouting(t, next)
}

// Same ballot, other servers: that is news too, though a sound meta server would not do so.
func TestOtherServersAreNews(t *testing.T) {
	pool := nodes(t)
	old := mustRoute(t, pool, answered(3))
	for _, edit := range []func(p *wire.PartitionConfiguration){
		func(p *wire.PartitionConfiguration) { p.Primary = serverAt(9, 9) },
		func(p *wire.PartitionConfiguration) { p.Primary = netip.AddrPort{} },
		func(p *wire.PartitionConfiguration) { p.Secondaries = nil },
	} {
		answer := answered(3)
		edit(&answer.Partitions[0])
		_, older, news := old.succeededBy(mustRoute(t, pool, answer), false)
		require.True(t, news)
		require.False(t, older)
	}
}

// Old answers do not replace newer routing, from whomever they come, but a meta server that insists is
// believed: its state may have been set back.
func TestRewindIsBelievedInTheEnd(t *testing.T) {
	pool := nodes(t)
	m, err := NewManager(nowhere, pool, Options{})
	require.NoError(t, err)
	table := &Table{manager: m, cell: snapshot.New(mustRoute(t, pool, answered(5, 5)))}
	install := func(ballots ...int64) bool {
		return table.install(mustRoute(t, pool, answered(ballots...)), ReasonAge)
	}
	ballots := func() []int64 { return table.Load().Value().ballots() }
	for range 10 { // two meta servers of different opinion
		require.False(t, install(4, 5))
		require.False(t, install(5, 5))
		require.Equal(t, []int64{5, 5}, ballots())
	}
	for range maxRewinds {
		require.False(t, install(2, 2))
		require.Equal(t, []int64{5, 5}, ballots())
	}
	require.True(t, install(2, 2))
	require.Equal(t, []int64{2, 2}, ballots())
	require.False(t, install(2, 2), "now it is the truth")
	require.True(t, install(3, 2))
	require.False(t, install(2, 2), "and is defended like any")
	require.Equal(t, []int64{3, 2}, ballots())
}

// With any answers, in any order: ballots grow, unless the answers insist on something older.
func TestRoutingModel(t *testing.T) {
	pool := nodes(t)
	m, err := NewManager(nowhere, pool, Options{})
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		ballots := rapid.SliceOfN(rapid.Int64Range(-1, 4), 1, 6)
		app := rapid.Int32Range(1, 2)
		table := &Table{manager: m, cell: snapshot.New(mustRoute(t, pool, inApp(app.Draw(t, "app"), answered(ballots.Draw(t, "ballots")...))))}
		olderInARow := 0
		for range rapid.IntRange(1, 30).Draw(t, "answers") {
			old := table.Load()
			before := old.Value().ballots()
			list := rapid.OneOf(ballots, rapid.SliceOfN(rapid.Int64Range(-1, 4), len(before), len(before))).Draw(t, "ballots")
			fresh := mustRoute(t, pool, inApp(app.Draw(t, "app"), answered(list...)))
			comparable := fresh.AppID == old.Value().AppID && len(list) == len(before)
			want, older := slices.Clone(list), false
			for i := range want {
				if comparable && want[i] < before[i] {
					older = true
					if olderInARow < maxRewinds {
						want[i] = before[i]
					}
				}
			}
			news := table.install(fresh, ReasonAge)
			next := table.Load().Value()
			require.Equal(t, want, next.ballots())
			require.Equal(t, fresh.AppID, next.AppID)
			require.Equal(t, news, table.Load() != old)
			require.Equal(t, news, !comparable || !slices.Equal(want, before))
			require.Equal(t, before, old.Value().ballots(), "published is frozen")
			checkRouting(t, next)
			if olderInARow++; !older {
				olderInARow = 0
			}
		}
	})
}

// FuzzNewRouting takes any bytes for the answer of a meta server.
func FuzzNewRouting(f *testing.F) {
	for _, answer := range []*wire.QueryConfigResponse{
		answered(1), answered(1, -1), answered(0, 0, 0), answered(1, 2, -1, -1), inApp(-1, answered(1)),
		{Error: wire.ErrForwardToOthers, Partitions: []wire.PartitionConfiguration{{PrimaryName: wire.HostPort{Host: "a", Port: 1}}}},
	} {
		f.Add(append(answer.AppendField(nil, 0), 0))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q := &configQuestion{table: tableName}
		if wire.DecodeResult(new(wire.Reader), body, &q.response) != nil {
			return
		}
		require.NotPanics(t, func() { _ = q.leader() })
		pool, err := rpc.NewPool(rpc.Options{})
		require.NoError(t, err)
		defer func() { require.NoError(t, pool.Close(t.Context())) }()
		r, err := newRouting(tableName, &q.response, pool)
		if err != nil {
			require.ErrorIs(t, err, ErrRouting)
			return
		}
		require.Equal(t, int(q.response.PartitionCount), len(r.Partitions))
		checkRouting(t, r)
		_, older, news := r.succeededBy(mustRoute(t, pool, &q.response), false)
		require.False(t, older || news, "the same again is nothing new")
		next, _, _ := mustRoute(t, pool, answered(1, 1)).succeededBy(r, false)
		checkRouting(t, next)
	})
}
