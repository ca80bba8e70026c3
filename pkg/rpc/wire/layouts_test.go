package wire_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

const (
	exampleFields = `080001 00000007 | 0c0002 00000001 76 | 080003 00000002 | 080004 00000003 | 0b0006 00000003 683a31`
	// The partition_configuration of docs/protocol.md, thrift profile, with more of it set.
	partitionFields = `0c0001 0000000300000002 | 0a0002 0000000000000007 | 080003 00000003 | 0c0004 0a00000187f10001 |
		0f0005 0c 00000001 0a00000287f10001 | 0f0006 0c 00000001 0a00000387f10001 | 0a0007 0000000000000009 |
		080008 00000001 | 0c0009 00000005 686f737431 87f1 01 |
		0f000a 0c 00000002 00000005 686f737432 87f1 01 00000000 0000 00 | 0f000b 0c 00000000`
	keyValueFields = `0c0001 00000001 6b | 0c0002 00000001 76 | 080003 00000005`
	fullKeyFields  = `0c0001 00000001 68 | 0c0002 00000001 73`
	fullDataFields = `0c0001 00000001 68 | 0c0002 00000001 73 | 0c0003 00000001 76`
	mutateFields   = `080001 00000001 | 0c0002 00000001 73 | 0c0003 00000001 76 | 080004 00000005`
)

func split(fields string) []string { return strings.Split(fields, "|") }

// joined returns the bytes of a struct with the given fields, as it stands in a list.
func joined(fields string) string { return strings.ReplaceAll(fields, "|", "") + "00" }

var (
	exampleOrigin    = wire.Origin{GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, Server: []byte("h:1")}
	examplePartition = wire.PartitionConfiguration{
		GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, Ballot: 7, MaxReplicaCount: 3,
		Primary:             netip.MustParseAddrPort("10.0.0.1:34801"),
		Secondaries:         []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:34801")},
		LastDrops:           []netip.AddrPort{netip.MustParseAddrPort("10.0.0.3:34801")},
		LastCommittedDecree: 9, PartitionFlags: 1,
		PrimaryName:    wire.HostPort{Host: "host1", Port: 34801},
		SecondaryNames: []wire.HostPort{{Host: "host2", Port: 34801}, {}},
		LastDropNames:  []wire.HostPort{},
	}
	exampleKeyValue = wire.KeyValue{Key: []byte("k"), Value: []byte("v"), ExpireSeconds: 5, HasExpiry: true}
	exampleFullKey  = wire.FullKey{HashKey: []byte("h"), SortKey: []byte("s")}
	exampleFullData = wire.FullData{HashKey: []byte("h"), SortKey: []byte("s"), Value: []byte("v")}
	exampleMutate   = wire.Mutate{Operation: wire.MutateDelete, SortKey: []byte("s"), Value: []byte("v"), ExpireSeconds: 5}
)

func layouts() []layout {
	return append(messageLayouts(),
		elementLayout(examplePartition, partitionFields, "0f0005", func(m *wire.QueryConfigResponse) []wire.PartitionConfiguration { return m.Partitions }),
		elementLayout(exampleKeyValue, keyValueFields, "0f0002", func(m *wire.MultiGetResponse) []wire.KeyValue { return m.Records }),
		elementLayout(exampleFullKey, fullKeyFields, "0f0001", func(m *wire.BatchGetRequest) []wire.FullKey { return m.Keys }),
		elementLayout(exampleFullData, fullDataFields, "0f0002", func(m *wire.BatchGetResponse) []wire.FullData { return m.Records }),
		elementLayout(exampleMutate, mutateFields, "0f0005", func(m *wire.CheckAndMutateRequest) []wire.Mutate { return m.Mutations }),
		layout{
			name:   "Header",
			want:   wire.Header{GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, TimeoutMillis: 1000, PartitionHash: 0x1122334455667788, Backup: true},
			fields: split("080001 00000002 | 080002 00000003 | 080003 000003e8 | 0a0004 1122334455667788 | 020005 01"),
			decode: func(content []byte) (any, error) {
				frame := binary.BigEndian.AppendUint32(fromHex("54484654 00000001"), uint32(len(content)))
				frame = append(binary.BigEndian.AppendUint32(frame, 14), content...)
				var request wire.Request
				_, err := wire.ParseRequest(wrap("", frame, "80010001 00000001 67 00000005 00"), &request)
				return request.Header, err
			},
		})
}

// elementLayout is that of a struct which travels only in lists: it is decoded as the only element of
// the field with the given header.
func elementLayout[E, M any, P interface {
	*M
	message
}](want E, fields, header string, elements func(P) []E) layout {
	return layout{
		name: fmt.Sprintf("%T", want), want: want, fields: split(fields),
		decode: func(content []byte) (any, error) {
			var m M
			err := wire.DecodeResult(new(wire.Reader), wrap("0c0000"+header+"0c 00000001", content, "00 00"), P(&m))
			return append(elements(&m), *new(E))[0], err
		},
	}
}

