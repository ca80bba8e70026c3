package pegasus_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// row is a record of a table, as text.
type row struct{ hashKey, sortKey, value string }

// order is that of raw keys.
func (r row) order(other row) int {
	return cmp.Or(
		len(r.hashKey)-len(other.hashKey), strings.Compare(r.hashKey, other.hashKey),
		strings.Compare(r.sortKey, other.sortKey),
	)
}

func rowOf(r pegasus.ScanRecord) row {
	return row{string(r.HashKey), string(r.SortKey), string(r.Value)}
}

// load writes rows behind the client's back.
func (b *box) load(rows []row) {
	b.t.Helper()
	require.NoError(b.t, b.Load(tableName, len(rows), func(i int) (hashKey, sortKey, value []byte) {
		return []byte(rows[i].hashKey), []byte(rows[i].sortKey), []byte(rows[i].value)
	}))
}

// users returns rows of count hash keys of different lengths, with each sort keys each, in order.
func users(count, each int) []row {
	var rows []row
	for i := range count {
		for j := range each {
			rows = append(rows, row{fmt.Sprint("user ", i*i), fmt.Sprintf("%03d", j), fmt.Sprint("value ", i, j)})
		}
	}
	slices.SortFunc(rows, row.order)
	return rows
}

// drain returns what an iterator yields.
func drain(t testing.TB, seq iter.Seq2[pegasus.ScanRecord, error]) (rows []row) {
	t.Helper()
	for record, err := range seq {
		require.NoError(t, err)
		rows = append(rows, rowOf(record))
	}
	return rows
}

// rest returns what a scanner has yet to return.
func rest(t testing.TB, s *pegasus.Scanner) (rows []row) {
	t.Helper()
	for {
		record, err := s.Next(t.Context())
		if err == io.EOF { //nolint:errorlint // the very one
			return rows
		}
		require.NoError(t, err)
		rows = append(rows, rowOf(record))
	}
}

// take returns the next n records of a scanner.
func take(t testing.TB, s *pegasus.Scanner, n int) (rows []row) {
	t.Helper()
	for range n {
		record, err := s.Next(t.Context())
		require.NoError(t, err)
		rows = append(rows, rowOf(record))
	}
	return rows
}

// sorted returns rows in order. Scans of tables have none.
func sorted(rows []row) []row {
	slices.SortFunc(rows, row.order)
	return rows
}

func suffixes(rows []row) (sortKeys []string) {
	for _, r := range rows {
		sortKeys = append(sortKeys, r.sortKey)
	}
	return sortKeys
}

// TestDefect48ScanRanges has the ranges and filters of scans of one hash key; hash keys and patterns of
// all ones included, beyond which the end of a range lies in the length of the hash key.
func TestDefect48ScanRanges(t *testing.T) {
	all := []string{"", "\x00", "a", "ab", "b", "b\xff", "c", "\xff", "\xff\xff", "\xff\xff\xff"}
	type options = pegasus.ScanOptions
	prefix := func(pattern string) options {
		return options{SortKeyFilter: pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte(pattern)}}
	}
	tests := []struct {
		start, stop string
		options     options
		want        []string
	}{
		{"", "", options{}, all},
		{"", "", options{StartExclusive: true, StopInclusive: true}, all[1:]},
		{"a", "b", options{}, all[2:4]},
		{"a", "b", options{StartExclusive: true, StopInclusive: true}, all[3:5]},
		{"a", "a", options{}, nil},
		{"a", "a", options{StopInclusive: true}, all[2:3]},
		{"a", "a", options{StopInclusive: true, StartExclusive: true}, nil},
		{"c", "a", options{StopInclusive: true}, nil},
		{"aa", "bb", options{}, all[3:5]},
		{"\xff\xff", "", options{}, all[8:]},
		{"", "", prefix("b"), all[4:6]},
		{"", "", prefix("\xff"), all[7:]},
		{"", "", prefix("\xff\xff\xff\xff"), nil},
		{"b\x00", "", prefix("b"), all[5:6]},
		{"a", "b", prefix("a"), all[2:4]},
		{"", "ab", prefix("a"), all[2:3]},
		{"", "ab", options{StopInclusive: true, SortKeyFilter: prefix("a").SortKeyFilter}, all[2:4]},
		{"d", "", prefix("b"), nil},
		{"", "", options{SortKeyFilter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("b")}}, all[3:5]},
		{"", "", options{SortKeyFilter: pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("\xff")}},
			[]string{"b\xff", "\xff", "\xff\xff", "\xff\xff\xff"}},
	}
	for _, key := range []string{"h", "\xff", "\xff\xff\xff"} {
		inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 3}, func(t *testing.T, b *box) {
			rows := []row{{"g", "x", ""}, {"i", "", ""}, {"\xff\xff", "", ""}, {strings.Repeat("\x00", len(key)+1), "", ""}}
			for _, sortKey := range all {
				rows = append(rows, row{key, sortKey, "value of " + sortKey})
			}
			b.load(rows)
			for _, test := range tests {
				name := fmt.Sprintf("%q: %q to %q %+v", key, test.start, test.stop, test.options)
				for _, size := range []int{0, 1, 2} {
					o := test.options
					o.BatchSize = size
					found := drain(t, b.table.Scan(t.Context(), []byte(key), []byte(test.start), []byte(test.stop), &o))
					require.Equal(t, test.want, suffixes(found), name)
					for _, r := range found {
						require.Equal(t, row{key, r.sortKey, "value of " + r.sortKey}, r)
					}
					s, err := b.table.NewScanner([]byte(key), []byte(test.start), []byte(test.stop), &o)
					require.NoError(t, err)
					count, err := s.Count(t.Context())
					require.NoError(t, err)
					require.EqualValues(t, len(test.want), count, name)
				}
			}
		})
	}
}

