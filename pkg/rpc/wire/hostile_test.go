package wire_test

import (
	"bytes"
	"fmt"
	"math"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// allocated returns about how many bytes of memory f allocates, whether freed again or not. Others may
// allocate at the same time, as the machinery of fuzzing does, so the least of several measurements
// counts unless the first is small. f must come to the same each time.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 10 {
		if least = min(least, allocatedOnce(f)); least < 1<<17 {
			break
		}
	}
	return least
}

func allocatedOnce(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// allowance is what decoding so many bytes may allocate: a small multiple of them, and the list that
// is allocated on the word of its header.
func allowance(size int) uint64 { return 1<<18 + 8*uint64(size) }

// newMessages make one of each struct that travels as argument or as result.
func newMessages() []func() message {
	all := []func() message{newOf[wire.Blob], newOf[wire.Int64]}
	for _, l := range messageLayouts() {
		all = append(all, l.newMessage)
	}
	return all
}

// step makes tests of each truncation take about a thousand samples of the frames that are long.
func step(frame []byte) int { return 1 + len(frame)/1000 }

func TestTruncatedRecordedRequests(t *testing.T) {
	truncations := 0
	for _, e := range recorded(t) {
		if e.ClosedByServer {
			continue
		}
		for size := 0; size < len(e.Request); size += step(e.Request) {
			var request wire.Request
			parsed, err := wire.ParseRequest(e.Request[:size:size], &request)
			require.NoError(t, err, "%v cut at %d", &e, size)
			require.Zero(t, parsed, "%v cut at %d", &e, size)
			truncations++
		}
	}
	require.Greater(t, truncations, 100_000)
}

func TestTruncatedRecordedArguments(t *testing.T) {
	forRecorded(t, func(e *exchange, request *wire.Request, _ *wire.Response, c *rpcStructs) {
		for size := 0; size < len(request.Arguments); size += 4*step(request.Arguments) - 3 {
			cut := request.Arguments[:size:size]
			require.Error(t, wire.DecodeArguments(new(wire.Reader), cut, c.argument()), "%v cut at %d", e, size)
		}
	})
}

func TestTruncatedRecordedResponses(t *testing.T) {
	truncations := 0
	for _, e := range recorded(t) {
		var whole wire.Response
		if len(e.Response) > 0 {
			require.NoError(t, wire.ParseResponse(e.Response, &whole))
		}
		head := len(e.Response) - len(whole.Result)
		for size := 0; size < len(e.Response); size += step(e.Response) {
			var cut wire.Response
			err := wire.ParseResponse(e.Response[:size:size], &cut)
			require.Equal(t, size < head, err != nil, "%v cut at %d", &e, size)
			truncations++
		}
	}
	require.Greater(t, truncations, 150_000)
}

// A result of each size and RPC, cut or with a byte changed, is decoded as each of the structs in turn.
func TestDamagedRecordedResults(t *testing.T) {
	all, turn := newMessages(), 0
	type shape struct {
		rpc  string
		size int
	}
	seen := map[shape]bool{}
	forRecorded(t, func(e *exchange, _ *wire.Request, response *wire.Response, c *rpcStructs) {
		s := shape{e.RPC, len(response.Result)}
		if seen[s] {
			return
		}
		seen[s] = true
		for size := 0; size < len(response.Result); size += step(response.Result) {
			cut := response.Result[:size:size]
			require.Error(t, wire.DecodeResult(new(wire.Reader), cut, c.result()), "%v cut at %d", e, size)
		}
		damaged := bytes.Clone(response.Result)
		if len(damaged) > 512 {
			return // the same records as in the others, only more of them
		}
		for at := range damaged {
			for _, b := range []byte{0x00, 0x01, 0x0c, 0x0f, 0x7f, 0x80, 0xff} {
				damaged[at] = b
				_ = wire.DecodeResult(new(wire.Reader), damaged, c.result())
				_ = wire.DecodeResult(new(wire.Reader), damaged, all[turn%len(all)]())
				turn++
			}
			damaged[at] = response.Result[at]
		}
	})
	require.Len(t, seen, 105)
}

// A length that the bytes cannot hold is refused before memory is allocated for it.
func TestHugeDeclaredLength(t *testing.T) {
	for name, test := range map[string]struct {
		message message
		fields  string
	}{
		"blob":                 {new(wire.GetResponse), "0c0002 7fffffff"},
		"string":               {new(wire.GetResponse), "0b0006 7fffffff"},
		"negative blob":        {new(wire.PutRequest), "0c0001 ffffffff"},
		"copied string":        {new(wire.QueryConfigRequest), "0b0001 7fffffff"},
		"numbers":              {new(wire.QueryConfigRequest), "0f0002 08 7fffffff"},
		"negative count":       {new(wire.QueryConfigRequest), "0f0002 08 ffffffff"},
		"numbers, more than 4": {new(wire.QueryConfigRequest), "0f0002 08 00001000" + strings.Repeat("00", 0x1000)},
		"error name":           {new(wire.QueryConfigResponse), "0c0001 7fffffff"},
		"partitions":           {new(wire.QueryConfigResponse), "0f0005 0c 7fffffff"},
		"partitions, 1024":     {new(wire.QueryConfigResponse), "0f0005 0c 00000400"},
		"addresses":            {new(wire.QueryConfigResponse), "0f0005 0c 00000001 0f0005 0c 7fffffff"},
		"names":                {new(wire.QueryConfigResponse), "0f0005 0c 00000001 0f000a 0c 7fffffff"},
		"name":                 {new(wire.QueryConfigResponse), "0f0005 0c 00000001 0c0009 7fffffff"},
		"reserved blob":        {new(wire.PutRequest), "0c0007 7fffffff"},
		"sort keys":            {new(wire.MultiGetRequest), "0f0002 0c 7fffffff"},
		"sort keys, 1024":      {new(wire.MultiRemoveRequest), "0f0002 0c 00000400"},
		"sort key":             {new(wire.MultiRemoveRequest), "0f0002 0c 00000001 7fffffff"},
		"records":              {new(wire.MultiGetResponse), "0f0002 0c 7fffffff"},
		"records, negative":    {new(wire.ScanResponse), "0f0002 0c ffffffff"},
		"records, 1024":        {new(wire.ScanResponse), "0f0002 0c 00000400"},
		"records to write":     {new(wire.MultiPutRequest), "0f0002 0c 7fffffff"},
		"key of a record":      {new(wire.MultiGetResponse), "0f0002 0c 00000001 0c0001 7fffffff"},
		"key, negative":        {new(wire.MultiGetResponse), "0f0002 0c 00000001 0c0001 ffffffff"},
		"value of a record":    {new(wire.ScanResponse), "0f0002 0c 00000001 0c0001 00000000 0c0002 7fffffff"},
		"full keys":            {new(wire.BatchGetRequest), "0f0001 0c 7fffffff"},
		"batch":                {new(wire.BatchGetResponse), "0f0002 0c 7fffffff"},
		"value of a batch":     {new(wire.BatchGetResponse), "0f0002 0c 00000001 0c0001 00000000 0c0002 00000000 0c0003 ffffffff"},
		"mutations":            {new(wire.CheckAndMutateRequest), "0f0005 0c 7fffffff"},
		"value of a mutation":  {new(wire.CheckAndMutateRequest), "0f0005 0c 00000001 0c0003 7fffffff"},
		"check value":          {new(wire.CheckResponse), "0c0004 7fffffff"},
		"unknown string":       {new(wire.TTLResponse), "0b0063 7fffffff"},
		"unknown list":         {new(wire.TTLResponse), "0f0063 02 7fffffff"},
		"unknown set":          {new(wire.TTLResponse), "0e0063 02 7fffffff"},
		"unknown map":          {new(wire.TTLResponse), "0d0063 02 02 7fffffff"},
		"unknown list of sets": {new(wire.TTLResponse), "0f0063 0e 00000001 02 7fffffff"},
	} {
		body := fromHex("0c0000" + test.fields + strings.Repeat("00", 100))
		reader := new(wire.Reader)
		var err error
		size := allocated(func() { err = wire.DecodeResult(reader, body, test.message) })
		require.Error(t, err, name)
		require.Less(t, size, uint64(1<<16), name)
		require.LessOrEqual(t, testing.AllocsPerRun(10, func() {
			err = wire.DecodeResult(reader, body, test.message)
		}), 12.0, name)
	}
}

// lists are all lists there are, by the header of the field: an element that takes as little as it can
// without leaving anything out, and how many times its bytes one takes in memory at most.
var lists = map[string]struct {
	newMessage func() message
	header     string
	element    string
	times      float64
}{
	"numbers":     {newOf[wire.QueryConfigRequest], "0f0002 08", "00000000", 1},
	"partitions":  {newOf[wire.QueryConfigResponse], "0f0005 0c", emptyPartition, 3},
	"sort keys":   {newOf[wire.MultiGetRequest], "0f0002 0c", "00000000", 6},
	"removed":     {newOf[wire.MultiRemoveRequest], "0f0002 0c", "00000000", 6},
	"written":     {newOf[wire.MultiPutRequest], "0f0002 0c", emptyKeyValue, 4},
	"records":     {newOf[wire.MultiGetResponse], "0f0002 0c", emptyKeyValue, 4},
	"scanned":     {newOf[wire.ScanResponse], "0f0002 0c", emptyKeyValue, 4},
	"full keys":   {newOf[wire.BatchGetRequest], "0f0001 0c", emptyKeyValue, 4},
	"batch":       {newOf[wire.BatchGetResponse], "0f0002 0c", "0c0001 00000000 0c0002 00000000 0c0003 00000000 00", 4},
	"mutations":   {newOf[wire.CheckAndMutateRequest], "0f0005 0c", "080001 00000000 0c0002 00000000 0c0003 00000000 080004 00000000 00", 3},
	"addresses":   {newOf[wire.QueryConfigResponse], "0f0005 0c 00000001 0f0005 0c", "0000000000000000", 4},
	"names":       {newOf[wire.QueryConfigResponse], "0f0005 0c 00000001 0f000a 0c", "00000000 0000 00", 4},
	"names again": {newOf[wire.QueryConfigResponse], "0f0005 0c 00000001 0f000b 0c", "00000000 0000 00", 4},
}

const (
	emptyKeyValue  = "0c0001 00000000 0c0002 00000000 00"
	emptyPartition = `0c0001 0000000000000000 0a0002 0000000000000000 080003 00000000 0c0004 0000000000000000
		0f0005 0c 00000000 0f0006 0c 00000000 0a0007 0000000000000000 080008 00000000 00`
)

// asList returns a result whose field with the given header has so many of the elements.
func asList(header string, count int, element string) []byte {
	elements := bytes.Repeat(fromHex(element), count)
	end := strings.Repeat("00", 1+strings.Count(header, "0f00")) // one more if the list is in a list
	return wrap(fmt.Sprintf("0c0000 %s %08x", header, count), elements, end)
}

// decodeAllocates decodes a result and returns how much memory that took.
func decodeAllocates(body []byte, result message) (size uint64, err error) {
	reader := new(wire.Reader)
	size = allocated(func() { err = wire.DecodeResult(reader, body, result) })
	return size, err
}

// Lists of elements as small as they can be are what takes most memory for its bytes.
func TestListsTakeBoundedMemory(t *testing.T) {
	const count = 20_000
	for name, l := range lists {
		body := asList(l.header, count, l.element)
		size, err := decodeAllocates(body, l.newMessage())
		require.NoError(t, err, name)
		if strconv.IntSize == 64 { // or else slices are smaller
			require.Greater(t, float64(size), float64(len(body))*(l.times-1)*0.99, "%s: the bound is wide", name)
		}
		require.Less(t, float64(size), float64(len(body))*l.times+1<<16, name)
	}
}

func TestWrongElementType(t *testing.T) {
	for name, l := range lists {
		right := l.header[len(l.header)-2:]
		for _, wrong := range []string{"00", "02", "06", "08", "0a", "0b", "0c", "0f"} {
			header := l.header[:len(l.header)-2] + wrong
			err := wire.DecodeResult(new(wire.Reader), asList(header, 1, l.element), l.newMessage())
			if wrong == right {
				require.NoError(t, err, name)
			} else {
				require.ErrorIs(t, err, wire.ErrMalformed, "%s of type %s", name, wrong)
			}
			err = wire.DecodeResult(new(wire.Reader), asList(header, 0, ""), l.newMessage())
			require.NoError(t, err, "%s: an empty list may declare any type", name)
		}
	}
}

// An empty struct is a byte on the wire and up to 200 in memory: few are taken as they come, many are
// not.
func TestManyEmptyStructs(t *testing.T) {
	for name, l := range lists {
		if !strings.HasPrefix(l.element, "0") || strings.HasPrefix(l.element, "00") {
			continue // no struct
		}
		for count, want := range map[int]error{1: nil, 1024: nil, 1025: wire.ErrMalformed, 1 << 20: wire.ErrMalformed} {
			size, err := decodeAllocates(asList(l.header, count, "00"), l.newMessage())
			require.Less(t, size, uint64(1<<18), name)
			require.ErrorIs(t, err, want, "%d %s", count, name)
		}
	}
}

func TestManyPartitions(t *testing.T) {
	want := wire.QueryConfigResponse{Error: wire.ErrOK, Partitions: make([]wire.PartitionConfiguration, 5000)}
	for i := range want.Partitions {
		want.Partitions[i] = wire.PartitionConfiguration{GPID: wire.GPID{AppID: 1, PartitionIndex: int32(i)}}
	}
	var got wire.QueryConfigResponse
	require.NoError(t, wire.DecodeResult(new(wire.Reader), append(want.AppendField(nil, 0), 0), &got))
	require.Len(t, got.Partitions, 5000)
	require.Equal(t, int32(4999), got.Partitions[4999].GPID.PartitionIndex)
}
