package oracle_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// addSeeds adds fields of a struct, each followed by STOP, to the corpus.
func addSeeds(f *testing.F, seeds ...string) {
	for _, depth := range []int{nestingLimit - 2, nestingLimit - 1} { // of lists, in a list and around a number
		seeds = append(seeds, "0f0063"+strings.Repeat("0f00000001", depth)+"030000000101")
	}
	for _, seed := range append(seeds, "", "0800010000000a", "0400633ff8000000000000", "06006300010300637f02006302",
		"0b006300000003616263", "0d00630b08000000010000000161000000010e00630a000000010000000000000001",
		"0f00630f000000010c00000000", "0c006300", "1000630102030405060708090a0b0c0d0e0f10") {
		fields, err := hex.DecodeString(seed)
		require.NoError(f, err)
		f.Add(append(fields, thrift.STOP))
	}
}

// sameVerdict checks that thrift and wire take the bytes to be the same value, or both not to be any.
func sameVerdict(t *testing.T, p *protocol, thriftErr, wireErr error, thriftValue, wireValue any) {
	t.Helper()
	if p.uuid || errors.Is(wireErr, wire.ErrUnskippable) {
		return
	}
	require.Equal(t, thriftErr == nil, wireErr == nil, "thrift says %v, wire says %v", thriftErr, wireErr)
	if thriftErr == nil {
		require.Equal(t, thriftValue, wireValue)
	}
}

func FuzzTTLResponse(f *testing.F) {
	addSeeds(f, "08000100000007080002ffffffff08000300000002080004000000030b000600000003683a31")
	f.Fuzz(func(t *testing.T, fields []byte) {
		p := newProtocol(asResult(fields))
		want, thriftErr := readWrapped(p, 0, readTTL)
		var got wire.TTLResponse
		wireErr := wire.DecodeResult(new(wire.Reader), asResult(fields), &got)
		sameVerdict(t, p, thriftErr, wireErr, want, got)
	})
}

func FuzzQueryConfigRequest(f *testing.F) {
	addSeeds(f, "0b000100000004746573740f0002080000000200000001ffffffff",
		"0f00020800000000"+"0f000208000000010000000a", "0f00020a000000010000000000000001")
	f.Fuzz(func(t *testing.T, fields []byte) {
		p := newProtocol(asResult(fields))
		want, thriftErr := readWrapped(p, 0, readQuery)
		var got wire.QueryConfigRequest
		wireErr := wire.DecodeResult(new(wire.Reader), asResult(fields), &got)
		sameVerdict(t, p, thriftErr, wireErr, want, got)
	})
}

func FuzzHeader(f *testing.F) {
	addSeeds(f, "0800010000000208000200000003080003000003e80a0004112233445566778802000501")
	body := []byte{0x80, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}
	f.Fuzz(func(t *testing.T, meta []byte) {
		p := newProtocol(meta)
		want, thriftErr := readHeader(p)
		var request wire.Request
		_, wireErr := wire.ParseRequest(frameOf(meta, body), &request)
		sameVerdict(t, p, thriftErr, wireErr, want, request.Header)
	})
}

func FuzzMessageBegin(f *testing.F) {
	for _, seed := range []string{
		"8001000100000003474554ffffffff00", "8001000400000003474554000000010c000100", "00000003474554010000000100",
		"80020001000000034745540000000100", "8001000100000030", "0000000001000000",
	} {
		begin, err := hex.DecodeString(seed)
		require.NoError(f, err)
		f.Add(begin)
	}
	type message struct {
		name     string
		seq      int32
		oneway   bool
		leftOver int
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := newProtocol(body)
		name, messageType, seq, thriftErr := p.ReadMessageBegin(background)
		if thriftErr == nil && messageType != thrift.CALL && messageType != thrift.ONEWAY {
			thriftErr = errUnexpected
		}
		want := message{name[:min(len(name), 47)], seq, messageType == thrift.ONEWAY, p.memory.Len()}
		var request wire.Request
		_, wireErr := wire.ParseRequest(frameOf([]byte{thrift.STOP}, body), &request)
		got := message{string(request.Name), request.Sequence, request.Oneway, len(request.Arguments)}
		sameVerdict(t, p, thriftErr, wireErr, want, got)
	})
}
