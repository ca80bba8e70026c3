package onebox_test

import (
	"io"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// edited returns a request frame with changes: of the header, and of the finished bytes.
func edited(b *box, version int, method *wire.Method, in wire.Arguments, key []byte, edit func(h *wire.Header), bytes func(frame []byte) []byte) []byte {
	header := b.header(key)
	header.TimeoutMillis = 1000
	if edit != nil {
		edit(&header)
	}
	encode := wire.AppendRequestV1
	if version == 0 {
		encode = wire.AppendRequestV0
	}
	request := encode(nil, &header, method, 1, in)
	if bytes != nil {
		request = bytes(request)
	}
	return request
}

func TestViolations(t *testing.T) {
	key := rawKey("a", "b")
	wrongHash := func(h *wire.Header) { h.PartitionHash ^= 1 << 40 }
	noTimeout := func(h *wire.Header) { h.TimeoutMillis = 0 }
	noHash := func(h *wire.Header) { h.PartitionHash = 0 }
	// The arguments of a v1 get start after a header of 53 bytes and a message begin of 29.
	const arguments = 53 + 29
	setByte := func(at int, value byte) func([]byte) []byte {
		return func(frame []byte) []byte { frame[at] = value; return frame }
	}
	put := &wire.PutRequest{Key: key, Value: []byte("v")}
	long := make([]byte, 65535)
	batch := &wire.BatchGetRequest{Keys: []wire.FullKey{{HashKey: []byte("a")}, {HashKey: long}}}
	scan := func(start []byte, pattern string, full wire.OptionalBool) *wire.GetScannerRequest {
		return &wire.GetScannerRequest{StartKey: start, HashKeyFilter: wire.FilterPrefix, HashKeyPattern: []byte(pattern), FullScan: full}
	}
	for name, test := range map[string]struct {
		version int
		method  *wire.Method
		in      wire.Arguments
		edit    func(*wire.Header)
		bytes   func([]byte) []byte
		want    wire.ErrorName // "": the server hangs up; "silence": no reply
	}{
		"get with a wrong hash":   {1, wire.Get, wire.Blob(key), wrongHash, nil, wire.ErrOK},
		"put with a wrong hash":   {1, wire.Put, put, wrongHash, nil, ""},
		"put without a hash":      {1, wire.Put, put, noHash, nil, wire.ErrOK},
		"remove with wrong hash":  {0, wire.Remove, wire.Blob(key), wrongHash, nil, ""},
		"no timeout":              {1, wire.Get, wire.Blob(key), noTimeout, nil, wire.ErrOK},
		"wrong thread hash":       {0, wire.Get, wire.Blob(key), nil, setByte(39, 0xff), ""},
		"empty key":               {1, wire.Get, wire.Blob(nil), nil, nil, ""},
		"key shorter than itself": {1, wire.Get, wire.Blob{0, 9, 'a'}, nil, nil, ""},
		"hash key too long":       {1, wire.Get, wire.Blob(append([]byte{0xff, 0xff}, make([]byte, 65535)...)), nil, nil, ""},
		"blob as a string":        {1, wire.Get, wire.Blob(key), nil, setByte(arguments, 11), wire.ErrOK},
		"value as a string":       {1, wire.Put, put, nil, setByte(arguments+3+7+len(key), 11), wire.ErrOK},
		"undecodable read":        {1, wire.Get, wire.Blob(key), nil, setByte(arguments+3, 0x7f), ""},
		"undecodable write":       {1, wire.Remove, wire.Blob(key), nil, setByte(arguments+3+3, 0x7f), "silence"},
		"internal field":          {1, wire.Put, internalPut{put}, nil, nil, wire.ErrOK},
		"multi_get, long":         {1, wire.MultiGet, &wire.MultiGetRequest{HashKey: long}, nil, nil, ""},
		"multi_put, long":         {1, wire.MultiPut, &wire.MultiPutRequest{HashKey: long}, nil, nil, ""},
		"multi_remove, long":      {1, wire.MultiRemove, &wire.MultiRemoveRequest{HashKey: long}, nil, nil, ""},
		"batch_get, long":         {1, wire.BatchGet, batch, nil, nil, ""},
		"sortkey_count, long":     {1, wire.SortKeyCount, wire.Blob(long), nil, nil, ""},
		"check_and_set, long":     {1, wire.CheckAndSet, &wire.CheckAndSetRequest{HashKey: long}, nil, nil, ""},
		"check_and_mutate, long":  {1, wire.CheckAndMutate, &wire.CheckAndMutateRequest{HashKey: long}, nil, nil, ""},
		"incr, short":             {1, wire.Incr, &wire.IncrRequest{Key: []byte{0}}, nil, nil, ""},
		"scan from nowhere":       {1, wire.GetScanner, &wire.GetScannerRequest{}, nil, nil, ""},
		"scan from half a key":    {1, wire.GetScanner, &wire.GetScannerRequest{StartKey: []byte{0, 1}}, nil, nil, ""},
		"scan with a prefix":      {1, wire.GetScanner, scan(key, "b", wire.No), nil, nil, ""},
		"scan with long prefix":   {1, wire.GetScanner, scan(key, string(long), wire.Yes), nil, nil, ""},
		"multi_get, wrong hash":   {1, wire.MultiGet, &wire.MultiGetRequest{HashKey: []byte("a")}, wrongHash, nil, wire.ErrOK},
		"batch_get, wrong hash":   {1, wire.BatchGet, &wire.BatchGetRequest{Keys: []wire.FullKey{{HashKey: []byte("a")}}}, wrongHash, nil, wire.ErrOK},
		"multi_put, wrong hash":   {1, wire.MultiPut, &wire.MultiPutRequest{HashKey: []byte("a")}, wrongHash, nil, wire.ErrOK},
		"incr, wrong hash":        {1, wire.Incr, &wire.IncrRequest{Key: key}, wrongHash, nil, wire.ErrOK},
		"scan with a wrong hash":  {1, wire.GetScanner, &wire.GetScannerRequest{StartKey: key}, wrongHash, nil, wire.ErrOK},
		"hash key as a string":    {1, wire.SortKeyCount, wire.Blob("a"), nil, setByte(arguments+len("SORTKEY_COUNT")-len("GET"), 11), wire.ErrOK},
		"unknown field":           {1, wire.Scan, unknownField{&wire.ScanRequest{}}, nil, nil, wire.ErrOK},
		"unknown app":             {1, wire.Get, wire.Blob(key), func(h *wire.Header) { h.GPID.AppID = 99 }, nil, wire.ErrObjectNotFound},
		"index out of range":      {1, wire.Get, wire.Blob(key), func(h *wire.Header) { h.GPID.PartitionIndex = 1 }, nil, wire.ErrObjectNotFound},
		"negative index":          {1, wire.Get, wire.Blob(key), func(h *wire.Header) { h.GPID.PartitionIndex = -1 }, nil, wire.ErrObjectNotFound},
		"no app":                  {1, wire.Get, wire.Blob(key), func(h *wire.Header) { h.GPID = wire.GPID{} }, nil, wire.ErrHandlerNotFound},
		"signature":               {1, wire.Get, wire.Blob(key), nil, setByte(0, 'X'), ""},
		"version":                 {1, wire.Get, wire.Blob(key), nil, setByte(7, 2), ""},
		"message type":            {1, wire.Get, wire.Blob(key), nil, setByte(53+3, 2), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRudeBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
			c := b.primary(key)
			b.get(c, key)
			require.Empty(t, b.Violations())
			c.write(edited(b, test.version, test.method, test.in, key, test.edit, test.bytes))
			switch test.want {
			case "":
				_, err := io.Copy(io.Discard, c.conn)
				require.NoError(t, err)
			case "silence":
				c.silence()
			default:
				got, err := c.receive(nil)
				require.NoError(t, err)
				require.Equal(t, test.want, got.Error)
			}
			require.Len(t, b.Violations(), 1, "%v", b.Violations())
			require.Contains(t, b.Violations()[0], "replica-0")
		})
	}
}