// messageLayouts are those of all structs that travel as argument or as result.
func messageLayouts() []layout {
	return slices.Concat(routingLayouts(), singleLayouts(), multiLayouts(), atomicLayouts(), scanLayouts())
}

func routingLayouts() []layout {
	return []layout{
		messageLayout(&wire.QueryConfigRequest{Table: "t", Partitions: []int32{1, -1}},
			newOf[wire.QueryConfigRequest], "0b0001 00000001 74 | 0f0002 08 00000002 00000001 ffffffff"),
		messageLayout(&wire.QueryConfigResponse{
			Error: wire.ErrBusy, AppID: 2, PartitionCount: 8, Stateful: true,
			Partitions: []wire.PartitionConfiguration{examplePartition},
		}, newOf[wire.QueryConfigResponse],
			"0c0001 00000008 4552525f42555359 | 080002 00000002 | 080003 00000008 | 020004 01 | 0f0005 0c 00000001"+joined(partitionFields)),
	}
}

func singleLayouts() []layout {
	return []layout{
		messageLayout(&wire.GetResponse{Status: 7, Value: []byte("v"), Origin: exampleOrigin}, newOf[wire.GetResponse], exampleFields),
		messageLayout(&wire.TTLResponse{Status: 7, Seconds: -1, Origin: exampleOrigin}, newOf[wire.TTLResponse],
			"080001 00000007 | 080002 ffffffff | 080003 00000002 | 080004 00000003 | 0b0006 00000003 683a31"),
		messageLayout(&wire.UpdateResponse{Status: 7, Decree: -1, Origin: exampleOrigin}, newOf[wire.UpdateResponse],
			"080001 00000007 | 080002 00000002 | 080003 00000003 | 0a0004 ffffffffffffffff | 0b0005 00000003 683a31"),
		messageLayout(&wire.PutRequest{Key: []byte("\x00\x01hs"), Value: []byte("v"), ExpireSeconds: 5}, newOf[wire.PutRequest],
			"0c0001 00000004 00016873 | 0c0002 00000001 76 | 080003 00000005"),
	}
}

func multiLayouts() []layout {
	return []layout{
		messageLayout(&wire.MultiGetRequest{
			HashKey: []byte("h"), SortKeys: [][]byte{[]byte("s"), {}}, MaxCount: 6, MaxSize: 7, NoValue: true,
			StartSortKey: []byte("a"), StopSortKey: []byte("z"), StartInclusive: true, StopInclusive: true,
			Filter: wire.FilterPostfix, FilterPattern: []byte("p"), Reverse: true,
		}, newOf[wire.MultiGetRequest], `0c0001 00000001 68 | 0f0002 0c 00000002 00000001 73 00000000 | 080003 00000006 |
			080004 00000007 | 020005 01 | 0c0006 00000001 61 | 0c0007 00000001 7a | 020008 01 | 020009 01 |
			08000a 00000003 | 0c000b 00000001 70 | 02000c 01`),
		messageLayout(&wire.MultiGetResponse{Status: 7, Records: []wire.KeyValue{exampleKeyValue}, Origin: exampleOrigin},
			newOf[wire.MultiGetResponse], `080001 00000007 | 0f0002 0c 00000001`+joined(keyValueFields)+
				`| 080003 00000002 | 080004 00000003 | 0b0006 00000003 683a31`),
		messageLayout(&wire.MultiPutRequest{HashKey: []byte("h"), Records: []wire.KeyValue{exampleKeyValue, exampleKeyValue}, ExpireSeconds: -1},
			newOf[wire.MultiPutRequest], `0c0001 00000001 68 | 0f0002 0c 00000002`+joined(keyValueFields)+joined(keyValueFields)+`| 080003 ffffffff`),
		messageLayout(&wire.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: [][]byte{[]byte("s")}, MaxCount: 100},
			newOf[wire.MultiRemoveRequest], `0c0001 00000001 68 | 0f0002 0c 00000001 00000001 73 | 0a0003 0000000000000064`),
		messageLayout(&wire.MultiRemoveResponse{Status: 7, Count: 2, Origin: exampleOrigin, Decree: -1}, newOf[wire.MultiRemoveResponse],
			`080001 00000007 | 0a0002 0000000000000002 | 080003 00000002 | 080004 00000003 | 0a0005 ffffffffffffffff | 0b0006 00000003 683a31`),
		messageLayout(&wire.CountResponse{Status: 7, Count: -1, Origin: exampleOrigin}, newOf[wire.CountResponse],
			`080001 00000007 | 0a0002 ffffffffffffffff | 080003 00000002 | 080004 00000003 | 0b0006 00000003 683a31`),
		messageLayout(&wire.BatchGetRequest{Keys: []wire.FullKey{exampleFullKey, exampleFullKey}}, newOf[wire.BatchGetRequest],
			`0f0001 0c 00000002`+joined(fullKeyFields)+joined(fullKeyFields)),
		messageLayout(&wire.BatchGetResponse{Status: 7, Records: []wire.FullData{exampleFullData}, Origin: exampleOrigin},
			newOf[wire.BatchGetResponse], `080001 00000007 | 0f0002 0c 00000001`+joined(fullDataFields)+
				`| 080003 00000002 | 080004 00000003 | 0b0006 00000003 683a31`),
	}
}