// TestScanTable has tables of any partition count, scanned at once and by several.
func TestScanTable(t *testing.T) {
	for _, partitions := range []int{1, 3, 8} {
		for _, n := range []int{1, 2, 3, 100} {
			inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: partitions}, func(t *testing.T, b *box) {
				rows := append(users(40, 5), row{"", "no hash key", "1"}, row{"", "", "2"}, row{"\xff\xff", "\xff", "3"},
					row{strings.Repeat("\xff", 65534), "\xff", "4"})
				slices.SortFunc(rows, row.order)
				b.load(rows)
				require.Equal(t, rows, sorted(drain(t, b.table.ScanTable(t.Context(), nil))))
				count, err := b.table.CountTable(t.Context(), &pegasus.ScanOptions{BatchSize: 7})
				require.NoError(t, err)
				require.EqualValues(t, len(rows), count)

				scanners, err := b.table.TableScanners(n, &pegasus.ScanOptions{BatchSize: 3})
				require.NoError(t, err)
				require.Len(t, scanners, min(n, partitions))
				var found []row
				for _, s := range scanners {
					found = append(found, rest(t, s)...)
				}
				require.Equal(t, rows, sorted(found))
			})
		}
	}
}

func TestTableFilters(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		rows := users(30, 5)
		b.load(rows)
		filter := func(kind pegasus.FilterType, pattern string) pegasus.Filter {
			return pegasus.Filter{Type: kind, Pattern: []byte(pattern)}
		}
		for name, test := range map[string]struct {
			options pegasus.ScanOptions
			want    func(row) bool
		}{
			"hash key": {pegasus.ScanOptions{HashKeyFilter: filter(pegasus.FilterPrefix, "user 1"), BatchSize: 2},
				func(r row) bool { return strings.HasPrefix(r.hashKey, "user 1") }},
			"both": {pegasus.ScanOptions{HashKeyFilter: filter(pegasus.FilterPostfix, "1"), SortKeyFilter: filter(pegasus.FilterAnywhere, "3")},
				func(r row) bool { return strings.HasSuffix(r.hashKey, "1") && strings.Contains(r.sortKey, "3") }},
			"nothing": {pegasus.ScanOptions{SortKeyFilter: filter(pegasus.FilterAnywhere, "x")}, func(row) bool { return false }},
			"longest": {pegasus.ScanOptions{HashKeyFilter: filter(pegasus.FilterPrefix, strings.Repeat("\xff", 65534))},
				func(row) bool { return false }},
		} {
			var want []row
			for _, r := range rows {
				if test.want(r) {
					want = append(want, r)
				}
			}
			require.Equal(t, want, sorted(drain(t, b.table.ScanTable(t.Context(), &test.options))), name)
			count, err := b.table.CountTable(t.Context(), &test.options)
			require.NoError(t, err)
			require.EqualValues(t, len(want), count, name)
		}
	})
}

