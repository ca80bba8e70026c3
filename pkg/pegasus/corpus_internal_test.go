package pegasus

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/test/corpus"
)

// TestCorpora generates testdata/fuzz: cursors made up by somebody who knows their form, without the checksum.
func TestCorpora(t *testing.T) {
	const appIDAt = 2
	all := cursors()
	for i, cursor := range all {
		all[i] = cursor[:len(cursor)-checksumSize]
	}
	table, begun, hashKey := all[0], all[1], all[2]
	endless := strings.Repeat("\x80", 20) // a number of which every byte says that another one follows
	insert := func(cursor []byte, at int, data string) []byte {
		return slices.Concat(cursor[:at], []byte(data), cursor[at:])
	}
	inputs := corpus.Inputs{}
	for name, content := range map[string][]byte{
		"empty":                  {},
		"of_version_2":           append([]byte{2}, table[1:]...),
		"flags_unknown":          append([]byte{cursorVersion, allCursorFlags + 1}, table[appIDAt:]...),
		"number_endless":         insert(table, appIDAt, endless),
		"number_of_more_than_64": insert(table, appIDAt, strings.Repeat("\xff", 9)+"\x7f"),
		"length_huge":            append(bytes.Clone(hashKey[:appIDAt+1]), 0xff, 0xff, 0xff, 0xff, 0x07),
		"length_beyond_the_rest": append(bytes.Clone(hashKey[:appIDAt+1]), 6, 'h'),
		"table_with_a_start":     append([]byte{cursorVersion, hashKey[1] | flagWhole}, hashKey[appIDAt:]...),
		"hash_key_as_a_table":    append([]byte{cursorVersion, flagStart}, table[appIDAt:]...),
		"parts_huge_count":       append(bytes.Clone(table[:len(table)-2]), 0xff, 0xff, 0xff, 0xff, 0x0f, 0),
		"parts_count_too_large":  append(bytes.Clone(table[:len(table)-2]), 5, 0),
		"truncated_in_a_part":    begun[:len(begun)-5],
		"truncated_in_filter":    table[:len(table)/2],
		"bytes_after_the_end":    append(bytes.Clone(begun), 0),
		"bit_flipped":            slices.Concat(begun[:len(begun)/2], []byte{begun[len(begun)/2] ^ 1}, begun[len(begun)/2+1:]),
	} {
		inputs[name] = corpus.Input{content}
	}
	corpus.Verify(t, map[string]corpus.Inputs{"FuzzDecodeCursor": inputs})
}
