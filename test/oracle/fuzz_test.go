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

// fuzzStruct fuzzes the fields of a struct.
func fuzzStruct[T any, P message[T]](f *testing.F, s structure[T], seeds ...string) {
	addSeeds(f, seeds...)
	f.Fuzz(func(t *testing.T, fields []byte) {
		p := newProtocol(asResult(fields))
		want, thriftErr := readWrapped(p, 0, s.read)
		var got T
		wireErr := wire.DecodeResult(new(wire.Reader), asResult(fields), P(&got))
		sameVerdict(t, p, thriftErr, wireErr, want, got)
	})
}

func FuzzTTLResponse(f *testing.F) {
	fuzzStruct(f, ttlResponse, "08000100000007080002ffffffff08000300000002080004000000030b000600000003683a31")
}

func FuzzQueryConfigRequest(f *testing.F) {
	fuzzStruct(f, queryConfigRequest, "0b000100000004746573740f0002080000000200000001ffffffff",
		"0f00020800000000"+"0f000208000000010000000a", "0f00020a000000010000000000000001")
}

func FuzzGetScannerRequest(f *testing.F) {
	fuzzStruct(f, getScannerRequest, "0c00010000000200000c000200000002ffff020003010200040108000500000009020006010800070000000"+
		"10c00080000000168080009000000020c000a000000017302000b0002000c0102000d0102000e00")
}

// key_value in the usual form, and with its fields in another order and one more.
const recordSeeds = "0c0001000000016b0c000200000001760800030000000500" + "0c000200000001760c0001000000016b0600630001" + "00"

func FuzzScanResponse(f *testing.F) {
	fuzzStruct(f, scanResponse, "080001000000000f00020c00000002"+recordSeeds+"0a0003ffffffffffffffff08000700000002",
		"0f00020c00000000"+"0f00020c00000000", "0f00020c00000001"+"0f000108000000010000000100")
}

func FuzzCheckAndMutateRequest(f *testing.F) {
	fuzzStruct(f, checkAndMutateRequest, "0c000100000001680f00050c00000001"+"080001000000010c000200000001730c00030000000176080004000000050002000601")
}

func FuzzCheckResponse(f *testing.F) {
	fuzzStruct(f, checkResponse, "0800010000000d02000201020003020c000400000001760a000700000000000000090b000800000003683a31")
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