func atomicLayouts() []layout {
	return []layout{
		messageLayout(&wire.IncrRequest{Key: []byte("\x00\x01hs"), Increment: -2, ExpireSeconds: -1}, newOf[wire.IncrRequest],
			`0c0001 00000004 00016873 | 0a0002 fffffffffffffffe | 080003 ffffffff`),
		messageLayout(&wire.IncrResponse{Status: 7, NewValue: -2, Origin: exampleOrigin, Decree: 9}, newOf[wire.IncrResponse],
			`080001 00000007 | 0a0002 fffffffffffffffe | 080003 00000002 | 080004 00000003 | 0a0005 0000000000000009 | 0b0006 00000003 683a31`),
		messageLayout(&wire.CheckAndSetRequest{
			HashKey: []byte("h"), CheckSortKey: []byte("c"), CheckType: wire.CheckIntGreater, CheckOperand: []byte("o"),
			SetOther: true, SetSortKey: []byte("s"), SetValue: []byte("v"), SetExpireSeconds: 5, ReturnCheckValue: true,
		}, newOf[wire.CheckAndSetRequest], `0c0001 00000001 68 | 0c0002 00000001 63 | 080003 00000011 | 0c0004 00000001 6f |
			020005 01 | 0c0006 00000001 73 | 0c0007 00000001 76 | 080008 00000005 | 020009 01`),
		messageLayout(&wire.CheckAndMutateRequest{
			HashKey: []byte("h"), CheckSortKey: []byte("c"), CheckType: wire.CheckBytesGreater, CheckOperand: []byte("o"),
			Mutations: []wire.Mutate{exampleMutate, exampleMutate}, ReturnCheckValue: true,
		}, newOf[wire.CheckAndMutateRequest], `0c0001 00000001 68 | 0c0002 00000001 63 | 080003 0000000c | 0c0004 00000001 6f |
			0f0005 0c 00000002`+joined(mutateFields)+joined(mutateFields)+`| 020006 01`),
		messageLayout(&wire.CheckResponse{
			Status: 13, Returned: true, Exists: true, CheckValue: []byte("v"), Origin: exampleOrigin, Decree: 9,
		}, newOf[wire.CheckResponse], `080001 0000000d | 020002 01 | 020003 01 | 0c0004 00000001 76 | 080005 00000002 |
			080006 00000003 | 0a0007 0000000000000009 | 0b0008 00000003 683a31`),
	}
}

func scanLayouts() []layout {
	return []layout{
		messageLayout(&wire.GetScannerRequest{
			StartKey: []byte("\x00\x00"), StopKey: []byte("\xff\xff"), StartInclusive: true, StopInclusive: true, BatchSize: 9, NoValue: true,
			HashKeyFilter: wire.FilterAnywhere, HashKeyPattern: []byte("h"), SortKeyFilter: wire.FilterPrefix, SortKeyPattern: []byte("s"),
			ValidatePartitionHash: wire.No, ReturnExpiry: wire.Yes, FullScan: wire.Yes, OnlyCount: wire.No,
		}, newOf[wire.GetScannerRequest], `0c0001 00000002 0000 | 0c0002 00000002 ffff | 020003 01 | 020004 01 | 080005 00000009 |
			020006 01 | 080007 00000001 | 0c0008 00000001 68 | 080009 00000002 | 0c000a 00000001 73 |
			02000b 00 | 02000c 01 | 02000d 01 | 02000e 00`),
		messageLayout(&wire.ScanRequest{ContextID: -5}, newOf[wire.ScanRequest], `0a0001 fffffffffffffffb`),
		messageLayout(&wire.ScanResponse{
			Status: 7, Records: []wire.KeyValue{exampleKeyValue}, ContextID: -5, Origin: exampleOrigin, Count: 3, HasCount: true,
		}, newOf[wire.ScanResponse], `080001 00000007 | 0f0002 0c 00000001`+joined(keyValueFields)+
			`| 0a0003 fffffffffffffffb | 080004 00000002 | 080005 00000003 | 0b0006 00000003 683a31 | 080007 00000003`),
	}
}
