package wire_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bridle-kv/bridle/test/corpus"
)

// pieces are the bytes of a struct as an argument or a result: the header of the surrounding field, its fields, and
// two STOPs.
type pieces [][]byte

func piecesOf(l layout) pieces {
	p := pieces{fromHex("0c0000")}
	for _, field := range l.fields {
		p = append(p, fromHex(field))
	}
	return append(p, []byte{0}, []byte{0})
}

// Type codes, see docs/protocol.md, thrift profile.
const (
	stringType = 0x0b
	structType = 0x0c // here a blob
	listType   = 0x0f
)

// Places in a field.
const (
	lengthAt  = 3 // of a blob or a string
	typeAt    = 3 // of a list's elements
	countAt   = 4
	elementAt = 8
)

// find returns the first field of a type, or 0.
func (p pieces) find(types ...byte) int {
	for at := 1; at < len(p)-2; at++ {
		if slices.Contains(types, p[at][0]) {
			return at
		}
	}
	return 0
}

// overwritten are the pieces with other bytes in a place of the given one, or nil if there is none.
func (p pieces) overwritten(at, place int, with string) pieces {
	if at == 0 {
		return nil
	}
	p = slices.Clone(p)
	p[at] = overwritten(p[at], place, with)
	return p
}

// recounted are the pieces with another count in the first list.
func (p pieces) recounted(by int) pieces {
	at := p.find(listType)
	if at == 0 {
		return nil
	}
	p = slices.Clone(p)
	p[at] = bytes.Clone(p[at])
	count := binary.BigEndian.Uint32(p[at][countAt:])
	binary.BigEndian.PutUint32(p[at][countAt:], count+uint32(by))
	return p
}

// with are the pieces and one more, behind the first field.
func (p pieces) with(piece string) pieces { return slices.Insert(slices.Clone(p), 2, fromHex(piece)) }

// cut are the pieces up to a place in the given one, or nil if there is none.
func (p pieces) cut(at, place int) pieces {
	if at == 0 {
		return nil
	}
	return append(slices.Clone(p[:at]), p[at][:place])
}

// spoilers make structs hostile, in one way each; or they return nil, if the struct has nothing of that kind.
var spoilers = map[string]func(p pieces) pieces{
	"truncated_in_length": func(p pieces) pieces { return p.cut(p.find(stringType, structType), lengthAt+2) },
	"truncated_in_value":  func(p pieces) pieces { return p.cut(len(p)-3, len(p[len(p)-3])-1) },
	"huge_length":         func(p pieces) pieces { return p.overwritten(p.find(stringType, structType), lengthAt, "7fffffff") },
	"negative_length":     func(p pieces) pieces { return p.overwritten(p.find(stringType, structType), lengthAt, "ffffffff") },
	"length_too_small":    func(p pieces) pieces { return p.overwritten(p.find(stringType, structType), lengthAt, "00000000") },
	"huge_count":          func(p pieces) pieces { return p.overwritten(p.find(listType), countAt, "7fffffff") },
	"negative_count":      func(p pieces) pieces { return p.overwritten(p.find(listType), countAt, "ffffffff") },
	"count_too_large":     func(p pieces) pieces { return p.recounted(+1) },
	"count_too_small":     func(p pieces) pieces { return p.recounted(-1) },
	"wrong_element_type":  func(p pieces) pieces { return p.overwritten(p.find(listType), typeAt, "0b") },
	"huge_length_in_element": func(p pieces) pieces {
		at := p.find(listType)
		const length = elementAt + lengthAt
		if at == 0 || len(p[at]) < length+6 || p[at][elementAt] != structType || p[at][length+5] != structType {
			return nil // the element does not begin with a blob of one byte
		}
		return p.overwritten(at, length, "7fffffff")
	},
	"many_empty_elements": func(p pieces) pieces {
		at := p.find(listType)
		if at == 0 || p[at][typeAt] != structType {
			return nil
		}
		p = slices.Clone(p)
		p[at] = append(overwritten(p[at], countAt, "00000401")[:elementAt], make([]byte, 1025)...)
		return p
	},
	"list_twice": func(p pieces) pieces {
		if at := p.find(listType); at > 0 {
			return slices.Insert(slices.Clone(p), at, p[at])
		}
		return nil
	},
	"fields_reversed": func(p pieces) pieces {
		p = slices.Clone(p)
		slices.Reverse(p[1 : len(p)-2])
		return p
	},
	"field_twice":  func(p pieces) pieces { return slices.Insert(slices.Clone(p), 1, p[1]) },
	"type_changed": func(p pieces) pieces { return p.overwritten(1, 0, "04") },
	"bit_flipped":  func(p pieces) pieces { return p.overwritten(1, 0, fmt.Sprintf("%02x", p[1][0]^8)) },
	"unknown_fields": func(p pieces) pieces {
		return p.with("02 0063 01" + "0d 0064 0b 08 00000001 00000001 61 00000001" +
			"0e 0065 0a 00000001 0000000000000001" + "0b 7fff 00000000")
	},
	"unknown_struct": func(p pieces) pieces { return p.with("0c 0063 00") },
	"unknown_type":   func(p pieces) pieces { return p.with("07 0063 00000000") },
	"deep_nesting":   func(p pieces) pieces { return p.with("0f 0063" + strings.Repeat("0f 00000001", 64) + "08 00000000") },
}

