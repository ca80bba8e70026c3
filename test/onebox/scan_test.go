package onebox_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// scanBox has hash keys "" (eh), a, b, bb and cc with records s0, s1, s2 each, and two expired ones.
func scanBox(t *testing.T, config onebox.Config) *tester {
	x := newTesterOf(t, config, onebox.TableOptions{})
	x.set("", 0, "eh", "v")
	for _, hashKey := range []string{"a", "b", "bb", "cc"} {
		x.set(hashKey, 0, "s0", "v0", "s1", "v1", "s2", "v2")
	}
	x.set("b", x.now(), "s11", "expired")
	x.set("dd", x.now(), "s0", "expired")
	return x
}

// wholeHeader is that of scans of the whole partition.
func (x *tester) wholeHeader() wire.Header { return wire.Header{GPID: wire.GPID{AppID: x.appID}} }

func (x *tester) getScanner(in *wire.GetScannerRequest) wire.ScanResponse {
	x.box.t.Helper()
	var out wire.ScanResponse
	got := x.call(x.wholeHeader(), wire.GetScanner, in, &out)
	require.Equal(x.box.t, wire.ErrOK, got.Error)
	require.NotEmpty(x.box.t, out.Origin.Server)
	return out
}

func (x *tester) scan(id int64) wire.ScanResponse {
	x.box.t.Helper()
	var out wire.ScanResponse
	got := x.call(x.wholeHeader(), wire.Scan, &wire.ScanRequest{ContextID: id}, &out)
	require.Equal(x.box.t, wire.ErrOK, got.Error)
	return out
}

// recordNames returns "hashkey/sortkey" of raw keys.
func recordNames(t testing.TB, records []wire.KeyValue) string {
	t.Helper()
	var names []string
	for _, record := range records {
		hashKey, sortKey, err := wire.SplitKey(record.Key)
		require.NoError(t, err)
		names = append(names, fmt.Sprintf("%s/%s", hashKey, sortKey))
	}
	return strings.Join(names, " ")
}

// gone is the answer about a context that there is not.
func gone(t *testing.T, out wire.ScanResponse) {
	t.Helper()
	require.Equal(t, wire.StatusNotFound, out.Status)
	require.Zero(t, out.ContextID)
	require.Empty(t, out.Records)
}

