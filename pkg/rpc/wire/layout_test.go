package wire_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// layout is a struct and its bytes, field by field. No field has the value it has when it is absent.
type layout struct {
	name   string
	want   any
	fields []string // hexadecimal, spaces do not count
	// decode reads the fields and the STOP after them, as they arrive.
	decode func(content []byte) (any, error)
	// newMessage is nil for structs that are parts of others only.
	newMessage func() message
}

// content returns the bytes of the given fields and a STOP.
func content(fields []string) []byte { return fromHex(strings.Join(fields, "") + "00") }

func fromHex(text string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func messageLayout(want message, newMessage func() message, fields string) layout {
	return layout{
		name: fmt.Sprintf("%T", want), want: want, fields: split(fields), newMessage: newMessage,
		decode: func(content []byte) (any, error) {
			m := newMessage()
			return m, wire.DecodeResult(new(wire.Reader), wrap("0c0000", content, "00"), m)
		},
	}
}

func wrap(before string, content []byte, after string) []byte {
	return slices.Concat(fromHex(before), content, fromHex(after))
}

// everyLayout runs a test for each struct.
func everyLayout(t *testing.T, test func(t *testing.T, l layout)) {
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) { test(t, l) })
	}
}

func TestLayout(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		got, err := l.decode(content(l.fields))
		require.NoError(t, err)
		require.Equal(t, l.want, got)
		if m, ok := l.want.(message); ok {
			require.Equal(t, wrap("0c0001", content(l.fields), ""), m.AppendField(nil, 1))
		}
	})
}

func TestFieldsInAnyOrder(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		slices.Reverse(l.fields)
		got, err := l.decode(content(l.fields))
		require.NoError(t, err)
		require.Equal(t, l.want, got)
	})
}

func TestAbsentField(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		for i := range l.fields {
			got, err := l.decode(content(slices.Delete(slices.Clone(l.fields), i, i+1)))
			require.NoError(t, err, l.fields[i])
			require.NotEqual(t, l.want, got, l.fields[i])
		}
		_, err := l.decode(content(nil))
		require.NoError(t, err)
	})
}

// unknownValues are a value or more of each type that can be skipped.
var unknownValues = map[string][]string{
	"02": {"00", "01"},
	"03": {"7f"},
	"04": {"3ff8000000000000"},
	"06": {"8000"},
	"08": {"00000001"},
	"0a": {"0000000000000001"},
	"0b": {"00000000", "00000003 616263"},
	"0d": {"00 00 00000000", "0b 08 00000002 00000001 61 00000001 00000000 00000002"},
	"0e": {"0a 00000002 0000000000000001 0000000000000002"},
	"0f": {"08 00000001 00000001", "0b 00000002 00000001 61 00000000", "0f 00000001 0e 00000001 02 00000001 01", "0c 00000000"},
}

// everyPlace decodes the layout with an additional field before, between and after its own.
func everyPlace(l layout, field string, check func(got any, err error)) {
	for i := range len(l.fields) + 1 {
		check(l.decode(content(slices.Insert(slices.Clone(l.fields), i, field))))
	}
}

func TestUnknownFieldIsSkipped(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		for _, id := range []string{"0000", "0063", "7fff", "ffff"} {
			for wireType, values := range unknownValues {
				for _, value := range values {
					everyPlace(l, wireType+id+value, func(got any, err error) {
						require.NoError(t, err, "%s %s %s", wireType, id, value)
						require.Equal(t, l.want, got, "%s %s %s", wireType, id, value)
					})
				}
			}
		}
	})
}

// A known id with another type is an unknown field.
func TestFieldOfOtherTypeIsSkipped(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		for id := range len(l.fields) + 2 { // most leave out an id
			everyPlace(l, fmt.Sprintf("04 %04x 3ff8000000000000", id), func(got any, err error) {
				require.NoError(t, err, id)
				require.Equal(t, l.want, got, id)
			})
		}
	})
}

func TestUnknownStructIsRefused(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		for _, field := range []string{"0c 0063 00", "0f 0063 0c 00000001 00", "0d 0063 08 0c 00000001 00000001 00"} {
			everyPlace(l, field, func(_ any, err error) {
				require.ErrorIs(t, err, wire.ErrUnskippable, field)
			})
		}
	})
}

func TestUnknownTypeIsRefused(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		for _, wireType := range []int{1, 5, 7, 9, 16, 255} {
			everyPlace(l, fmt.Sprintf("%02x 0063 00000000", wireType), func(_ any, err error) {
				require.ErrorIs(t, err, wire.ErrMalformed, wireType)
			})
		}
	})
}

func TestDeepNestingIsRefused(t *testing.T) {
	nested := func(depth int) string { return "0f 0063 " + strings.Repeat("0f 00000001", depth) + "08 00000000" }
	everyLayout(t, func(t *testing.T, l layout) {
		everyPlace(l, nested(16), func(got any, err error) {
			require.NoError(t, err)
			require.Equal(t, l.want, got)
		})
		for _, depth := range []int{17, 100_000} {
			_, err := l.decode(content([]string{nested(depth)}))
			require.ErrorIs(t, err, wire.ErrMalformed)
		}
	})
}

func TestEveryTruncationIsAnError(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		m, ok := l.want.(message)
		if !ok {
			t.Skip("part of another")
		}
		for _, decode := range []func(*wire.Reader, []byte, wire.Result) error{wire.DecodeResult, wire.DecodeArguments} {
			whole := wrap("0c0000", content(l.fields), "00")
			for size := range whole {
				err := decode(new(wire.Reader), whole[:size:size], m)
				require.Error(t, err, size)
				var decodeError *wire.DecodeError
				require.True(t, errors.As(err, &decodeError), size)
				require.LessOrEqual(t, decodeError.Offset, size)
			}
		}
	})
}

func TestRepeatedField(t *testing.T) {
	everyLayout(t, func(t *testing.T, l layout) {
		for i, field := range l.fields {
			fields := slices.Insert(slices.Clone(l.fields), i, field)
			got, err := l.decode(content(fields))
			if isList := strings.HasPrefix(strings.TrimSpace(field), "0f"); isList {
				require.ErrorIs(t, err, wire.ErrMalformed, "a list may not come twice")
				continue
			}
			require.NoError(t, err)
			require.Equal(t, l.want, got)
		}
	})
}

func TestPutRequestReservedFields(t *testing.T) {
	for _, field := range []string{"080004 00000001", "020005 00", "020006 01", "0c0007 00000001 78"} {
		l := messageLayout(&wire.PutRequest{Internal: true}, newOf[wire.PutRequest], field)
		got, err := l.decode(content(l.fields))
		require.NoError(t, err)
		require.Equal(t, l.want, got)
	}
}
