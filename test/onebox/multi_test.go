package onebox_test

import (
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// multiBox has the records of hash key "mg": an empty sort key, a, ab, b, bx (expired), c, d, e.
func multiBox(t *testing.T) *tester {
	x := newTester(t)
	x.set("mg", 0, "", "v", "a", "1", "ab", "2", "b", "3", "c", "4", "d", "5", "e", "6")
	x.set("mg", x.now(), "bx", "expired")
	x.set("mf", 0, "z", "before")
	x.set("mh", 0, "", "after")
	return x
}

func (x *tester) multiGet(in wire.MultiGetRequest) (wire.Status, []wire.KeyValue) {
	x.box.t.Helper()
	if in.HashKey == nil {
		in.HashKey = []byte("mg")
	}
	var out wire.MultiGetResponse
	x.do(string(in.HashKey), wire.MultiGet, &in, &out)
	require.NotEmpty(x.box.t, out.Origin.Server)
	return out.Status, out.Records
}

func TestMultiGetOfKeys(t *testing.T) {
	x := multiBox(t)
	ok, incomplete := wire.StatusOK, wire.StatusIncomplete
	for name, test := range map[string]struct {
		keys           string
		count, size    int32
		noValue        bool
		status         wire.Status
		want           string
		ignoredOptions bool
	}{
		"request order":        {keys: "d,nope,a,bx,a,", status: ok, want: "d,a,a,"},
		"all absent":           {keys: "x,y", status: ok},
		"count":                {keys: "a,b,c", count: 2, status: incomplete, want: "a,b"},
		"count exact":          {keys: "a,b", count: 2, status: ok, want: "a,b"},
		"count, absent behind": {keys: "a,b,nope,bx", count: 2, status: ok, want: "a,b"},
		"size is overshot":     {keys: "a,b,c", size: 3, status: incomplete, want: "a,b"},
		"size exact":           {keys: "a,b,c", size: 2, status: incomplete, want: "a"},
		"size without values":  {keys: "a,b,c", size: 2, noValue: true, status: incomplete, want: "a,b"},
		"negative limits":      {keys: "a,b", count: -1, size: -1, status: ok, want: "a,b"},
		"range is ignored":     {keys: "a,e", status: ok, want: "a,e", ignoredOptions: true},
	} {
		in := wire.MultiGetRequest{SortKeys: blobs(strings.Split(test.keys, ",")...), MaxCount: test.count, MaxSize: test.size, NoValue: test.noValue}
		if test.ignoredOptions {
			in.StartSortKey, in.Reverse, in.Filter, in.FilterPattern = []byte("b"), true, wire.FilterPrefix, []byte("zz")
		}
		status, records := x.multiGet(in)
		require.Equal(t, test.status, status, name)
		require.Equal(t, test.want, strings.Join(keysOf(records), ","), name)
		for _, record := range records {
			require.Equal(t, test.noValue, len(record.Value) == 0, name)
		}
	}
}

func TestMultiGetOfRange(t *testing.T) {
	x := multiBox(t)
	ok, incomplete := wire.StatusOK, wire.StatusIncomplete
	const all = ",a,ab,b,c,d,e"
	type request = wire.MultiGetRequest
	for name, test := range map[string]struct {
		in     request
		bounds string // "[" or "(", start, "..", stop, "]" or ")"
		status wire.Status
		want   string
	}{
		"all":                               {request{}, "[..)", ok, all},
		"stop inclusive without stop":       {request{}, "[..]", ok, all},
		"start exclusive without start":     {request{}, "(..)", ok, "a,ab,b,c,d,e"},
		"stop exclusive":                    {request{}, "[a..c)", ok, "a,ab,b"},
		"stop inclusive":                    {request{}, "[a..c]", ok, "a,ab,b,c"},
		"start exclusive":                   {request{}, "(a..c]", ok, "ab,b,c"},
		"one":                               {request{}, "[b..b]", ok, "b"},
		"one, exclusive":                    {request{}, "[b..b)", ok, ""},
		"inverted":                          {request{}, "[d..a]", ok, ""},
		"between records":                   {request{}, "[aa..bb]", ok, "ab,b"},
		"other hash key":                    {request{HashKey: []byte("none"), MaxCount: 1}, "[..)", ok, ""},
		"anywhere":                          {request{Filter: wire.FilterAnywhere, FilterPattern: []byte("b")}, "[..)", ok, "ab,b"},
		"prefix":                            {request{Filter: wire.FilterPrefix, FilterPattern: []byte("a")}, "[..)", ok, "a,ab"},
		"prefix, limit at its end":          {request{Filter: wire.FilterPrefix, FilterPattern: []byte("a"), MaxCount: 2}, "[..)", incomplete, "a,ab"},
		"prefix outside":                    {request{Filter: wire.FilterPrefix, FilterPattern: []byte("a")}, "[c..)", ok, ""},
		"prefix makes the start inclusive":  {request{Filter: wire.FilterPrefix, FilterPattern: []byte("a")}, "(..)", ok, "a,ab"},
		"prefix leaves a later start":       {request{Filter: wire.FilterPrefix, FilterPattern: []byte("a")}, "(a..)", ok, "ab"},
		"postfix":                           {request{Filter: wire.FilterPostfix, FilterPattern: []byte("b")}, "[..)", ok, "ab,b"},
		"empty pattern":                     {request{Filter: wire.FilterPostfix, MaxCount: 1}, "[..)", incomplete, ""},
		"filter 4":                          {request{Filter: 4}, "[..)", wire.StatusInvalidArgument, ""},
		"filter -1":                         {request{Filter: -1}, "[..)", wire.StatusInvalidArgument, ""},
		"count":                             {request{MaxCount: 2}, "[..)", incomplete, ",a"},
		"count at the end of the hash key":  {request{MaxCount: 2}, "[d..)", ok, "d,e"},
		"count at an exclusive stop":        {request{MaxCount: 3}, "[a..c)", incomplete, "a,ab,b"},
		"count at an inclusive stop":        {request{MaxCount: 3}, "[a..b]", ok, "a,ab,b"},
		"count before an absent stop":       {request{MaxCount: 3}, "[a..ba]", incomplete, "a,ab,b"},
		"size":                              {request{MaxSize: 3}, "[..)", incomplete, ",a"},
		"size exact":                        {request{MaxSize: 1}, "[..)", incomplete, ""},
		"size without values":               {request{MaxSize: 2, NoValue: true}, "[..)", incomplete, ",a,ab"},
		"negative limits":                   {request{MaxCount: -1, MaxSize: -1}, "[..)", ok, all},
		"reverse":                           {request{Reverse: true}, "[..)", ok, all},
		"reverse, exclusive":                {request{Reverse: true}, "(a..d)", ok, "ab,b,c"},
		"reverse count":                     {request{Reverse: true, MaxCount: 2}, "[..)", incomplete, "d,e"},
		"reverse count at inclusive start":  {request{Reverse: true, MaxCount: 2}, "[d..)", ok, "d,e"},
		"reverse count at exclusive start":  {request{Reverse: true, MaxCount: 2}, "(c..)", incomplete, "d,e"},
		"reverse count above absent start":  {request{Reverse: true, MaxCount: 2}, "[cc..)", incomplete, "d,e"},
		"reverse count, all":                {request{Reverse: true, MaxCount: 7}, "[..)", ok, all},
		"reverse count, another before it":  {request{Reverse: true, MaxCount: 6}, "(..)", incomplete, "a,ab,b,c,d,e"},
		"reverse, first of the partition":   {request{HashKey: []byte("mf"), Reverse: true, MaxCount: 1}, "[a..)", ok, "z"},
		"reverse with prefix":               {request{Reverse: true, Filter: wire.FilterPrefix, FilterPattern: []byte("a")}, "[..)", ok, "a,ab"},
		"reverse size is that from the end": {request{Reverse: true, MaxSize: 3}, "[..)", incomplete, "d,e"},
	} {
		t.Run(name, func(t *testing.T) {
			start, stop, _ := strings.Cut(test.bounds[1:len(test.bounds)-1], "..")
			in := test.in
			in.StartSortKey, in.StopSortKey = []byte(start), []byte(stop)
			in.StartInclusive, in.StopInclusive = test.bounds[0] == '[', strings.HasSuffix(test.bounds, "]")
			status, records := x.multiGet(in)
			require.Equal(t, test.status, status)
			require.Equal(t, test.want, strings.Join(keysOf(records), ","))
			for _, record := range records {
				require.Equal(t, in.NoValue, len(record.Value) == 0)
				require.False(t, record.HasExpiry)
			}
		})
	}
}

func TestMultiGetLimitsOfServers(t *testing.T) {
	x := newTester(t)
	x.fill("big", 3300)
	big := []byte("big")
	status, records := x.multiGet(wire.MultiGetRequest{HashKey: big, MaxCount: 3200})
	require.Equal(t, wire.StatusIncomplete, status)
	require.Len(t, records, 3000)

	none := wire.MultiGetRequest{HashKey: big, Filter: wire.FilterPostfix, FilterPattern: []byte("zzz")}
	status, records = x.multiGet(none)
	require.Equal(t, wire.StatusIncomplete, status, "3000 examined")
	require.Empty(t, records)

	few := wire.MultiGetRequest{HashKey: big, Filter: wire.FilterPostfix, FilterPattern: []byte("999"), StartSortKey: []byte("s0300"), StartInclusive: true}
	status, records = x.multiGet(few)
	require.Equal(t, wire.StatusOK, status, "exactly 3000 to the end of the hash key")
	require.Len(t, records, 3)

	var keys [][]byte
	for _, record := range records {
		for range 1001 {
			keys = append(keys, record.Key)
		}
	}
	status, records = x.multiGet(wire.MultiGetRequest{HashKey: big, SortKeys: keys})
	require.Equal(t, wire.StatusIncomplete, status)
	require.Len(t, records, 3000)

	x.LimitIterations(100)
	status, records = x.multiGet(wire.MultiGetRequest{HashKey: big})
	require.Equal(t, wire.StatusIncomplete, status, "out of time")
	require.Len(t, records, 100)
	x.LimitIterations(0)
}

func TestMultiGetSizeLimitOfServers(t *testing.T) {
	x := newTester(t)
	large := make([]byte, 1<<20-100)
	require.NoError(t, x.Load(tableName, 40, func(i int) (_, _, _ []byte) { return []byte("l"), []byte{byte(i)}, large }))
	status, records := x.multiGet(wire.MultiGetRequest{HashKey: []byte("l")})
	require.Equal(t, wire.StatusIncomplete, status)
	require.Len(t, records, 31, "the first 30 are a little less than 30 MiB")
}

func TestSortKeyCount(t *testing.T) {
	x := multiBox(t)
	x.fill("big", 3300)
	count := func(hashKey string) int64 {
		var out wire.CountResponse
		x.do(hashKey, wire.SortKeyCount, wire.Blob(hashKey), &out)
		require.Equal(t, wire.StatusOK, out.Status)
		return out.Count
	}
	require.EqualValues(t, 7, count("mg"), "expired records do not count")
	require.EqualValues(t, 0, count("none"))
	require.EqualValues(t, 0, count(""))
	require.EqualValues(t, 3300, count("big"), "no limit")
	x.LimitIterations(3000)
	require.EqualValues(t, -1, count("big"), "out of time")
	require.EqualValues(t, 7, count("mg"))
}

func TestBatchGet(t *testing.T) {
	x := multiBox(t)
	batchGet := func(hashKey string, keys ...wire.FullKey) (wire.Status, []wire.FullData) {
		var out wire.BatchGetResponse
		x.do(hashKey, wire.BatchGet, &wire.BatchGetRequest{Keys: keys}, &out)
		return out.Status, out.Records
	}
	key := func(hashKey, sortKey string) wire.FullKey {
		return wire.FullKey{HashKey: []byte(hashKey), SortKey: []byte(sortKey)}
	}
	status, records := batchGet("mg")
	require.Equal(t, wire.StatusInvalidArgument, status)
	require.Empty(t, records)
	for _, any := range []string{"mg", "mf"} {
		status, records = batchGet(any, key("mg", "e"), key("mf", "z"), key("mg", "bx"), key("x", "x"), key("mg", "e"))
		require.Equal(t, wire.StatusOK, status)
		got := []string{}
		for _, record := range records {
			got = append(got, string(record.HashKey)+"/"+string(record.SortKey)+"="+string(record.Value))
		}
		require.Equal(t, []string{"mg/e=6", "mf/z=before", "mg/e=6"}, got)
	}
	status, _ = batchGet("x", key("x", "x"))
	require.Equal(t, wire.StatusOK, status)
}

func TestMultiPutAndRemove(t *testing.T) {
	x := newTester(t)
	x.set("m", 0, "a", "1", "b", "2", "a", "3")
	require.Equal(t, "3", x.value("m", "a"), "the last of duplicates wins")
	x.set("m", x.now()+60, "t", "", "u", "")
	require.EqualValues(t, 60, x.ttl("m", "u"))

	var removed wire.MultiRemoveResponse
	x.do("m", wire.MultiRemove, &wire.MultiRemoveRequest{HashKey: []byte("m"), SortKeys: blobs("a", "nope", "a"), MaxCount: 1}, &removed)
	removed.Origin = wire.Origin{}
	require.Equal(t, wire.MultiRemoveResponse{Count: 3, Decree: 3}, removed, "absent and repeated ones count as well")
	require.Equal(t, "-", x.value("m", "a"))
	require.Equal(t, "2", x.value("m", "b"))

	// An empty list fails, but takes a place in the log.
	x.do("m", wire.MultiRemove, &wire.MultiRemoveRequest{HashKey: []byte("m")}, &removed)
	removed.Origin = wire.Origin{}
	require.Equal(t, wire.MultiRemoveResponse{Status: wire.StatusInvalidArgument, Decree: 4}, removed)
	var put wire.UpdateResponse
	x.do("m", wire.MultiPut, &wire.MultiPutRequest{HashKey: []byte("m")}, &put)
	require.Equal(t, wire.StatusInvalidArgument, put.Status)
	require.EqualValues(t, 5, put.Decree)
}

// Records that expire at the same time are there together or not at all, even while the clock moves on: a
// request knows one time.
func TestRecordsExpireTogether(t *testing.T) {
	x := newTester(t)
	x.set("m", x.now()+10, "a", "1", "b", "2")
	x.ticks.Store(true)
	seen := map[int]bool{}
	for range 20 {
		var out wire.MultiGetResponse
		x.do("m", wire.MultiGet, &wire.MultiGetRequest{HashKey: []byte("m"), SortKeys: [][]byte{[]byte("a"), []byte("b")}}, &out)
		seen[len(out.Records)] = true
	}
	require.Equal(t, map[int]bool{2: true, 0: true}, seen)
}