func TestScanRanges(t *testing.T) {
	x := scanBox(t, onebox.Config{})
	const all = "/eh a/s0 a/s1 a/s2 b/s0 b/s1 b/s2 bb/s0 bb/s1 bb/s2 cc/s0 cc/s1 cc/s2"
	a0, a2, cc := rawKey("a", "s0"), rawKey("a", "s2"), rawKey("cc", "")
	type edit = func(*wire.GetScannerRequest)
	for name, test := range map[string]struct {
		edit edit
		want string
	}{
		"all":                         {func(*wire.GetScannerRequest) {}, all},
		"without full_scan from 0000": {func(in *wire.GetScannerRequest) { in.FullScan = wire.No }, all},
		"full_scan absent from 0000":  {func(in *wire.GetScannerRequest) { in.FullScan = wire.Absent }, all},
		"resumed":                     {func(in *wire.GetScannerRequest) { in.StartKey, in.StartInclusive = a0, false }, all[len("/eh a/s0 "):]},
		"resumed without full_scan":   {func(in *wire.GetScannerRequest) { in.StartKey, in.FullScan = a0, wire.No }, "a/s0 a/s1 a/s2"},
		"resumed, full_scan absent":   {func(in *wire.GetScannerRequest) { in.StartKey, in.FullScan = a0, wire.Absent }, "a/s0 a/s1 a/s2"},
		"no record at the start":      {func(in *wire.GetScannerRequest) { in.StartKey, in.StartInclusive = rawKey("b", "s00"), false }, "b/s1 b/s2 bb/s0 bb/s1 bb/s2 cc/s0 cc/s1 cc/s2"},
		"stop inclusive":              {func(in *wire.GetScannerRequest) { in.StopKey, in.StopInclusive = a2, true }, "/eh a/s0 a/s1 a/s2"},
		"stop exclusive":              {func(in *wire.GetScannerRequest) { in.StopKey = a2 }, "/eh a/s0 a/s1"},
		"hash keys with a part": {func(in *wire.GetScannerRequest) {
			in.HashKeyFilter, in.HashKeyPattern = wire.FilterAnywhere, []byte("b")
		}, "b/s0 b/s1 b/s2 bb/s0 bb/s1 bb/s2"},
		"hash keys with a prefix": {func(in *wire.GetScannerRequest) { in.HashKeyFilter, in.HashKeyPattern = wire.FilterPrefix, []byte("b") }, "b/s0 b/s1 b/s2 bb/s0 bb/s1 bb/s2"},
		"hash keys with a postfix": {func(in *wire.GetScannerRequest) {
			in.HashKeyFilter, in.HashKeyPattern = wire.FilterPostfix, []byte("c")
		}, "cc/s0 cc/s1 cc/s2"},
		"prefix behind the stop": {func(in *wire.GetScannerRequest) {
			in.HashKeyFilter, in.HashKeyPattern, in.StopKey = wire.FilterPrefix, []byte("cc"), cc
		}, ""},
		"sort keys with a postfix": {func(in *wire.GetScannerRequest) {
			in.SortKeyFilter, in.SortKeyPattern = wire.FilterPostfix, []byte("2")
		}, "a/s2 b/s2 bb/s2 cc/s2"},
		"both filters": {func(in *wire.GetScannerRequest) {
			in.HashKeyFilter, in.HashKeyPattern, in.SortKeyFilter, in.SortKeyPattern = wire.FilterPrefix, []byte("b"), wire.FilterAnywhere, []byte("1")
		}, "b/s1 bb/s1"},
		"filters with empty patterns": {func(in *wire.GetScannerRequest) {
			in.HashKeyFilter, in.SortKeyFilter = wire.FilterPrefix, wire.FilterPostfix
		}, all},
		"prefix within one hash key": {func(in *wire.GetScannerRequest) {
			in.StartKey, in.FullScan, in.HashKeyFilter, in.HashKeyPattern = a0, wire.No, wire.FilterPrefix, []byte("a")
		}, "a/s0 a/s1 a/s2"},
		"prefix moves the start": {func(in *wire.GetScannerRequest) {
			in.StartInclusive, in.HashKeyFilter, in.HashKeyPattern = false, wire.FilterPrefix, []byte("a")
		}, "a/s0 a/s1 a/s2"},
		"hash key without any records": {func(in *wire.GetScannerRequest) { in.StartKey, in.FullScan = rawKey("zz", ""), wire.No }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := wholePartition()
			test.edit(in)
			out := x.getScanner(in)
			require.Equal(t, wire.StatusOK, out.Status)
			require.Equal(t, test.want, recordNames(t, out.Records))
			if name == "prefix behind the stop" {
				require.Zero(t, out.ContextID, "an empty range")
			} else {
				require.Equal(t, wire.ScanComplete, out.ContextID)
			}
		})
	}
}

func TestScanOfNothing(t *testing.T) {
	x := scanBox(t, onebox.Config{})
	for name, edit := range map[string]func(in *wire.GetScannerRequest){
		"inverted": func(in *wire.GetScannerRequest) { in.StartKey, in.StopKey = rawKey("b", ""), rawKey("a", "") },
		"one, start outside": func(in *wire.GetScannerRequest) {
			in.StopKey, in.StartInclusive, in.StopInclusive = in.StartKey, false, true
		},
		"one, stop outside": func(in *wire.GetScannerRequest) { in.StopKey = in.StartKey },
	} {
		in := wholePartition()
		in.OnlyCount = wire.Yes
		edit(in)
		out := x.getScanner(in)
		out.Origin = wire.Origin{}
		require.Equal(t, wire.ScanResponse{Records: []wire.KeyValue{}}, out, name+": not even a count")
		gone(t, x.scan(0))
	}
	for _, edit := range []func(in *wire.GetScannerRequest){
		func(in *wire.GetScannerRequest) { in.HashKeyFilter = 4 },
		func(in *wire.GetScannerRequest) { in.SortKeyFilter = -1 },
	} {
		in := wholePartition()
		edit(in)
		out := x.getScanner(in)
		out.Origin = wire.Origin{}
		require.Equal(t, wire.ScanResponse{Status: wire.StatusInvalidArgument, Records: []wire.KeyValue{}}, out)
	}
}

func TestScanFlags(t *testing.T) {
	x := newTester(t)
	x.set("a", 0, "s", "forever")
	x.set("a", x.now()+60, "t", "for a minute")
	in := wholePartition()
	plain := x.getScanner(in)
	require.Equal(t, []wire.KeyValue{
		{Key: rawKey("a", "s"), Value: []byte("forever")}, {Key: rawKey("a", "t"), Value: []byte("for a minute")},
	}, plain.Records)
	require.False(t, plain.HasCount)

	in.NoValue, in.ReturnExpiry = true, wire.Yes
	require.Equal(t, []wire.KeyValue{
		{Key: rawKey("a", "s"), Value: []byte{}, HasExpiry: true},
		{Key: rawKey("a", "t"), Value: []byte{}, HasExpiry: true, ExpireSeconds: x.now() + 60},
	}, x.getScanner(in).Records)

	in.OnlyCount = wire.Yes
	counted := x.getScanner(in)
	require.Empty(t, counted.Records)
	require.True(t, counted.HasCount)
	require.EqualValues(t, 2, counted.Count)
}

