package wire_test

import (
	"encoding/hex"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// encodePartition returns the fields and the STOP of a partition_configuration.
func encodePartition(partition wire.PartitionConfiguration) []byte {
	response := wire.QueryConfigResponse{Partitions: []wire.PartitionConfiguration{partition}}
	before := len((&wire.QueryConfigResponse{}).AppendField(nil, 0)) - 1
	encoded := response.AppendField(nil, 0)
	return encoded[before : len(encoded)-1]
}

func decodePartition(t *testing.T, fields string) (wire.PartitionConfiguration, error) {
	t.Helper()
	var response wire.QueryConfigResponse
	err := wire.DecodeResult(new(wire.Reader), fromHex("0c0000 0f0005 0c 00000001"+fields+"00 00 00"), &response)
	if err != nil {
		return wire.PartitionConfiguration{}, err
	}
	require.Len(t, response.Partitions, 1)
	return response.Partitions[0], nil
}

// The example of docs/protocol.md, thrift profile.
func TestExamplePartition(t *testing.T) {
	const encoded = `0c0001 0000000300000002   0a0002 0000000000000007   080003 00000003
		0c0004 0a00000187f10001   0f0005 0c 00000001 0a00000287f10001   0f0006 0c 00000000
		0a0007 0000000000000000   080008 00000000
		0c0009 00000005 686f737431 87f1 01
		0f000a 0c 00000001 00000005 686f737432 87f1 01`
	want := wire.PartitionConfiguration{
		GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, Ballot: 7, MaxReplicaCount: 3,
		Primary:        netip.MustParseAddrPort("10.0.0.1:34801"),
		Secondaries:    []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:34801")},
		LastDrops:      []netip.AddrPort{},
		PrimaryName:    wire.HostPort{Host: "host1", Port: 34801},
		SecondaryNames: []wire.HostPort{{Host: "host2", Port: 34801}},
	}
	got, err := decodePartition(t, encoded)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, fromHex(encoded+"00"), encodePartition(want))
}

func TestPartitionOfOldServer(t *testing.T) {
	partition := examplePartition
	partition.PrimaryName, partition.SecondaryNames, partition.LastDropNames = wire.HostPort{}, nil, nil
	encoded := encodePartition(partition)
	require.NotContains(t, string(encoded), "host")
	got, err := decodePartition(t, hex.EncodeToString(encoded[:len(encoded)-1]))
	require.NoError(t, err)
	require.Equal(t, partition, got)
}

func TestAddress(t *testing.T) {
	for _, test := range []struct {
		encoded string
		want    netip.AddrPort
	}{
		{"0a00000187f10001", netip.MustParseAddrPort("10.0.0.1:34801")},
		{"0a00000187f1fffd", netip.MustParseAddrPort("10.0.0.1:34801")}, // bits without a meaning
		{"ffffffffffff0001", netip.MustParseAddrPort("255.255.255.255:65535")},
		{"0000000000000001", netip.MustParseAddrPort("0.0.0.0:0")},
		{"0000000000000000", netip.AddrPort{}},
		{"0a00000187f10000", netip.AddrPort{}},
	} {
		got, err := decodePartition(t, "0c0004"+test.encoded)
		require.NoError(t, err)
		require.Equal(t, test.want, got.Primary, test.encoded)
	}
	for _, encoded := range []string{"0a00000187f10002", "0a00000187f10003"} {
		_, err := decodePartition(t, "0c0004"+encoded)
		require.ErrorIs(t, err, wire.ErrMalformed)
	}
}

// Servers abort on addresses of a kind they do not know, so no address may be encoded as one.
func TestAddressThatPegasusCannotExpress(t *testing.T) {
	const offset = 11 + 11 + 7 + 3
	for text, want := range map[string]string{
		"10.0.0.1:34801":          "0a00000187f10001",
		"[::ffff:10.0.0.1]:34801": "0a00000187f10001",
		"[::1]:34801":             "0000000000000000",
		"[fe80::1%eth0]:34801":    "0000000000000000",
	} {
		encoded := encodePartition(wire.PartitionConfiguration{Primary: netip.MustParseAddrPort(text)})
		require.Equal(t, fromHex(want), encoded[offset:offset+8], text)
	}
	encoded := encodePartition(wire.PartitionConfiguration{})
	require.Equal(t, make([]byte, 8), encoded[offset:offset+8])
}

