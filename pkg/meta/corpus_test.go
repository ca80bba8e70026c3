package meta

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/corpus"
)

// TestCorpora generates testdata/fuzz: what hostile meta servers answer, and what users may give for their addresses.
func TestCorpora(t *testing.T) {
	answers, addresses := corpus.Inputs{}, corpus.Inputs{}
	for name, answer := range hostileAnswers() {
		answers[name] = corpus.Input{append(answer.AppendField(nil, 0), 0)}
	}
	body := append(answered(1, 2).AppendField(nil, 0), 0)
	answers["truncated"] = corpus.Input{body[:len(body)-20]}
	port := []byte("\x87\xf1\x00") // and the kind behind it
	answers["address_of_unknown_kind"] = corpus.Input{bytes.Replace(body, slices.Concat(port, []byte{1}), slices.Concat(port, []byte{3}), 1)}
	for name, text := range map[string]string{
		"not_utf8": "a\xff:1", "zero_byte": "a\x00b", "endless_name": strings.Repeat("a.", 200), "zone_of_a_name": "a%eth0:1",
		"brackets_in_brackets": "[[::1]]:1", "port_with_sign": "a:+1", "port_too_large": "10.0.0.1:65536", "nothing_but_commas": ",,,",
	} {
		addresses[name] = corpus.Input{text}
	}
	corpus.Verify(t, map[string]corpus.Inputs{"FuzzNewRouting": answers, "FuzzParseSeeds": addresses})
}

// hostileAnswers are well-formed answers that contradict themselves or say what cannot be.
func hostileAnswers() map[string]*wire.QueryConfigResponse {
	of := func(change func(answer *wire.QueryConfigResponse)) *wire.QueryConfigResponse {
		answer := answered(1, 2, 3, -1)
		change(answer)
		return answer
	}
	second := func(change func(p *wire.PartitionConfiguration)) *wire.QueryConfigResponse {
		return of(func(answer *wire.QueryConfigResponse) { change(&answer.Partitions[1]) })
	}
	return map[string]*wire.QueryConfigResponse{
		"count_huge":             of(func(answer *wire.QueryConfigResponse) { answer.PartitionCount = math.MaxInt32 }),
		"count_negative":         of(func(answer *wire.QueryConfigResponse) { answer.PartitionCount = -4 }),
		"count_without_any":      of(func(answer *wire.QueryConfigResponse) { answer.Partitions = nil }),
		"count_of_zero":          of(func(answer *wire.QueryConfigResponse) { answer.PartitionCount, answer.Partitions = 0, nil }),
		"fewer_than_the_count":   of(func(answer *wire.QueryConfigResponse) { answer.Partitions = answer.Partitions[:3] }),
		"partitions_in_disorder": of(func(answer *wire.QueryConfigResponse) { slices.Reverse(answer.Partitions) }),
		"same_partition_twice":   of(func(answer *wire.QueryConfigResponse) { answer.Partitions[1] = answer.Partitions[0] }),
		"table_of_number_zero":   inApp(0, answered(1)),
		"table_of_another":       second(func(p *wire.PartitionConfiguration) { p.GPID.AppID++ }),
		"index_negative":         second(func(p *wire.PartitionConfiguration) { p.GPID.PartitionIndex = -1 }),
		"ballot_greatest":        second(func(p *wire.PartitionConfiguration) { p.Ballot = math.MaxInt64 }),
		"ballot_least":           second(func(p *wire.PartitionConfiguration) { p.Ballot = math.MinInt64 }),
		"primary_of_port_zero":   second(func(p *wire.PartitionConfiguration) { p.Primary = netip.MustParseAddrPort("10.0.0.1:0") }),
		"name_no_text":           second(func(p *wire.PartitionConfiguration) { p.PrimaryName = wire.HostPort{Host: "\x00\xff%s", Port: 1} }),
		"name_endless": second(func(p *wire.PartitionConfiguration) {
			p.Primary, p.PrimaryName = netip.AddrPort{}, wire.HostPort{Host: strings.Repeat("n", 1000), Port: 1}
		}),
		"forward_to_nobody": {Error: wire.ErrForwardToOthers, Partitions: make([]wire.PartitionConfiguration, 1)},
		"forward_to_many": {Error: wire.ErrForwardToOthers, Partitions: []wire.PartitionConfiguration{
			{Primary: serverAt(1, 0)}, {Primary: serverAt(1, 1)}, {PrimaryName: wire.HostPort{Host: "a", Port: 1}},
		}},
		"forward_without_a_list": {Error: wire.ErrForwardToOthers},
	}
}
