package wire_test

import (
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

var (
	benchHashKey = []byte("user:1234567890:profile")
	benchSortKey = []byte("settings")
)

func BenchmarkAppendRequestV1Get(b *testing.B) {
	key, err := wire.AppendKey(nil, benchHashKey, benchSortKey)
	if err != nil {
		b.Fatal(err)
	}
	header := wire.Header{GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, TimeoutMillis: 1000, PartitionHash: 1}
	argument := wire.Blob(key)
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendRequestV1(dst[:0], &header, wire.Get, 7, &argument)
	}
}

func BenchmarkAppendRequestV1Put(b *testing.B) {
	key, err := wire.AppendKey(nil, benchHashKey, benchSortKey)
	if err != nil {
		b.Fatal(err)
	}
	header := wire.Header{GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, TimeoutMillis: 1000, PartitionHash: 1}
	argument := wire.PutRequest{Key: key, Value: make([]byte, 100)}
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendRequestV1(dst[:0], &header, wire.Put, 7, &argument)
	}
}

func benchResponse() []byte {
	result := wire.GetResponse{
		Value:  make([]byte, 100),
		Origin: wire.Origin{GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, Server: []byte("localhost:34801")},
	}
	return wire.AppendResponse(nil, wire.ErrOK, wire.Get, 7, &result)
}

func BenchmarkParseResponse(b *testing.B) {
	frame := benchResponse()
	var response wire.Response
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.ParseResponse(frame, &response); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeGetResponse(b *testing.B) {
	frame := benchResponse()
	var response wire.Response
	var result wire.GetResponse
	var reader wire.Reader
	b.ReportAllocs()
	for b.Loop() {
		if err := wire.ParseResponse(frame, &response); err != nil {
			b.Fatal(err)
		}
		if err := wire.DecodeResult(&reader, response.Result, &result); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKey(b *testing.B) {
	dst := make([]byte, 0, 1024)
	var hash uint64
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = wire.AppendKey(dst[:0], benchHashKey, benchSortKey); err != nil {
			b.Fatal(err)
		}
		hash += wire.KeyHash(benchHashKey, benchSortKey)
	}
	_ = hash
}
