package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// described are all operations, asked to say who answered. Each says whether it is a write.
var described = map[string]struct {
	write bool
	run   func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error
}{
	"get": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.Get(ctx, hashKey, nil, pegasus.WithMetadata(m))
		return err
	}},
	"append get": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.AppendGet(ctx, nil, hashKey, nil, pegasus.WithMetadata(m))
		return err
	}},
	"ttl": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, _, err := table.TTL(ctx, hashKey, nil, pegasus.WithMetadata(m))
		return err
	}},
	"exist": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.Exist(ctx, hashKey, nil, pegasus.WithMetadata(m))
		return err
	}},
	"set": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		return table.Set(ctx, hashKey, nil, nil, pegasus.WithTTL(time.Hour), pegasus.WithMetadata(m))
	}},
	"del": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		return table.Del(ctx, hashKey, nil, pegasus.WithMetadata(m))
	}},
	"multi get": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.MultiGet(ctx, hashKey, sortKeys("a"), &pegasus.MultiGetOptions{Metadata: m})
		return err
	}},
	"multi get range": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.MultiGetRange(ctx, hashKey, nil, nil, &pegasus.RangeOptions{Metadata: m})
		return err
	}},
	"multi get sort keys": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, _, err := table.MultiGetSortKeys(ctx, hashKey, &pegasus.RangeOptions{Metadata: m})
		return err
	}},
	"sort key count": {false, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.SortKeyCount(ctx, hashKey, pegasus.WithMetadata(m))
		return err
	}},
	"multi set": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		return table.MultiSet(ctx, hashKey, records("a", "1"), pegasus.WithMetadata(m))
	}},
	"multi del": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.MultiDel(ctx, hashKey, sortKeys("a"), pegasus.WithMetadata(m))
		return err
	}},
	"incr": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.Incr(ctx, hashKey, []byte("n"), 1, pegasus.WithMetadata(m))
		return err
	}},
	"check and set": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.CheckAndSet(ctx, hashKey, pegasus.Check{}, nil, nil, &pegasus.CheckOptions{Metadata: m})
		return err
	}},
	"a check that is not passed": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		check := pegasus.Check{SortKey: []byte("never"), Type: pegasus.CheckExist}
		_, err := table.CheckAndSet(ctx, hashKey, check, nil, nil, &pegasus.CheckOptions{Metadata: m})
		return err
	}},
	"check and mutate": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, err := table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, make([]pegasus.Mutation, 1), &pegasus.CheckOptions{Metadata: m})
		return err
	}},
	"compare exchange": {true, func(ctx context.Context, table *pegasus.Table, m *pegasus.Metadata) error {
		_, _, err := table.CompareExchange(ctx, hashKey, nil, nil, nil, pegasus.WithMetadata(m))
		return err
	}},
}

func TestMetadata(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		partition := int(hashOf("hash") % 4)
		decree := int64(0)
		for name, o := range described {
			t.Log(name)
			answered := pegasus.Metadata{Decree: -7, Server: "to be overwritten"}
			present(t, o.run(t.Context(), b.table, &answered))
			require.Equal(t, wire.GPID{AppID: b.appID, PartitionIndex: int32(partition)}, answered.Partition)
			require.Equal(t, b.Primary(tableName, partition).Address(), answered.Server)
			if !o.write {
				require.Zero(t, answered.Decree)
				continue
			}
			require.Greater(t, answered.Decree, decree, "every write takes a place in the log")
			decree = answered.Decree
		}
		require.NoError(t, described["set"].run(t.Context(), b.table, nil), "nobody wants to know")

		require.NoError(t, b.table.Set(t.Context(), hashKey, []byte("n"), []byte("no number")))
		var answered pegasus.Metadata
		err := described["incr"].run(t.Context(), b.table, &answered)
		require.ErrorIs(t, err, pegasus.ErrNotInteger)
		require.Greater(t, answered.Decree, decree, "also a write that fails")
	})
}

// What no server has executed leaves the metadata as it was.
func TestMetadataWithoutAnswer(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		before := pegasus.Metadata{Server: "as it was", Decree: 5}
		for fault, within := range map[*onebox.Fault]time.Duration{
			{Error: wire.ErrBusy}: time.Minute, {Error: wire.ErrBusy, ErrorWithBody: true}: time.Minute,
			{OKWithoutBody: true}: time.Minute, {DropReply: true}: time.Second,
		} {
			remove := b.Primary(tableName, 0).Inject(*fault)
			for name, o := range described {
				answered := before
				require.Error(t, o.run(b.within(within), b.table, &answered))
				require.Equal(t, before, answered, name)
			}
			remove()
		}
	})
}