// TestScanRecords has what the options add to records and leave out.
func TestScanRecords(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		require.NoError(t, b.table.Set(ctx, hashKey, []byte("1"), []byte("value"), pegasus.WithTTL(time.Hour)))
		require.NoError(t, b.table.Set(ctx, hashKey, []byte("2"), nil))
		require.NoError(t, b.table.Set(ctx, hashKey, []byte("3"), []byte("gone"), pegasus.WithTTL(time.Minute)))
		ends := time.Now().Add(time.Hour).Truncate(time.Second)
		pass(2 * time.Minute)
		for _, options := range []*pegasus.ScanOptions{nil, {ReturnExpiry: true}, {NoValue: true}} {
			var found []pegasus.ScanRecord
			for record, err := range b.table.Scan(ctx, hashKey, nil, nil, options) {
				require.NoError(t, err)
				found = append(found, record)
			}
			want := []pegasus.ScanRecord{
				{HashKey: hashKey, SortKey: []byte("1"), Value: []byte("value")},
				{HashKey: hashKey, SortKey: []byte("2"), Value: []byte{}},
			}
			if options != nil && options.ReturnExpiry {
				want[0].ExpiresAt = ends
			}
			if options != nil && options.NoValue {
				want[0].Value, want[1].Value = nil, nil
			}
			require.Len(t, found, 2)
			require.True(t, want[0].ExpiresAt.Equal(found[0].ExpiresAt), "%v, %v", want[0].ExpiresAt, found[0].ExpiresAt)
			found[0].ExpiresAt = want[0].ExpiresAt
			require.Equal(t, want, found)
		}
	})
}

// Records are the caller's: what it does to one is not seen in another, nor does the scan mind.
func TestScanRecordsAreTheCallers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		rows := users(1, 20)
		b.load(rows)
		key, start := []byte("user 0"), []byte("000")
		s, err := b.table.NewScanner(key, start, nil, &pegasus.ScanOptions{BatchSize: 3})
		require.NoError(t, err)
		clear(key)
		clear(start)
		for _, want := range rows {
			record, err := s.Next(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, rowOf(record))
			for _, part := range [][]byte{record.HashKey, record.SortKey, record.Value} {
				_ = append(part, "overwritten"...)
				clear(part)
			}
		}
		require.Empty(t, rest(t, s))
	})
}

// TestScanRefusals has arguments that are refused before anything is sent, some of which would make
// servers abort (docs/protocol.md, requests that abort a server).
func TestScanRefusals(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		long := bytes.Repeat([]byte("k"), 65535)
		some := pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte("z")}
		type options = pegasus.ScanOptions
		for name, test := range map[string]struct {
			hashKey []byte
			options options
			want    error
		}{
			"no hash key":                  {nil, options{}, pegasus.ErrHashKeyEmpty},
			"hash key too long":            {long, options{}, pegasus.ErrHashKeyTooLong},
			"hash key filter":              {hashKey, options{HashKeyFilter: some}, pegasus.ErrInvalidArgument},
			"unknown sort key filter":      {hashKey, options{SortKeyFilter: pegasus.Filter{Type: 4}}, pegasus.ErrInvalidArgument},
			"negative filter":              {hashKey, options{SortKeyFilter: pegasus.Filter{Type: -1}}, pegasus.ErrInvalidArgument},
			"unknown hash key filter":      {hashKey, options{HashKeyFilter: pegasus.Filter{Type: 4}}, pegasus.ErrInvalidArgument},
			"hash key pattern is too long": {hashKey, options{HashKeyFilter: pegasus.Filter{Type: 2, Pattern: long}}, pegasus.ErrHashKeyTooLong},
			"negative batch":               {hashKey, options{BatchSize: -1}, pegasus.ErrInvalidArgument},
		} {
			_, err := b.table.NewScanner(test.hashKey, nil, nil, &test.options)
			require.ErrorIs(t, err, test.want, name)
			require.Equal(t, "scan", failed(t, err).Operation)
			require.Equal(t, pegasus.NotSent, failed(t, err).Outcome)
			for record, err := range b.table.Scan(t.Context(), test.hashKey, nil, nil, &test.options) {
				require.Zero(t, record)
				require.ErrorIs(t, err, test.want, name)
			}
			if test.options.HashKeyFilter.Type == pegasus.FilterNone {
				_, err = b.table.DelRange(t.Context(), test.hashKey, nil, nil, &pegasus.DelRangeOptions{
					SortKeyFilter: test.options.SortKeyFilter, BatchSize: test.options.BatchSize,
				})
				require.ErrorIs(t, err, test.want, name)
				require.Equal(t, "del range", failed(t, err).Operation)
			}
			if test.hashKey != nil && len(test.hashKey) < 100 && name != "hash key filter" {
				_, err := b.table.TableScanners(1, &test.options)
				require.ErrorIs(t, err, test.want, name)
				for _, err := range b.table.ScanTable(t.Context(), &test.options) {
					require.ErrorIs(t, err, test.want, name)
				}
				_, err = b.table.CountTable(t.Context(), &test.options)
				require.ErrorIs(t, err, test.want, name)
			}
		}
		for _, n := range []int{0, -1} {
			_, err := b.table.TableScanners(n, nil)
			require.ErrorIs(t, err, pegasus.ErrInvalidArgument)
		}
		require.Zero(t, b.requests(wire.GetScanner))
	})
}

