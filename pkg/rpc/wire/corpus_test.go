package wire_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/corpus"
)

// TestCorpora generates testdata/fuzz: for each decoder, an input for each way in which bytes can be hostile.
func TestCorpora(t *testing.T) {
	targets := map[string]corpus.Inputs{
		"FuzzParseResponse": asInputs(hostileResponses()),
		"FuzzParseRequest":  asInputs(hostileRequests()),
		"FuzzReaderSkip":    hostileValues(),
		"FuzzSplitKey":      asInputs(hostileKeys),
		"FuzzDecodeBlob":    asInputs(hostileBlobs),
		"FuzzDecodeInt64":   asInputs(hostileNumbers),
	}
	for _, l := range layouts() {
		name := strings.TrimPrefix(strings.TrimPrefix(l.name, "*"), "wire.")
		hostile := hostileStructs(l)
		if l.newMessage != nil {
			targets["FuzzDecode"+name] = asInputs(hostile)
		}
		if slices.Contains([]string{"GetResponse", "UpdateResponse", "KeyValue", "FullData"}, name) {
			targets["FuzzUsual"+name] = hostileContents(hostile)
		}
	}
	maps.Copy(targets["FuzzDecodeGetResponse"], asInputs(hostileResults))
	corpus.Verify(t, targets)
}

// asInputs makes inputs of bytes, or of their hexadecimal form.
func asInputs[T []byte | string](all map[string]T) corpus.Inputs {
	inputs := corpus.Inputs{}
	for name, input := range all {
		switch data := any(input).(type) {
		case string:
			inputs[name] = corpus.Input{fromHex(data)}
		case []byte:
			inputs[name] = corpus.Input{data}
		}
	}
	return inputs
}

// hostileContents are some of the hostile structs without what surrounds them.
func hostileContents(structs map[string][]byte) corpus.Inputs {
	inputs := corpus.Inputs{}
	for _, name := range []string{"truncated_in_length", "truncated_in_value", "huge_length", "negative_length"} {
		inputs[name] = corpus.Input{structs[name][len("\x0c\x00\x00"):]}
	}
	return inputs
}

// overwritten is a copy of the frame with other bytes in a place.
func overwritten(frame []byte, at int, with string) []byte {
	frame = bytes.Clone(frame)
	copy(frame[at:], fromHex(with))
	return frame
}

// hostileResponses are response frames of which something is wrong, but not the result.
func hostileResponses() map[string][]byte {
	const errorAt, beginAt, nameAt = 4, 14, 18
	sequenceAt := nameAt + 4 + len(wire.Get.ReplyName())
	response := func(name wire.ErrorName, method *wire.Method) []byte {
		return wire.AppendResponse(nil, name, method, 7, &wire.GetResponse{Value: []byte("value"), Origin: exampleOrigin})
	}
	frame := response(wire.ErrOK, wire.Get)
	return map[string][]byte{
		"empty":                      {},
		"truncated_in_size":          frame[:3],
		"truncated_in_error_name":    frame[:errorAt+7],
		"truncated_in_begin":         frame[:beginAt+2],
		"truncated_in_name_length":   frame[:nameAt+1],
		"truncated_in_name":          frame[:nameAt+9],
		"truncated_in_sequence":      frame[:sequenceAt+3],
		"truncated_before_result":    frame[:sequenceAt+4],
		"truncated_in_result":        frame[:len(frame)-2],
		"error_name_huge_length":     overwritten(frame, errorAt, "7fffffff"),
		"error_name_negative_length": overwritten(frame, errorAt, "80000000"),
		"error_name_takes_the_rest":  overwritten(frame, errorAt, fmt.Sprintf("%08x", len(frame)-errorAt-4)),
		"error_name_endless":         response(wire.ErrorName(strings.Repeat("E", 1025)), wire.Get),
		"error_name_unknown":         response("ERR_OF_TOMORROW", wire.Get),
		"error_name_no_text":         response("\x00\xff%s\n", wire.Get),
		"begin_of_a_call":            overwritten(frame, beginAt, "80010001"),
		"begin_of_an_exception":      overwritten(frame, beginAt, "80010003"),
		"name_huge_length":           overwritten(frame, nameAt, "7fffffff"),
		"name_negative_length":       overwritten(frame, nameAt, "ffffffff"),
		"name_of_another_method":     response(wire.ErrOK, wire.Put),
		"name_of_a_request":          overwritten(frame, sequenceAt-4, "58585858"),
		"sequence_of_a_oneway":       overwritten(frame, sequenceAt, "ffffffff"),
		"no_result":                  wire.AppendResponse(nil, wire.ErrOK, wire.Get, 7, nil),
		"bit_flipped":                overwritten(frame, beginAt+1, "05"),
		"another_behind":             append(bytes.Clone(frame), frame...),
	}
}

// hostileRequests are request frames of which something is wrong, but not the arguments.
func hostileRequests() map[string][]byte {
	const versionAt, headerAt, bodyAt, metaAt, beginAt = 4, 8, 12, 16, 53
	header := wire.Header{GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, TimeoutMillis: 1000, PartitionHash: 42}
	key := wire.Blob("\x00\x01hs")
	v0, v1 := wire.AppendRequestV0(nil, &header, wire.Get, 7, &key), wire.AppendRequestV1(nil, &header, wire.Get, 7, &key)
	return map[string][]byte{
		"empty":                    {},
		"truncated_in_header":      v1[:metaAt-1],
		"truncated_in_body":        v1[:len(v1)-1],
		"v0_truncated_in_header":   v0[:47],
		"signature_of_http":        []byte("GET / HTTP/1.1\r\n\r\n"),
		"version_2":                overwritten(v1, versionAt, "00000002"),
		"v0_header_length_wrong":   overwritten(v0, headerAt, "0000002f"),
		"v0_body_length_huge":      overwritten(v0, 16, "ffffffff"),
		"meta_length_huge":         overwritten(v1, headerAt, "ffffffff"),
		"meta_with_unknown_struct": overwritten(v1, metaAt, "0c0063"),
		"body_length_huge":         overwritten(v1, bodyAt, "ffffffff"),
		"body_length_of_zero":      overwritten(v1, bodyAt, "00000000"),
		"begin_of_a_reply":         overwritten(v1, beginAt, "80010002"),
		"name_huge_length":         overwritten(v1, beginAt+4, "7fffffff"),
		"name_negative_length":     overwritten(v1, beginAt+4, "ffffffff"),
		"bit_flipped":              overwritten(v1, metaAt+2, "03"),
		"another_behind":           append(bytes.Clone(v1), v0...),
	}
}

// hostileKeys are raw keys.
var hostileKeys = map[string]string{
	"truncated_in_length":        "00",
	"length_one_too_many":        "0003 6873",
	"length_negative":            "ffff 6873",
	"nothing_but_hash_key":       "0002 6873",
	"nothing_greater_but_length": "0002 ffff ffff",
}