// applied are the spoilers for a struct: all for one without lists and one with, and for the others those that depend
// on their fields. Requests are decoded by servers, such as those of the tests, and get a few.
func applied(l layout) []string {
	switch {
	case l.name == "*wire.GetResponse", l.name == "*wire.QueryConfigResponse":
		return slices.Collect(maps.Keys(spoilers))
	case strings.HasSuffix(l.name, "Request"):
		return []string{"truncated_in_value", "huge_length", "huge_count"}
	}
	return []string{
		"truncated_in_length", "truncated_in_value", "huge_length", "negative_length", "unknown_fields",
		"huge_count", "negative_count", "count_too_large", "count_too_small", "wrong_element_type",
		"huge_length_in_element", "many_empty_elements", "list_twice",
	}
}

// hostileStructs are the inputs for the decoder of a struct.
func hostileStructs(l layout) map[string][]byte {
	hostile := map[string][]byte{}
	for _, name := range applied(l) {
		if spoiled := spoilers[name](piecesOf(l)); spoiled != nil {
			hostile[name] = bytes.Join(spoiled, nil)
		}
	}
	return hostile
}

// hostileResults are inputs of which something is wrong before the struct begins or after it has ended. They are
// the same for all structs.
var hostileResults = map[string]string{
	"empty":                   "",
	"no_result":               "00",
	"result_of_another_id":    "0c0001 080001 00000007 00 00",
	"result_of_type_string":   "0b0000 00000003 616263 00",
	"result_without_a_field":  "0c0000 00 00",
	"another_result_behind":   "0c0000 080001 00000007 00 0c0001 00 00",
	"without_the_last_stop":   "0c0000 080001 00000007 00",
	"bytes_after_the_end":     "0c0000 080001 00000007 00 00 00",
	"truncated_in_its_header": "0c00",
}

var hostileBlobs = map[string]string{
	"truncated_in_length": "0c0001 0000",
	"negative_length":     "0c0001 ffffffff 6b6579 00",
}

var hostileNumbers = map[string]string{
	"truncated":   "0a0001 00000000000000",
	"of_type_i32": "080001 00000001 00",
}

// hostileValues are inputs of FuzzReaderSkip: the type of an unknown field, and its value.
func hostileValues() corpus.Inputs {
	inputs := corpus.Inputs{}
	for name, value := range map[string]string{
		"bool_truncated":         "02",
		"string_huge_length":     "0b 7fffffff 616263",
		"string_negative_length": "0b ffffffff 616263",
		"struct":                 "0c 00",
		"list_of_structs":        "0f 0c 00000001 00",
		"list_huge_count":        "0f 02 7fffffff 01",
		"list_of_unknown_type":   "0f 07 00000001 00",
		"map_huge_count":         "0d 02 02 7fffffff 0101",
		"nested_as_deep_as_may":  "0f" + strings.Repeat("0f 00000001", 16) + "08 00000000",
		"nested_deeper_than_may": "0f" + strings.Repeat("0f 00000001", 17) + "08 00000000",
		"many_lists_of_nothing":  "0f 0f 00000100" + strings.Repeat("02 00000000", 256),
	} {
		data := fromHex(value)
		inputs[name] = corpus.Input{data[0], data[1:]}
	}
	return inputs
}
