package conformance

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
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// recordingsFolder is where package wire keeps the recordings; its README.md explains the format.
var recordingsFolder = filepath.Join("..", "..", "pkg", "rpc", "wire", "testdata")

// Kinds of recordings, which are names of folders.
const (
	scripts   = "scripts"
	exchanges = "exchanges"
)

// exchange is one recorded request and its response.
type exchange struct {
	Kind, Topic    string
	Name           string   `json:"name"`
	RPC            string   `json:"rpc"`
	HeaderVersion  int      `json:"header_version"`
	To             role     `json:"to"`
	Request        hexBytes `json:"request_hex"`
	Response       hexBytes `json:"response_hex"` // empty: no reply came
	ClosedByServer bool     `json:"closed_by_server"`
	Table          string   `json:"table"`           // scripts only
	PartitionCount int      `json:"partition_count"` // scripts only
	Fill           struct {
		At    int      `json:"at"`
		Byte  hexBytes `json:"byte"`
		Count int      `json:"count"`
	} `json:"request_fill"`
	Decoded struct {
		Header struct {
			AppID          int32 `json:"app_id"`
			PartitionIndex int32 `json:"partition_index"`
		} `json:"header"`
		Sequence      int32 `json:"sequence_id"`
		RecordedAt    int64 `json:"recorded_at_unix"`
		ElapsedMillis int64 `json:"elapsed_ms"`
	} `json:"decoded"`
}

// role is what the receiver of a request was to the partition.
type role string

const (
	toMetaLeader   role = "meta-leader"
	toMetaFollower role = "meta-follower"
	toPrimary      role = "replica-primary"
	toSecondary    role = "replica-secondary"
	toOther        role = "replica-other" // has no such partition, or it does not matter
)

// String names the exchange in failures.
func (e *exchange) String() string { return e.Kind + "/" + e.Topic + "/" + e.Name }

func (e *exchange) gpid() wire.GPID {
	return wire.GPID{AppID: e.Decoded.Header.AppID, PartitionIndex: e.Decoded.Header.PartitionIndex}
}

func (e *exchange) time() time.Time { return time.Unix(e.Decoded.RecordedAt, 0) }

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// recordings maps each kind to its topics, and those to exchanges in the order in which they were recorded.
// They are shared; nobody may write to them.
type recordings map[string]map[string][]*exchange

// recorded returns all recordings.
func recorded(tb testing.TB) recordings {
	tb.Helper()
	all, err := loadRecordings()
	require.NoError(tb, err)
	return all
}

// find returns one exchange.
func (r recordings) find(tb testing.TB, kind, topic, name string) *exchange {
	tb.Helper()
	list := r[kind][topic]
	i := slices.IndexFunc(list, func(e *exchange) bool { return e.Name == name })
	require.GreaterOrEqual(tb, i, 0, "no recording %s/%s/%s", kind, topic, name)
	return list[i]
}

var loadRecordings = sync.OnceValues(func() (recordings, error) {
	paths, err := filepath.Glob(filepath.Join(recordingsFolder, "*", "*.json.gz"))
	if err != nil {
		return nil, err
	}
	all := recordings{scripts: {}, exchanges: {}}
	for _, path := range paths {
		kind := filepath.Base(filepath.Dir(path))
		topic := strings.TrimSuffix(filepath.Base(path), ".json.gz")
		if all[kind][topic], err = loadTopic(path, kind, topic); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return all, nil
})

func loadTopic(path, kind, topic string) (list []*exchange, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	if err := json.NewDecoder(plain).Decode(&list); err != nil {
		return nil, err
	}
	for _, e := range list {
		e.Kind, e.Topic = kind, topic
		e.Request = slices.Insert(e.Request, e.Fill.At, bytes.Repeat(e.Fill.Byte, e.Fill.Count)...)
	}
	return list, nil
}

func TestRecordingsAreThere(t *testing.T) {
	counts := map[string]int{}
	for kind, topics := range recorded(t) {
		for _, list := range topics {
			counts[kind] += len(list)
		}
	}
	require.Equal(t, map[string]int{scripts: 463, exchanges: 613}, counts)
}