// A scan tells who sent its records, as they come.
func TestMetadataOfScans(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		for i := range 40 {
			b.set(fmt.Sprint("key ", i), "value")
		}
		scanners, err := b.table.TableScanners(1, nil)
		require.NoError(t, err)
		s := scanners[0]
		defer s.Close()
		require.Zero(t, s.Metadata())
		for found := 0; ; found++ {
			record, err := s.Next(t.Context())
			if errors.Is(err, io.EOF) {
				require.Equal(t, 40, found)
				return
			}
			require.NoError(t, err)
			partition := int(hashOf(string(record.HashKey)) % 4)
			require.Equal(t, pegasus.Metadata{
				Partition: wire.GPID{AppID: b.appID, PartitionIndex: int32(partition)},
				Server:    b.Primary(tableName, partition).Address(),
			}, s.Metadata())
		}
	})
}

// A batch tells who answered for which item, as far as there is room for it.
func TestMetadataOfBatches(t *testing.T) {
	inBubble(t, onebox.Config{}, onebox.TableOptions{Partitions: 4}, func(t *testing.T, b *box) {
		var keys []pegasus.Key
		var records []pegasus.BatchRecord
		for i := range 40 {
			key := pegasus.Key{HashKey: fmt.Append(nil, "key ", i/2), SortKey: fmt.Append(nil, i)}
			keys = append(keys, key)
			records = append(records, pegasus.BatchRecord{HashKey: key.HashKey, SortKey: key.SortKey})
		}
		for name, run := range map[string]func(options *pegasus.BatchOptions) error{
			"set": func(o *pegasus.BatchOptions) error { _, err := b.table.BatchSet(t.Context(), records, o); return err },
			"get": func(o *pegasus.BatchOptions) error { _, err := b.table.BatchGet(t.Context(), keys, o); return err },
			"del": func(o *pegasus.BatchOptions) error { _, err := b.table.BatchDel(t.Context(), keys, o); return err },
		} {
			got := make([]pegasus.Metadata, len(keys)-1)
			require.NoError(t, run(&pegasus.BatchOptions{Metadata: got}), name)
			for i, m := range got {
				partition := int(hashOf(string(keys[i].HashKey)) % 4)
				require.Equal(t, wire.GPID{AppID: b.appID, PartitionIndex: int32(partition)}, m.Partition, name)
				require.Equal(t, b.Primary(tableName, partition).Address(), m.Server, name)
				require.Equal(t, name != "get", m.Decree > 0, name)
			}
		}
	})
}

// A batch tells who answered with a failure, too, and leaves alone what nobody answered.
func TestMetadataOfFailedBatches(t *testing.T) {
	origin := wire.Origin{GPID: stubGPID, Server: []byte("10.0.0.9:34601")}
	executed := true
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		switch {
		case !executed:
			return wire.ErrBusy, nil
		case methodOf(request.Name) == wire.BatchGet:
			return "", &wire.BatchGetResponse{Status: wire.StatusIOError, Origin: origin}
		}
		return "", &wire.UpdateResponse{Status: wire.StatusIOError, Origin: origin}
	}
	before := pegasus.Metadata{Server: "as it was", Decree: 5}
	withStub(t, answer, func(t *testing.T, s *stub) {
		for name, run := range map[string]func(o *pegasus.BatchOptions) error{
			"get": func(o *pegasus.BatchOptions) error {
				_, err := s.table.BatchGet(t.Context(), batchKeys("a"), o)
				return err
			},
			"set": func(o *pegasus.BatchOptions) error {
				_, err := s.table.BatchSet(t.Context(), recordsOf(batchKeys("a"), func(int) string { return "value" }), o)
				return err
			},
		} {
			for _, executed = range []bool{true, false} {
				got := []pegasus.Metadata{before}
				require.Error(t, run(&pegasus.BatchOptions{Metadata: got}), name)
				if executed {
					require.Equal(t, []pegasus.Metadata{{Partition: stubGPID, Server: "10.0.0.9:34601"}}, got, name)
				} else {
					require.Equal(t, []pegasus.Metadata{before}, got, name)
				}
			}
		}
	})
}