// internalPut is a put with a field that only servers may send.
type internalPut struct{ *wire.PutRequest }

func (p internalPut) AppendField(dst []byte, id int16) []byte {
	dst = p.PutRequest.AppendField(dst, id)
	return append(dst[:len(dst)-1], 8, 0, 4, 0, 0, 0, 0, 0)
}

// unknownField is a request with a field that servers do not know.
type unknownField struct{ wire.Arguments }

func (u unknownField) AppendField(dst []byte, id int16) []byte {
	dst = u.Arguments.AppendField(dst, id)
	return append(dst[:len(dst)-1], 8, 0, 99, 0, 0, 0, 0, 0)
}

func TestViolationsOfMetaRequests(t *testing.T) {
	query := &wire.QueryConfigRequest{Table: tableName}
	for name, test := range map[string]struct {
		header wire.Header
		in     wire.Arguments
		closed bool
	}{
		"app id":      {wire.Header{GPID: wire.GPID{AppID: 1}}, query, true},
		"hash":        {wire.Header{PartitionHash: 1}, query, false},
		"undecodable": {wire.Header{}, wire.Blob{0, 0, 0, 99}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRudeBox(t, onebox.Config{}, onebox.TableOptions{})
			c := dial(t, b.Cluster, b.Meta(0))
			c.send(test.header, wire.QueryConfig, test.in)
			got, err := c.receive(nil)
			if test.closed {
				require.ErrorIs(t, err, io.EOF)
			} else {
				require.NoError(t, err)
				require.Equal(t, wire.ErrOK, got.Error)
			}
			require.Len(t, b.Violations(), 1)
		})
	}
}

