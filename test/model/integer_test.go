package model_test

import (
	"math/big"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// integerSyntax is what C's strtoll takes in base 0, of the whole text: white space, a sign, and a
// number that is hexadecimal, octal or decimal (docs/protocol.md, incr).
var integerSyntax = regexp.MustCompile(`^[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))$`)

// integer reads a number as servers do.
func integer(text string) (int64, bool) {
	parts := integerSyntax.FindStringSubmatch(text)
	if parts == nil {
		return 0, false
	}
	n := new(big.Int)
	switch {
	case parts[2] != "":
		n.SetString(parts[2], 16)
	case parts[3] != "":
		n.SetString(parts[3], 8)
	default:
		n.SetString(parts[4], 10)
	}
	if parts[1] == "-" {
		n.Neg(n)
	}
	return n.Int64(), n.IsInt64()
}

func TestInteger(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "00": 0, "7": 7, "-7": -7, "+7": 7, "010": 8, "-010": -8, "0x1f": 31, "0X1F": 31, "-0xa": -10,
		" \t\n\v\f\r12": 12, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63,
		"0x7fffffffffffffff": 1<<63 - 1, "-0x8000000000000000": -1 << 63, "0777777777777777777777": 1<<63 - 1,
	} {
		got, ok := integer(text)
		require.True(t, ok, "%q", text)
		require.Equal(t, want, got, "%q", text)
	}
	for _, text := range []string{
		"", " ", "+", "-", "--1", "+-1", "- 1", "1 ", "1\x00", "\x001", "0x", "0xg", "08", "1_0", "1e3", "1.0", "abc", "\xff",
		"9223372036854775808", "-9223372036854775809", "0x8000000000000000", "99999999999999999999999",
	} {
		_, ok := integer(text)
		require.False(t, ok, "%q", text)
	}
}
