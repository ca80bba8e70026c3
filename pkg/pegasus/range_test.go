package pegasus_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// letters has the records "", "a" to "e", "ea" and "\xff\xff" under the hash key, and others beside it.
func (b *box) letters() {
	b.t.Helper()
	ctx := b.t.Context()
	require.NoError(b.t, b.table.MultiSet(ctx, hashKey, records("", "0", "a", "1", "b", "2", "c", "3", "d", "", "e", "5", "ea", "6", "\xff\xff", "7")))
	for _, neighbour := range []string{"hasg", "hasi", "has", "hash1"} {
		require.NoError(b.t, b.table.MultiSet(ctx, []byte(neighbour), records("", "x", "b", "x", "\xff", "x")))
	}
}

func TestMultiGetRange(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.letters()
		prefix := func(pattern string) pegasus.Filter {
			return pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte(pattern)}
		}
		for name, r := range map[string]struct {
			start, stop string
			options     pegasus.RangeOptions
			want        []string
			more        bool
		}{
			"all":                    {want: []string{"", "a", "b", "c", "d", "e", "ea", "\xff\xff"}},
			"all but the empty one":  {options: pegasus.RangeOptions{StartExclusive: true}, want: []string{"a", "b", "c", "d", "e", "ea", "\xff\xff"}},
			"from, up to":            {start: "b", stop: "d", want: []string{"b", "c"}},
			"after, up to":           {start: "b", stop: "d", options: pegasus.RangeOptions{StartExclusive: true}, want: []string{"c"}},
			"from, with":             {start: "b", stop: "d", options: pegasus.RangeOptions{StopInclusive: true}, want: []string{"b", "c", "d"}},
			"one":                    {start: "b", stop: "b", options: pegasus.RangeOptions{StopInclusive: true}, want: []string{"b"}},
			"nothing":                {start: "b", stop: "b"},
			"upside down":            {start: "d", stop: "b", options: pegasus.RangeOptions{StopInclusive: true}},
			"from":                   {start: "ea", want: []string{"ea", "\xff\xff"}},
			"the end is meant":       {start: "ea", options: pegasus.RangeOptions{StopInclusive: true}, want: []string{"ea", "\xff\xff"}},
			"between":                {start: "aa", stop: "bb", want: []string{"b"}},
			"first":                  {options: pegasus.RangeOptions{MaxCount: 3}, want: []string{"", "a", "b"}, more: true},
			"last":                   {options: pegasus.RangeOptions{MaxCount: 3, Reverse: true}, want: []string{"e", "ea", "\xff\xff"}, more: true},
			"last in":                {start: "b", stop: "d", options: pegasus.RangeOptions{MaxCount: 1, Reverse: true, StopInclusive: true}, want: []string{"d"}, more: true},
			"bytes":                  {start: "a", options: pegasus.RangeOptions{MaxBytes: 3}, want: []string{"a", "b"}, more: true},
			"keys of three bytes":    {start: "a", options: pegasus.RangeOptions{MaxBytes: 3, NoValue: true}, want: []string{"a", "b", "c"}, more: true},
			"large limits":           {start: "e", options: pegasus.RangeOptions{MaxCount: math.MaxInt, MaxBytes: math.MaxInt}, want: []string{"e", "ea", "\xff\xff"}},
			"prefix":                 {options: pegasus.RangeOptions{Filter: prefix("e")}, want: []string{"e", "ea"}},
			"prefix of ones":         {options: pegasus.RangeOptions{Filter: prefix("\xff")}, want: []string{"\xff\xff"}},
			"empty prefix":           {start: "e", options: pegasus.RangeOptions{Filter: prefix("")}, want: []string{"e", "ea", "\xff\xff"}},
			"postfix":                {options: pegasus.RangeOptions{Filter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("a")}}, want: []string{"a", "ea"}},
			"anywhere, reverse":      {options: pegasus.RangeOptions{Reverse: true, Filter: pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("a")}}, want: []string{"a", "ea"}},
			"pattern without filter": {start: "ea", options: pegasus.RangeOptions{Filter: pegasus.Filter{Pattern: []byte("x")}}, want: []string{"ea", "\xff\xff"}},
		} {
			t.Log(name)
			found, err := b.table.MultiGetRange(t.Context(), hashKey, []byte(r.start), []byte(r.stop), &r.options)
			require.NoError(t, err)
			require.Equal(t, append([]string{}, r.want...), names(found.Records))
			require.Equal(t, !r.more, found.Complete)
			require.Equal(t, r.more, found.Next != nil)
			for _, record := range found.Records {
				require.Equal(t, r.options.NoValue, record.Value == nil)
			}
		}
		found, err := b.table.MultiGetRange(t.Context(), hashKey, nil, nil, nil)
		require.NoError(t, err)
		require.Equal(t, records("", "0", "a", "1", "b", "2", "c", "3", "d", "", "e", "5", "ea", "6", "\xff\xff", "7"), found.Records)

		sorted, complete, err := b.table.MultiGetSortKeys(t.Context(), hashKey, &pegasus.RangeOptions{MaxCount: 2, Reverse: true})
		require.NoError(t, err)
		require.False(t, complete)
		require.Equal(t, sortKeys("ea", "\xff\xff"), sorted)
	})
}