// Every record comes once, whatever the batch size.
func TestScanBatches(t *testing.T) {
	x := scanBox(t, onebox.Config{})
	whole := recordNames(t, x.getScanner(wholePartition()).Records)
	for batch := range int32(16) {
		in := wholePartition()
		in.BatchSize = batch
		out := x.getScanner(in)
		names := []string{recordNames(t, out.Records)}
		for out.ContextID != wire.ScanComplete {
			require.LessOrEqual(t, len(out.Records), int(batch))
			out = x.scan(out.ContextID)
			require.Equal(t, wire.StatusOK, out.Status)
			if len(out.Records) > 0 {
				names = append(names, recordNames(t, out.Records))
			}
		}
		require.Equal(t, whole, strings.Join(names, " "), "%d", batch)
	}
}

// get_scanner examines 1000 records, scan no more than a batch has, matching or not.
func TestScanExaminesSoManyRecords(t *testing.T) {
	x := newTester(t)
	x.fill("big", 3300)
	counts := func(edit func(in *wire.GetScannerRequest)) (counts []int) {
		in := wholePartition()
		edit(in)
		out := x.getScanner(in)
		counts = append(counts, int(out.Count)+len(out.Records))
		for out.ContextID != wire.ScanComplete {
			out = x.scan(out.ContextID)
			counts = append(counts, int(out.Count)+len(out.Records))
		}
		return counts
	}
	require.Equal(t, []int{1000, 1000, 1000, 300}, counts(func(in *wire.GetScannerRequest) { in.BatchSize, in.OnlyCount = 2000, wire.Yes }))
	require.Equal(t, []int{1000, 1000, 1000, 300}, counts(func(in *wire.GetScannerRequest) { in.BatchSize = -1 }))
	require.Equal(t, []int{0, 0, 0, 0, 0, 1}, counts(func(in *wire.GetScannerRequest) {
		in.BatchSize, in.SortKeyFilter, in.SortKeyPattern = 500, wire.FilterPostfix, []byte("3299")
	}))
}

func TestScanTimeLimit(t *testing.T) {
	x := newTester(t)
	x.fill("big", 1000)
	x.LimitIterations(100)
	in := wholePartition()
	in.BatchSize = 50
	first := x.getScanner(in)
	require.Equal(t, wire.StatusOK, first.Status)
	require.Len(t, first.Records, 50)
	require.Len(t, x.scan(first.ContextID).Records, 50)

	in.SortKeyFilter, in.SortKeyPattern = wire.FilterPostfix, []byte("9")
	late := x.getScanner(in)
	require.Equal(t, wire.StatusIncomplete, late.Status)
	require.Len(t, late.Records, 10, "what was found")
	require.Zero(t, late.ContextID)
	in.OnlyCount = wire.Yes
	late = x.getScanner(in)
	require.Equal(t, wire.StatusIncomplete, late.Status)
	require.EqualValues(t, 10, late.Count)

	in.StopKey = rawKey("big", "s0100")
	require.Equal(t, wire.StatusIncomplete, x.getScanner(in).Status, "the end of the range was not seen")
	in.StopKey, in.StopInclusive = rawKey("big", "s0099"), true
	require.Equal(t, wire.StatusOK, x.getScanner(in).Status)
	x.LimitIterations(0)
	in.StopKey = []byte{0xff, 0xff}
	require.Equal(t, wire.StatusOK, x.getScanner(in).Status)
}

// begin starts a scan that is not complete.
func (x *tester) begin() wire.ScanResponse {
	x.box.t.Helper()
	in := wholePartition()
	in.BatchSize = 2
	out := x.getScanner(in)
	require.NotContains(x.box.t, []int64{wire.ScanComplete, wire.ScanNoContext}, out.ContextID)
	return out
}

func TestContextsAreUsedOnce(t *testing.T) {
	x := scanBox(t, onebox.Config{})
	first := x.begin()
	second := x.scan(first.ContextID)
	require.Equal(t, first.ContextID+1, second.ContextID)
	gone(t, x.scan(first.ContextID))
	require.Equal(t, "b/s0 b/s1", recordNames(t, x.scan(second.ContextID).Records))

	cleared := x.begin()
	x.send(x.wholeHeader(), wire.ClearScanner, wire.Int64(cleared.ContextID))
	gone(t, x.scan(cleared.ContextID))
	for _, never := range []int64{wire.ScanComplete, wire.ScanNoContext, 12345} {
		gone(t, x.scan(never))
	}
}

