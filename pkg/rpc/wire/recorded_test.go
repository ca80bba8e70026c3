package wire_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// recordedCount is the number of exchanges in testdata.
const recordedCount = 1076

// exchange is one recorded request and its response; testdata/README.md explains the format.
type exchange struct {
	Topic          string
	Name           string   `json:"name"`
	RPC            string   `json:"rpc"`
	HeaderVersion  int      `json:"header_version"`
	Request        hexBytes `json:"request_hex"`
	Response       hexBytes `json:"response_hex"`
	ClosedByServer bool     `json:"closed_by_server"`
	Fill           struct {
		At    int      `json:"at"`
		Byte  hexBytes `json:"byte"`
		Count int      `json:"count"`
	} `json:"request_fill"`
	Decoded struct {
		Header struct {
			AppID          int32  `json:"app_id"`
			PartitionIndex int32  `json:"partition_index"`
			ClientTimeout  int32  `json:"client_timeout"`
			ThreadHash     int32  `json:"thread_hash"`
			PartitionHash  string `json:"partition_hash"`
			Backup         bool   `json:"is_backup_request"`
		} `json:"header"`
		Sequence     int32           `json:"sequence_id"`
		Arguments    json.RawMessage `json:"args"`
		FrameError   wire.ErrorName  `json:"frame_error"`
		ResponseName string          `json:"response_name"`
		Body         json.RawMessage `json:"body"`
	} `json:"decoded"`
}

// String names the exchange in failures.
func (e *exchange) String() string { return e.Topic + "/" + e.Name }

// hasBody says whether the response had a result struct.
func (e *exchange) hasBody() bool {
	return len(e.Decoded.Body) > 0 && string(e.Decoded.Body) != "null"
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// recorded returns all exchanges. They are shared; nobody may write to them.
func recorded(tb testing.TB) []exchange {
	tb.Helper()
	exchanges, err := loadRecorded()
	require.NoError(tb, err)
	require.Len(tb, exchanges, recordedCount)
	return exchanges
}

var loadRecorded = sync.OnceValues(func() (all []exchange, err error) {
	paths, err := filepath.Glob(filepath.Join("testdata", "*", "*.json.gz"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		exchanges, err := loadTopic(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, exchanges...)
	}
	return all, nil
})

func loadTopic(path string) (exchanges []exchange, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	if err := json.NewDecoder(plain).Decode(&exchanges); err != nil {
		return nil, err
	}
	topic := filepath.Base(filepath.Dir(path)) + "/" + strings.TrimSuffix(filepath.Base(path), ".json.gz")
	for i := range exchanges {
		e := &exchanges[i]
		e.Topic = topic
		e.Request = slices.Insert(e.Request, e.Fill.At, bytes.Repeat(e.Fill.Byte, e.Fill.Count)...)
	}
	return exchanges, nil
}

// message is a struct that travels: both halves of an RPC know how to write and how to read it.
type message interface {
	wire.Arguments
	wire.Result
}

func describeJSON(tb testing.TB, m message) string {
	tb.Helper()
	text, err := json.Marshal(describe(m))
	require.NoError(tb, err)
	return string(text)
}
