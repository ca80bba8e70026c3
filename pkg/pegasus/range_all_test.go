package pegasus_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// collect reads to the end.
func (b *box) collect(start, stop string, options *pegasus.RangeOptions) (found []pegasus.Record, err error) {
	for record, err := range b.table.MultiGetAll(b.t.Context(), hashKey, []byte(start), []byte(stop), options) {
		if err != nil {
			return found, err
		}
		found = append(found, record)
	}
	return found, nil
}

// loadMany writes count records "p00000", "p00001" ... of the prefix p, with values of the given size,
// and returns their sort keys. More than 3000 of them that are not selected are a stretch through which
// no server looks at once.
func (b *box) loadMany(prefix string, count, size int) []string {
	b.t.Helper()
	value, sortKeys := bytes.Repeat([]byte{'v'}, size), make([]string, count)
	require.NoError(b.t, b.Load(tableName, count, func(i int) ([]byte, []byte, []byte) {
		sortKeys[i] = fmt.Sprintf("%s%05d", prefix, i)
		return hashKey, []byte(sortKeys[i]), value
	}))
	return sortKeys
}

// stretch is longer than what a server looks at for one answer.
const stretch = 3500

// matching are the filters as they should be.
var matching = map[pegasus.FilterType]func(key, pattern string) bool{
	pegasus.FilterAnywhere: strings.Contains, pegasus.FilterPrefix: strings.HasPrefix, pegasus.FilterPostfix: strings.HasSuffix,
}

// TestMultiGetAll compares it with a model, with any range, filter, page size and direction.
func TestMultiGetAll(t *testing.T) {
	b := newBox(t, onebox.Config{}, single)
	b.letters()
	all := slices.Concat([]string{"", "a", "b", "c", "d", "e", "ea", "\xff\xff"}, b.loadMany("0", stretch, 1), b.loadMany("bx", stretch, 1))
	slices.Sort(all)
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.SampledFrom([]string{"", "000000", "000099", "a", "b", "bx00099", "bx03499", "c", "ea", "\xff\xff"})
		start, stop := key.Draw(rt, "start"), key.Draw(rt, "stop")
		options := pegasus.RangeOptions{
			MaxCount: rapid.IntRange(0, 20).Draw(rt, "count"), MaxBytes: rapid.IntRange(0, 50).Draw(rt, "bytes"),
			Reverse: rapid.Bool().Draw(rt, "reverse"), NoValue: rapid.Bool().Draw(rt, "no value"),
			StartExclusive: rapid.Bool().Draw(rt, "exclusive"), StopInclusive: rapid.Bool().Draw(rt, "inclusive"),
			Filter: pegasus.Filter{
				Type:    rapid.SampledFrom([]pegasus.FilterType{pegasus.FilterAnywhere, pegasus.FilterPrefix, pegasus.FilterPostfix}).Draw(rt, "filter"),
				Pattern: []byte(rapid.SampledFrom([]string{"a", "e", "99", "00", "bx0349", "nothing"}).Draw(rt, "pattern")),
			},
		}
		want := []string{}
		for _, key := range all {
			after := key > start || key == start && !options.StartExclusive
			before := stop == "" || key < stop || key == stop && options.StopInclusive
			if after && before && matching[options.Filter.Type](key, string(options.Filter.Pattern)) {
				want = append(want, key)
			}
		}
		if options.Reverse {
			slices.Reverse(want)
		}
		got, err := b.collect(start, stop, &options)
		require.NoError(rt, err)
		require.Equal(rt, want, names(got))
		for _, record := range got {
			require.Equal(rt, options.NoValue, record.Value == nil)
		}
	})
}

// In reverse, a scanner finds more than it may keep, and what it cannot keep must be found again.
func TestMultiGetAllInReverseThroughManyRecords(t *testing.T) {
	for name, o := range map[string]struct{ count, size int }{"many": {2500, 1}, "large": {600, 20_000}} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, onebox.Config{}, single, pegasus.WithConnections(rpc.Options{ReadSilenceLimit: time.Minute})) // the cluster is in this process, and may be slow
			want := b.loadMany("m", o.count, o.size)
			b.loadMany("z", stretch, 1)
			options := &pegasus.RangeOptions{Reverse: true, Filter: pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("m")}}
			got, err := b.collect("", "", options)
			require.NoError(t, err)
			slices.Reverse(want)
			require.Equal(t, want, names(got))
			require.Len(t, got[0].Value, o.size)
			require.Greater(t, b.requests(wire.MultiGet), 1, "the scanner has kept too much")
			require.Equal(t, 1, b.requests(wire.GetScanner))
		})
	}
}