func TestHostPort(t *testing.T) {
	for _, test := range []struct {
		encoded string
		want    wire.HostPort
	}{
		{"00000005 686f737431 87f1 01", wire.HostPort{Host: "host1", Port: 34801}},
		{"00000001 68 ffff 01", wire.HostPort{Host: "h", Port: 65535}},
		{"00000000 0000 00", wire.HostPort{}},
		{"00000005 686f737431 87f1 00", wire.HostPort{}},
		{"00000000 87f1 01", wire.HostPort{}},
	} {
		got, err := decodePartition(t, "0c0009"+test.encoded)
		require.NoError(t, err)
		require.Equal(t, test.want, got.PrimaryName, test.encoded)
	}
	for _, encoded := range []string{"00000005 686f737431 87f1 02", "00000000 0000 ff"} {
		_, err := decodePartition(t, "0c0009"+encoded)
		require.ErrorIs(t, err, wire.ErrMalformed)
	}
	encoded := encodePartition(wire.PartitionConfiguration{SecondaryNames: []wire.HostPort{{Port: 1}}})
	require.Equal(t, fromHex("0f000a 0c 00000001 00000000 0000 00 00"), encoded[len(encoded)-16:])
}

func TestHostPortString(t *testing.T) {
	for want, node := range map[string]wire.HostPort{
		"":             {Port: 1},
		"host1:34801":  {Host: "host1", Port: 34801},
		"10.0.0.1:1":   {Host: "10.0.0.1", Port: 1},
		"[::1]:65535":  {Host: "::1", Port: 65535},
		"[fe80::%a]:0": {Host: "fe80::%a"},
	} {
		require.Equal(t, want, node.String())
		require.Equal(t, want != "", node.IsValid())
	}
}

func TestGPID(t *testing.T) {
	for _, test := range []struct {
		gpid       wire.GPID
		text       string
		threadHash int32
	}{
		{wire.GPID{AppID: 2, PartitionIndex: 3}, "2.3", 0x3de1},
		{wire.GPID{}, "0.0", 0},
		{wire.GPID{AppID: -1, PartitionIndex: -1}, "-1.-1", -7920},
		{wire.GPID{AppID: math.MaxInt32, PartitionIndex: 1}, "2147483647.1", 2147475730}, // overflows as on servers
	} {
		require.Equal(t, test.text, test.gpid.String())
		require.Equal(t, test.threadHash, test.gpid.ThreadHash())
		got, err := decodePartition(t, hex.EncodeToString(encodePartition(wire.PartitionConfiguration{GPID: test.gpid})[:11]))
		require.NoError(t, err)
		require.Equal(t, test.gpid, got.GPID)
	}
}

func TestTimeoutMillis(t *testing.T) {
	for _, test := range []struct {
		left time.Duration
		want int32
	}{
		{math.MinInt64, 1},
		{-time.Second, 1},
		{0, 1},
		{1, 1},
		{time.Millisecond - 1, 1},
		{time.Millisecond, 1},
		{time.Millisecond + 1, 2},
		{time.Second, 1000},
		{math.MaxInt32 * time.Millisecond, math.MaxInt32},
		{math.MaxInt32*time.Millisecond + 1, math.MaxInt32},
		{math.MaxInt64, math.MaxInt32},
	} {
		require.Equal(t, test.want, wire.TimeoutMillis(test.left), test.left)
	}
}

func TestExpireEpoch(t *testing.T) {
	require.Equal(t, time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC).Unix(), int64(wire.ExpireEpoch))
}

var internedName wire.ErrorName // outlives what it was made of, as far as the compiler knows

// Every constant of type ErrorName must be known to the decoder, or it would copy the name each time.
func TestErrorNames(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	require.NoError(t, err)
	names := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "ErrorName" {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		require.True(t, ok)
		name, err := strconv.Unquote(literal.Value)
		require.NoError(t, err)
		require.Equal(t, wire.ErrorName(name), wire.InternErrorName([]byte(name)))
		encoded := []byte(name)
		require.Zero(t, testing.AllocsPerRun(10, func() { internedName = wire.InternErrorName(encoded) }), name)
		names++
		return true
	})
	require.Equal(t, 35, names)
}

func TestUnknownErrorName(t *testing.T) {
	bytes := []byte("ERR_NEW")
	name := wire.InternErrorName(bytes)
	bytes[0] = 'X'
	require.Equal(t, wire.ErrorName("ERR_NEW"), name, "the name must not share the bytes")
}
