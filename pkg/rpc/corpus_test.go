package rpc

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/corpus"
)

// TestCorpora generates testdata/fuzz: what hostile servers send to two calls, with the ids 0 and 1.
func TestCorpora(t *testing.T) {
	inputs := corpus.Inputs{}
	for name, data := range hostileStreams() {
		inputs[name] = corpus.Input{data, uint16(0xffff)}
	}
	first, second := asked{method: wire.Get, sequence: 0, key: "key"}, asked{method: wire.Get, sequence: 1, key: "other key"}
	both := slices.Concat(second.answer(), first.answer())
	inputs["byte_by_byte"] = corpus.Input{both, uint16(1)}
	inputs["cut_in_each_size"] = corpus.Input{both, uint16(len(second.answer()) + 2)}
	corpus.Verify(t, map[string]corpus.Inputs{"FuzzReadLoop": inputs})
}

func hostileStreams() map[string][]byte {
	first, second := asked{method: wire.Get, sequence: 0, key: "key"}, asked{method: wire.Get, sequence: 1, key: "other key"}
	answer, behind := first.answer(), second.answer()
	withSequence := func(sequence int32) []byte {
		return slices.Concat(asked{method: wire.Get, sequence: sequence, key: "key"}.answer(), behind)
	}
	// withResult has another result than the client asked for, as it is, and a second answer behind it.
	withResult := func(result string) []byte {
		frame := wire.AppendResponse(nil, wire.ErrOK, wire.Get, 0, anyBytes(result))
		return append(frame, behind...)
	}
	const unsized = wire.ResponseSizePrefix
	size := uint32(len(answer))
	scanned := &wire.ScanResponse{Records: make([]wire.KeyValue, 3)}
	return map[string][]byte{
		"size_of_zero":              sized(0, answer[unsized:]...),
		"size_below_the_least":      sized(19, answer[unsized:]...),
		"size_too_small":            slices.Concat(sized(size-1, answer[unsized:]...), behind),
		"size_swallows_the_next":    slices.Concat(sized(size+20, answer[unsized:]...), behind),
		"size_never_comes":          slices.Concat(sized(1<<20, answer[unsized:]...), behind, bytes.Repeat([]byte{0}, 1000)),
		"size_beyond_the_limit":     sized(128<<20+1, answer[unsized:]...),
		"size_beyond_belief":        sized(math.MaxInt32, answer[unsized:]...),
		"size_negative":             sized(math.MaxUint32, answer[unsized:]...),
		"truncated_in_size":         answer[:3],
		"truncated_in_result":       answer[:len(answer)-3],
		"truncated_in_the_second":   slices.Concat(answer, behind[:20]),
		"id_of_nobody":              withSequence(77),
		"id_of_another_generation":  withSequence(1 << 13),
		"id_of_a_oneway":            withSequence(onewaySequence),
		"id_least":                  withSequence(math.MinInt32),
		"answered_twice":            slices.Concat(answer, answer, behind),
		"name_of_another_method":    slices.Concat(wire.AppendResponse(nil, wire.ErrOK, wire.Put, 0, &wire.GetResponse{}), behind),
		"error_name_endless":        slices.Concat(first.refusal(wire.ErrorName(strings.Repeat("E", 1025))), behind),
		"error_beside_a_result":     wire.AppendResponse(nil, wire.ErrBusy, wire.Get, 0, &wire.GetResponse{}),
		"result_missing":            slices.Concat(first.refusal(wire.ErrOK), behind),
		"result_of_another_method":  slices.Concat(wire.AppendResponse(nil, wire.ErrOK, wire.Get, 0, scanned), behind),
		"result_huge_length":        withResult("\x0c\x00\x02\x7f\xff\xff\xff"),
		"result_negative_length":    withResult("\x0c\x00\x02\xff\xff\xff\xff"),
		"result_unknown_struct":     withResult("\x0c\x00\x63\x00"),
		"result_unknown_type":       withResult("\x07\x00\x63\x00"),
		"result_deep_nesting":       withResult("\x0f\x00\x63" + strings.Repeat("\x0f\x00\x00\x00\x01", 64)),
		"result_list_of_huge_count": withResult("\x0f\x00\x63\x02\x7f\xff\xff\xff"),
		"bit_flipped_in_begin":      changed(answer, unsized+4+len(wire.ErrOK)+1, 0x03),
		"another_protocol":          []byte("\x15\x03\x01\x00\x02\x02\x46"), // an alert of TLS
		"zeros":                     make([]byte, 1000),
	}
}

// anyBytes is the content of a result struct, as it is.
type anyBytes string

// AppendField implements wire.Arguments.
func (b anyBytes) AppendField(dst []byte, _ int16) []byte {
	return append(append(dst, "\x0c\x00\x00"...), string(b)+"\x00"...)
}
