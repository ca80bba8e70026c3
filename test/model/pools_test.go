package model_test

import (
	"cmp"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Keys are few, so that operations meet. They have different lengths, which is by what servers order
// hash keys first, are prefixes of each other, and begin and end with bytes that have no successor.
var (
	hashKeys = []string{"a", "b", "aa", "\xff\xff", ""}
	sortKeys = []string{"a", "", "b", "ab", "a\xff", "\xff", "\xff\xff", "\x00"}
)

// values are texts that servers take for numbers, texts that they nearly do, and others.
var values = []string{
	"", "9223372036854775807", "1", "-9223372036854775808", "0", "-1", "+7", " 12", "\t\n010", "0x1F", "-0Xa", "00",
	"9223372036854775808", "0x", "08", "1 ", "1\x00", " ", "-", "--1", "a", "ab", "\xff", "a\xffb", strings.Repeat("long ", 100),
}

var increments = []int64{1, 1<<63 - 1, -1 << 63, 0, -1, 7}

// ttls are such that records expire at ticks and between them, now or after some, and one is invalid.
var ttls = []time.Duration{
	0, tick, tick - time.Second, tick + time.Second, 2 * tick, 2*tick + 1, 500 * time.Millisecond, time.Hour, -time.Second,
}

var (
	aHashKey   = rapid.SampledFrom(hashKeys)
	aSortKey   = rapid.SampledFrom(sortKeys)
	aValue     = rapid.SampledFrom(values)
	aTTL       = rapid.SampledFrom(ttls)
	anOperand  = rapid.OneOf(aValue, aSortKey)
	aCondition = rapid.IntRange(int(pegasus.CheckNone), int(pegasus.CheckIntGreater))
	someKeys   = rapid.SliceOfN(aSortKey, 0, 4)
)

// aHashKeyOfSeveral is seldom the empty one, with which there are no operations on several records.
var aHashKeyOfSeveral = rapid.OneOf(rapid.SampledFrom(hashKeys[:4]), rapid.SampledFrom(hashKeys[:4]), aHashKey)

func drawKey(t *rapid.T) key {
	return key{aHashKey.Draw(t, "hash key"), aSortKey.Draw(t, "sort key")}
}

func (k key) hashed() uint64 { return wire.KeyHash([]byte(k.hash), []byte(k.sort)) }

func hashed(hashKey string) uint64 { return wire.KeyHash([]byte(hashKey), nil) }

func compare(a, b string) int { return cmp.Compare(a, b) }

// drawSpan draws a range of sort keys.
func drawSpan(t *rapid.T) span {
	s := span{
		start: aSortKey.Draw(t, "start"), stop: aSortKey.Draw(t, "stop"),
		startExclusive: rapid.Bool().Draw(t, "start exclusive"), stopInclusive: rapid.Bool().Draw(t, "stop inclusive"),
	}
	if rapid.Bool().Draw(t, "filtered") {
		s.filter = pegasus.FilterType(rapid.IntRange(int(pegasus.FilterNone), int(pegasus.FilterPostfix)+1).Draw(t, "filter"))
		s.pattern = aSortKey.Draw(t, "pattern")
	}
	return s
}