func TestContextsLiveForFiveMinutes(t *testing.T) {
	x := scanBox(t, onebox.Config{})
	short, long, other := x.begin(), x.begin(), x.begin()
	x.advance(5*time.Minute - time.Second)
	renewed := x.scan(short.ContextID)
	require.Equal(t, wire.StatusOK, renewed.Status)
	x.advance(time.Second)
	gone(t, x.scan(long.ContextID))
	require.Equal(t, wire.StatusOK, x.scan(renewed.ContextID).Status, "counted from the last reply")
	x.begin() // drops what is over
	gone(t, x.scan(other.ContextID))
}

func TestContextsReadASnapshot(t *testing.T) {
	x := scanBox(t, onebox.Config{})
	old := x.begin()
	x.set("b", 0, "s0", "changed")
	x.set("a", 0, "s3", "added")
	x.do("cc", wire.MultiRemove, &wire.MultiRemoveRequest{HashKey: []byte("cc"), SortKeys: blobs("s0", "s1", "s2")}, nil)
	var names, values []string
	for out := x.scan(old.ContextID); ; out = x.scan(out.ContextID) {
		names = append(names, recordNames(t, out.Records))
		for _, record := range out.Records {
			values = append(values, string(record.Value))
		}
		if out.ContextID == wire.ScanComplete {
			break
		}
	}
	require.Equal(t, "a/s1 a/s2 b/s0 b/s1 b/s2 bb/s0 bb/s1 bb/s2 cc/s0 cc/s1 cc/s2", strings.TrimSpace(strings.Join(names, " ")))
	require.NotContains(t, values, "changed")

	require.Equal(t, "/eh a/s0 a/s1 a/s2 a/s3 b/s0 b/s1 b/s2 bb/s0 bb/s1 bb/s2", recordNames(t, x.getScanner(wholePartition()).Records))
}

// A context belongs to a replica on one life of a server; connections do not matter.
func TestContextsAndTheirServer(t *testing.T) {
	x := scanBox(t, onebox.Config{FailoverDelay: -1})
	id := x.begin().ContextID
	x.client = dial(t, x.Cluster, x.Replica(0))
	id = x.scan(id).ContextID

	require.NoError(t, x.MovePrimary(tableName, 0, 1))
	got := x.call(x.wholeHeader(), wire.Scan, &wire.ScanRequest{ContextID: id}, nil)
	require.Equal(t, wire.ErrInvalidState, got.Error)
	got = x.call(x.wholeHeader(), wire.ClearScanner, wire.Int64(id), nil)
	require.Equal(t, wire.ErrInvalidState, got.Error, "gates answer clear_scanner")
	x.client = dial(t, x.Cluster, x.Replica(1))
	gone(t, x.scan(id))

	id = x.begin().ContextID
	x.Replica(1).Kill()
	x.Replica(1).Restart()
	require.NoError(t, x.MovePrimary(tableName, 0, 1))
	x.client = dial(t, x.Cluster, x.Replica(1))
	gone(t, x.scan(id))
}

// About half of the replicas have negative ids, and no two the same.
func TestFirstContexts(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 64})
	require.NoError(t, b.Load(tableName, 2000, func(i int) (_, _, _ []byte) { return fmt.Append(nil, i), nil, nil }))
	seen, negative := map[int64]bool{}, 0
	for index := range b.partitions {
		in := wholePartition()
		in.BatchSize = 1
		var out wire.ScanResponse
		c := dial(t, b.Cluster, b.Primary(tableName, index))
		header := wire.Header{GPID: wire.GPID{AppID: b.appID, PartitionIndex: int32(index)}, PartitionHash: uint64(index)}
		c.call(header, wire.GetScanner, in, &out)
		require.Zero(t, out.ContextID&(1<<32-1))
		require.False(t, seen[out.ContextID])
		if seen[out.ContextID] = true; out.ContextID < 0 {
			negative++
		}
	}
	require.InDelta(t, 32, negative, 25)
}

func TestFirstContextCanBeChosen(t *testing.T) {
	chosen := func(*onebox.Node, wire.GPID) int64 { return -3 }
	x := scanBox(t, onebox.Config{FirstContext: chosen})
	require.EqualValues(t, -3, x.begin().ContextID)
	require.EqualValues(t, -2, x.begin().ContextID)
}