// TestMultiGetRangeContinues follows Next to the end: every record comes once, in either direction.
func TestMultiGetRangeContinues(t *testing.T) {
	b := newBox(t, onebox.Config{}, single)
	b.letters()
	all := []string{"", "a", "b", "c", "d", "e", "ea", "\xff\xff"}
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.SampledFrom(append(all, "aa", "z"))
		start, stop := []byte(key.Draw(rt, "start")), []byte(key.Draw(rt, "stop"))
		options := &pegasus.RangeOptions{
			MaxCount: rapid.IntRange(1, 9).Draw(rt, "count"), Reverse: rapid.Bool().Draw(rt, "reverse"),
			StartExclusive: rapid.Bool().Draw(rt, "exclusive"), StopInclusive: rapid.Bool().Draw(rt, "inclusive"),
		}
		unlimited := *options
		unlimited.MaxCount = 0
		want, err := b.table.MultiGetRange(t.Context(), hashKey, start, stop, &unlimited)
		require.NoError(rt, err)
		require.True(rt, want.Complete)

		var got []pegasus.Record
		for {
			page, err := b.table.MultiGetRange(t.Context(), hashKey, start, stop, options)
			require.NoError(rt, err)
			require.LessOrEqual(rt, len(page.Records), options.MaxCount)
			if options.Reverse {
				got = append(page.Records, got...)
			} else {
				got = append(got, page.Records...)
			}
			require.Equal(rt, page.Complete, page.Next == nil)
			if page.Next == nil {
				break
			}
			start, stop, options = page.Next.StartSortKey, page.Next.StopSortKey, page.Next.Options
		}
		require.Equal(rt, want.Records, got)
	})
}

// TestContinuationIsTheCallers checks that nothing of the arguments is in it.
func TestContinuationIsTheCallers(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.letters()
		start, stop, pattern := roomy("a"), roomy("z"), roomy("e")
		var metadata pegasus.Metadata
		options := &pegasus.RangeOptions{
			MaxCount: 1, StopInclusive: true, Metadata: &metadata,
			Filter: pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: pattern},
		}
		before := *options
		page, err := b.table.MultiGetRange(t.Context(), hashKey, start, stop, options)
		require.NoError(t, err)
		require.Equal(t, before, *options)
		requireUntouched(t, start, "a")
		requireUntouched(t, stop, "z")
		requireUntouched(t, pattern, "e")
		for _, memory := range [][]byte{start, stop, pattern} {
			spoil(memory)
		}
		require.Equal(t, "e", string(page.Next.StartSortKey))
		require.Equal(t, "z", string(page.Next.StopSortKey))
		require.Equal(t, "e", string(page.Next.Options.Filter.Pattern))
		spoil(page.Records[0].SortKey)
		require.Equal(t, "e", string(page.Next.StartSortKey))
		page, err = b.table.MultiGetRange(t.Context(), hashKey, page.Next.StartSortKey, page.Next.StopSortKey, page.Next.Options)
		require.NoError(t, err)
		require.Equal(t, []string{"ea"}, names(page.Records))
	})
}

// The server looks at so many records and no more. If it finds none among them there is no place to
// continue from.
func TestMultiGetRangeFindsNothingInTime(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.fill(20, 1)
		b.LimitIterations(5)
		found, err := b.table.MultiGetRange(t.Context(), hashKey, nil, nil,
			&pegasus.RangeOptions{Filter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("9")}})
		require.NoError(t, err)
		require.Equal(t, &pegasus.RangeResult{}, found)
		found, err = b.table.MultiGetRange(t.Context(), hashKey, nil, nil, nil)
		require.NoError(t, err)
		require.Len(t, found.Records, 5)
		require.NotNil(t, found.Next)
	})
}

