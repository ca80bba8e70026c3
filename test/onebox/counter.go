package onebox

import (
	"strconv"
	"strings"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// incr adds to a number in text. An empty value counts as 0, and a sum out of range returns the old
// value (docs/protocol.md, incr).
func incr(x *execution, in *wire.IncrRequest, out *wire.IncrResponse) {
	found, ok := x.get(in.Key)
	expire := uint32(max(in.ExpireSeconds, 0))
	if ok && in.ExpireSeconds == 0 {
		expire = found.expire
	}
	var old int64
	if ok && len(found.value) > 0 {
		if old, ok = parseInteger(found.value); !ok {
			out.Status, out.Decree = wire.StatusInvalidArgument, x.fail()
			return
		}
	}
	sum := old + in.Increment
	if in.Increment > 0 && sum < old || in.Increment < 0 && sum > old {
		out.Status, out.NewValue, out.Decree = wire.StatusInvalidArgument, old, x.fail()
		return
	}
	out.NewValue, out.Decree = sum, x.decree
	x.put(in.Key, strconv.AppendInt(nil, sum, 10), expire)
}

// parseInteger reads a number as servers do, with C's strtoll in base 0, of the whole text: white space
// may lead, and it can be decimal, hexadecimal or octal.
func parseInteger(text []byte) (int64, bool) {
	digits := strings.TrimLeft(string(text), " \t\n\v\f\r")
	sign := ""
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		sign, digits = digits[:1], digits[1:]
	}
	base := 10
	switch {
	case len(digits) > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X'):
		base, digits = 16, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		base, digits = 8, digits[1:]
	}
	if digits == "" || digits[0] == '-' || digits[0] == '+' { // ParseInt would take a second sign
		return 0, false
	}
	n, err := strconv.ParseInt(sign+digits, base, 64)
	return n, err == nil
}