// Ranges in which there can be nothing are answered without a server, which would not say that the scan
// is over.
func TestEmptyRangeIsAnsweredLocally(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.fill(10, 1)
		require.Empty(t, drain(t, b.table.Scan(t.Context(), hashKey, []byte("5"), []byte("5"), nil)))
		require.Empty(t, drain(t, b.table.Scan(t.Context(), hashKey, []byte("6"), []byte("5"), &pegasus.ScanOptions{StopInclusive: true})))
		require.Zero(t, b.requests(wire.GetScanner))
	})
}

// TestScanRequests has the flags that requests for batches carry.
func TestScanRequests(t *testing.T) {
	var seen []wire.GetScannerRequest
	withStub(t, func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		if methodOf(request.Name) == wire.GetScanner {
			var got wire.GetScannerRequest
			arguments(t, request, &got)
			for _, memory := range []*[]byte{&got.StartKey, &got.StopKey, &got.HashKeyPattern, &got.SortKeyPattern} {
				*memory = bytes.Clone(*memory)
			}
			seen = append(seen, got)
		}
		return "", &wire.ScanResponse{ContextID: wire.ScanComplete}
	}, func(t *testing.T, s *stub) {
		filter := pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("x")}
		require.Empty(t, drain(t, s.table.ScanTable(t.Context(), &pegasus.ScanOptions{
			HashKeyFilter: filter, SortKeyFilter: filter, BatchSize: math.MaxInt, ReturnExpiry: true,
			StartExclusive: true, StopInclusive: true,
		})))
		require.Empty(t, drain(t, s.table.Scan(t.Context(), []byte("h"), []byte("a"), []byte("b"), &pegasus.ScanOptions{
			SortKeyFilter: filter, BatchSize: 5, NoValue: true, StartExclusive: true, StopInclusive: true,
		})))
		require.Equal(t, []wire.GetScannerRequest{{
			StartKey: []byte{0, 0}, StopKey: []byte{0xff, 0xff}, StartInclusive: true, BatchSize: math.MaxInt32,
			HashKeyFilter: wire.FilterAnywhere, HashKeyPattern: []byte("x"),
			SortKeyFilter: wire.FilterAnywhere, SortKeyPattern: []byte("x"),
			ValidatePartitionHash: wire.Yes, ReturnExpiry: wire.Yes, FullScan: wire.Yes, OnlyCount: wire.No,
		}, {
			StartKey: []byte("\x00\x01ha"), StopKey: []byte("\x00\x01hb"), StopInclusive: true, BatchSize: 5, NoValue: true,
			HashKeyPattern: []byte{}, SortKeyFilter: wire.FilterAnywhere, SortKeyPattern: []byte("x"),
			ValidatePartitionHash: wire.No, ReturnExpiry: wire.No, FullScan: wire.No, OnlyCount: wire.No,
		}}, seen)
	})
}