// What servers tolerate and correct clients may do is no violation.
func TestNoViolations(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	for version := range 2 {
		c.version = version
		for method, in := range requestsOf(key) {
			if method != wire.ClearScanner {
				c.call(b.header(key), method, in, nil)
			}
		}
		whole := wire.Header{GPID: b.header(key).GPID} // the partition index for a hash
		for _, in := range []*wire.GetScannerRequest{
			wholePartition(),
			{StartKey: rawKey("b", ""), HashKeyFilter: wire.FilterPrefix, HashKeyPattern: []byte("a")},
			{StartKey: rawKey("a", ""), HashKeyFilter: wire.FilterPrefix, HashKeyPattern: []byte("b"), FullScan: wire.Yes},
		} {
			require.Equal(t, wire.ErrOK, c.call(whole, wire.GetScanner, in, nil).Error)
		}
		several := &wire.BatchGetRequest{Keys: []wire.FullKey{{HashKey: []byte("x")}, {HashKey: []byte("a")}, {HashKey: []byte("y")}}}
		require.Equal(t, wire.ErrOK, c.call(b.header(key), wire.BatchGet, several, nil).Error)
		got, _ := b.put(c, rawKey("", "sort key only"), "")
		require.Equal(t, wire.ErrOK, got.Error)
	}
	require.NoError(t, b.DropTable(tableName))
	got, _ := b.get(c, key)
	require.Equal(t, wire.ErrObjectNotFound, got.Error, "a client cannot know that the table is gone")
	longest := rawKey(string(make([]byte, wire.MaxHashKeyLength)), "")
	b.get(c, longest)
}

func TestViolationsAreBounded(t *testing.T) {
	b := newRudeBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	for range 150 {
		header := b.header(key)
		header.PartitionHash++
		c.call(header, wire.Get, wire.Blob(key), nil)
	}
	require.Len(t, b.Violations(), 100)
}

// New fails the test of a client that broke the protocol.
func TestNewReportsViolations(t *testing.T) {
	judged := &judgedTest{TB: t}
	b := newBox(judged, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	header := b.header(key)
	header.PartitionHash++
	b.primary(key).call(header, wire.Get, wire.Blob(key), nil)
	require.Zero(t, judged.errors)
	judged.end()
	require.Equal(t, 1, judged.errors)
}

// judgedTest is a test whose end and errors another test controls.
type judgedTest struct {
	testing.TB
	cleanups []func()
	errors   int
}

func (j *judgedTest) Cleanup(f func()) { j.cleanups = append(j.cleanups, f) }

func (j *judgedTest) Error(...any) { j.errors++ }

func (j *judgedTest) end() {
	for i := len(j.cleanups) - 1; i >= 0; i-- {
		j.cleanups[i]()
	}
}