// TestMultiGetAllAsksNoMoreThanNeeded leaves the loop in the middle.
func TestMultiGetAllAsksNoMoreThanNeeded(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.fill(40, 1)
		for _, reverse := range []bool{false, true} {
			all := b.table.MultiGetAll(t.Context(), hashKey, nil, nil, &pegasus.RangeOptions{MaxCount: 10, Reverse: reverse})
			for range 2 { // each time anew
				before, count := b.requests(wire.MultiGet), 0
				for _, err := range all {
					require.NoError(t, err)
					if count++; count == 15 {
						break
					}
				}
				require.Equal(t, before+2, b.requests(wire.MultiGet))
			}
		}
	})
}

// TestMultiGetAllFails has every page fail once, and looks for the error at the end of what was read.
func TestMultiGetAllFails(t *testing.T) {
	for pages := range 4 {
		inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
			b.fill(40, 1)
			count := 0
			b.injectAll(onebox.Fault{Error: wire.ErrBusy, Match: func(r *onebox.Request) bool {
				count++
				return r.Is(wire.MultiGet) && count > pages
			}})
			found, err := b.collect("", "", &pegasus.RangeOptions{MaxCount: 10})
			require.ErrorIs(t, err, pegasus.ErrBusy)
			require.Equal(t, "multi get all", failed(t, err).Operation)
			require.Len(t, found, pages*10)
		})
	}
	for _, fault := range []onebox.Fault{{Error: wire.ErrBusy}, {CloseBefore: true}} {
		for _, reverse := range []bool{false, true} {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				b.loadMany("", stretch, 1)
				fault.Match = onebox.OnMethod(wire.GetScanner, wire.Scan)
				b.injectAll(fault)
				found, err := b.collect("", "", &pegasus.RangeOptions{
					Reverse: reverse, Filter: pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("x")},
				})
				require.Error(t, err, "a lost connection ends with EOF, as scans do")
				require.NotErrorIs(t, err, pegasus.ErrNotFound)
				require.NotEqual(t, io.EOF, err)
				require.Empty(t, found)
			})
		}
	}
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for _, options := range []*pegasus.RangeOptions{{MaxCount: -1}, {Filter: pegasus.Filter{Type: 9}}} {
			_, err := b.collect("", "", options)
			require.ErrorIs(t, err, pegasus.ErrInvalidArgument)
		}
		for _, err := range b.table.MultiGetAll(cancelled(), hashKey, nil, nil, nil) {
			require.ErrorIs(t, err, context.Canceled)
		}
		for _, err := range b.table.MultiGetAll(t.Context(), nil, nil, nil, nil) {
			require.ErrorIs(t, err, pegasus.ErrHashKeyEmpty)
		}
	})
}

// TestMultiGetAllMemory spoils the arguments at once, and each record as soon as it is there.
func TestMultiGetAllMemory(t *testing.T) {
	for _, scanned := range []bool{false, true} {
		for _, reverse := range []bool{false, true} {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				b.fill(40, 1)
				if scanned {
					require.NoError(t, b.Load(tableName, stretch, func(i int) ([]byte, []byte, []byte) {
						return hashKey, fmt.Appendf(nil, "006%05dx", i), nil
					}))
				}
				hash, start, stop, pattern := roomy("hash"), roomy("005"), roomy("030"), roomy("7")
				options := &pegasus.RangeOptions{
					MaxCount: 2, Reverse: reverse, Filter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: pattern},
				}
				all := b.table.MultiGetAll(t.Context(), hash, start, stop, options)
				for i, text := range []string{"hash", "005", "030", "7"} {
					memory := [][]byte{hash, start, stop, pattern}[i]
					requireUntouched(t, memory, text)
					spoil(memory)
				}
				*options = pegasus.RangeOptions{}
				want := []string{"007", "017", "027"}
				if reverse {
					slices.Reverse(want)
				}
				for range 2 {
					var got []string
					for record, err := range all {
						require.NoError(t, err)
						got = append(got, string(record.SortKey))
						spoil(record.SortKey)
						spoil(record.Value)
					}
					require.Equal(t, want, got)
				}
			})
		}
	}
}