// TestBadAnswers has a server answer what does not fit the request. What could be followed for ever is
// refused, and nothing panics.
func TestBadAnswers(t *testing.T) {
	var response wire.MultiGetResponse
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) { return wire.ErrOK, &response }
	withStub(t, answer, func(t *testing.T, s *stub) {
		answered := func(status wire.Status, found ...string) {
			response = wire.MultiGetResponse{Status: status}
			for _, key := range found {
				response.Records = append(response.Records, wire.KeyValue{Key: []byte(key), Value: []byte("v")})
			}
		}
		read := func(start, stop string, options *pegasus.RangeOptions) (*pegasus.RangeResult, error) {
			return s.table.MultiGetRange(t.Context(), hashKey, []byte(start), []byte(stop), options)
		}
		answered(wire.StatusIncomplete, "a", "b", "c")
		for name, bad := range map[string]struct {
			start, stop string
			options     pegasus.RangeOptions
		}{
			"before the start":           {start: "d"},
			"the start again":            {start: "c", options: pegasus.RangeOptions{StartExclusive: true}},
			"beyond the stop":            {stop: "\x01", options: pegasus.RangeOptions{Reverse: true}},
			"the stop again":             {stop: "a", options: pegasus.RangeOptions{Reverse: true}},
			"beyond the stop, inclusive": {stop: "0", options: pegasus.RangeOptions{Reverse: true, StopInclusive: true}},
		} {
			t.Log(name)
			found, err := read(bad.start, bad.stop, &bad.options)
			require.ErrorIs(t, err, pegasus.ErrBadAnswer)
			require.Equal(t, pegasus.Answered, failed(t, err).Outcome)
			require.Zero(t, failed(t, err).Partition)
			require.Nil(t, found)
		}

		found, err := read("a", "", &pegasus.RangeOptions{MaxCount: 1})
		require.NoError(t, err, "more than asked for")
		require.Len(t, found.Records, 3)
		found, err = read("a", "b", nil)
		require.NoError(t, err)
		require.True(t, found.Complete, "nothing can be left")
		answered(wire.StatusIncomplete, "")
		found, err = read("", "", &pegasus.RangeOptions{Reverse: true})
		require.NoError(t, err)
		require.True(t, found.Complete, "nothing is before the empty sort key")

		for _, status := range []wire.Status{wire.StatusNotFound, wire.StatusInvalidArgument, wire.StatusTryAgain, -101, 99} {
			answered(status, "a")
			found, err := read("", "", nil)
			require.Equal(t, status, failed(t, err).Status)
			require.Nil(t, found)
			got, err := s.table.MultiGet(t.Context(), hashKey, sortKeys("b"), nil)
			var storage *pegasus.StatusError
			require.ErrorAs(t, err, &storage)
			require.Equal(t, status, storage.Status)
			require.Nil(t, got)
		}
		answered(wire.StatusOK, "not asked for", "nor this")
		got, err := s.table.MultiGet(t.Context(), hashKey, sortKeys("b"), nil)
		require.NoError(t, err)
		require.Len(t, got.Records, 2)
	})
}

// TestRangeRequest looks at the wire.
func TestRangeRequest(t *testing.T) {
	request, header := sent[wire.MultiGetRequest](t, &wire.MultiGetResponse{}, func(ctx context.Context, table *pegasus.Table) {
		_, err := table.MultiGetRange(ctx, hashKey, []byte("a"), []byte("z"), &pegasus.RangeOptions{
			StartExclusive: true, StopInclusive: true, MaxCount: 1, MaxBytes: 2, NoValue: true, Reverse: true,
			Filter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("x")},
		})
		require.NoError(t, err)
	})
	require.Equal(t, wire.MultiGetRequest{
		HashKey: hashKey, SortKeys: [][]byte{}, MaxCount: 1, MaxSize: 2, NoValue: true,
		StartSortKey: []byte("a"), StopSortKey: []byte("z"), StopInclusive: true,
		Filter: wire.FilterPostfix, FilterPattern: []byte("x"), Reverse: true,
	}, request)
	require.Equal(t, wire.Header{GPID: stubGPID, TimeoutMillis: 5000, PartitionHash: wire.KeyHash(hashKey, nil)}, header)
	request, _ = sent[wire.MultiGetRequest](t, &wire.MultiGetResponse{}, func(ctx context.Context, table *pegasus.Table) {
		_, _, err := table.MultiGetSortKeys(ctx, hashKey, nil)
		require.NoError(t, err)
	})
	require.True(t, request.StartInclusive)
	require.True(t, request.NoValue)
}

// Expired records are not there, and are looked at all the same.
func TestMultiGetRangeOfExpired(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		require.NoError(t, b.table.MultiSet(ctx, hashKey, records("a", "1", "b", "2"), pegasus.WithTTL(time.Second)))
		require.NoError(t, b.table.MultiSet(ctx, hashKey, records("c", "3")))
		pass(time.Second)
		found, err := b.table.MultiGetRange(ctx, hashKey, nil, nil, nil)
		require.NoError(t, err)
		require.Equal(t, records("c", "3"), found.Records)
	})
}
