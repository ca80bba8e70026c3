package onebox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

func TestAbsentAndSecondaryReplicas(t *testing.T) {
	b := newBox(t, onebox.Config{Replicas: 4}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	for node, want := range map[int]wire.ErrorName{1: wire.ErrInvalidState, 3: wire.ErrObjectNotFound} {
		for version := range 2 {
			c := dial(t, b.Cluster, b.Replica(node))
			c.version = version
			for method, in := range requestsOf(key) {
				got := c.call(b.header(key), method, in, nil)
				require.Equal(t, want, got.Error, method.Name())
				require.False(t, got.HasResult)
			}
		}
	}
}

func TestClearScannerHasNoReply(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	key := rawKey("a", "b")
	c := b.primary(key)
	c.send(b.header(key), wire.ClearScanner, wire.Int64(-5))
	c.silence()
	b.get(c, key)
}

// A secondary has logged the last write but applies it only when it hears of the next one.
func TestBackupRequestsLagOneWrite(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	primary, secondary := b.primary(key), dial(t, b.Cluster, b.Replica(1))
	b.put(primary, key, "v1")
	require.Equal(t, wire.StatusNotFound, b.backup(secondary, key).Status)
	b.put(primary, key, "v2")
	require.Equal(t, "v1", string(b.backup(secondary, key).Value))
	require.Equal(t, b.Replica(1).Address(), string(b.backup(secondary, key).Origin.Server))
	require.Equal(t, "v2", string(b.backup(primary, key).Value), "a primary accepts them as well")
	header := b.header(key)
	header.Backup = true
	got := secondary.call(header, wire.Put, &wire.PutRequest{Key: key}, nil)
	require.Equal(t, wire.ErrInvalidState, got.Error, "writes ignore the flag")

	require.NoError(t, b.MovePrimary(tableName, 0, 1))
	require.Equal(t, "v2", string(b.backup(secondary, key).Value), "a new primary applies all it has")
}

// backup reads a record with the backup flag.
func (b *box) backup(c *client, key []byte) (result wire.GetResponse) {
	header := b.header(key)
	header.Backup = true
	require.Equal(b.t, wire.ErrOK, c.call(header, wire.Get, wire.Blob(key), &result).Error)
	result.Value = append([]byte(nil), result.Value...)
	return result
}

// A secondary that lags applies all but the last write as soon as it has logged so many, and all of them
// if it becomes primary.
func TestSecondariesThatLag(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	primary, secondary := b.primary(key), dial(t, b.Cluster, b.Replica(1))
	b.LagSecondaries(3)
	for i, want := range []string{"", "", "", "v3", "v3", "v3", "v6"} {
		b.put(primary, key, fmt.Sprint("v", i+1))
		require.Equal(t, want, string(b.backup(secondary, key).Value), "after write %d", i+1)
	}
	b.put(primary, key, "v8")
	b.LagSecondaries(0)
	require.Equal(t, "v6", string(b.backup(secondary, key).Value), "nothing was heard since")
	b.put(primary, key, "v9")
	require.Equal(t, "v8", string(b.backup(secondary, key).Value))

	b.LagSecondaries(100)
	b.put(primary, key, "v10")
	require.NoError(t, b.MovePrimary(tableName, 0, 1))
	require.Equal(t, "v10", string(b.backup(secondary, key).Value))
}

// A replica that is out of the configuration answers nobody, whatever it has.
func TestInactiveReplicas(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	require.NoError(t, b.ClearPrimary(tableName, 0))
	for _, backup := range []bool{false, true} {
		header := b.header(key)
		header.Backup = backup
		for method, in := range requestsOf(key) {
			got := dial(t, b.Cluster, b.Replica(0)).call(header, method, in, nil)
			require.Equal(t, wire.ErrInvalidState, got.Error, method.Name())
		}
	}
}

func TestWriteSizeLimit(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("size", "s")
	for version := range 2 {
		c := b.primary(key)
		c.version = version
		overhead := wire.RequestOverhead(wire.Put) + len((&wire.PutRequest{Key: key}).AppendField(nil, 1))
		limit := 1<<20 - overhead
		got, _ := b.put(c, key, string(make([]byte, limit+1)))
		require.Equal(t, wire.ErrInvalidData, got.Error)
		got, _ = b.put(c, key, string(make([]byte, limit)))
		require.Equal(t, wire.ErrOK, got.Error, "a body of exactly 1 MiB")
		_, record := b.get(c, key)
		require.Len(t, record.Value, limit)
	}
}

func TestDisks(t *testing.T) {
	for disk, want := range map[onebox.Disk]wire.ErrorName{
		onebox.DiskInsufficient: wire.ErrDiskInsufficient,
		onebox.DiskBroken:       wire.ErrDiskIOError,
	} {
		b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
		key := rawKey("a", "b")
		c := b.primary(key)
		b.put(c, key, "before")

		b.Replica(2).SetDisk(disk)
		got, _ := b.put(c, key, "during")
		require.Equal(t, wire.ErrOK, got.Error, "the quirk: only a secondary's disk")
		require.False(t, got.HasResult)
		b.Replica(0).SetDisk(disk)
		got, _ = b.put(c, key, "during")
		require.Equal(t, want, got.Error)
		for method, in := range requestsOf(key) {
			if isWrite(method) {
				require.Equal(t, want, c.call(b.header(key), method, in, nil).Error, method.Name())
			}
		}
		_, record := b.get(c, key)
		require.Equal(t, "before", string(record.Value), "nothing was written, and reads are served")

		b.Replica(0).SetDisk(onebox.DiskNormal)
		b.Replica(2).SetDisk(onebox.DiskNormal)
		got, _ = b.put(c, key, "after")
		require.True(t, got.HasResult)
	}
}

func TestDeniedByEnvironment(t *testing.T) {
	const deny = "replica.deny_client_request"
	invalid := wire.ErrInvalidState
	for value, want := range map[string]struct{ read, write wire.ErrorName }{
		"reconfig*read": {invalid, wire.ErrOK}, "reconfig*write": {wire.ErrOK, invalid}, "reconfig*all": {invalid, invalid},
		"timeout*read": {"", wire.ErrOK}, "timeout*write": {wire.ErrOK, ""}, "timeout*all": {"", ""},
	} {
		t.Run(value, func(t *testing.T) {
			b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
			key := rawKey("a", "b")
			require.NoError(t, b.SetTableEnv(tableName, deny, value))
			for method, in := range requestsOf(key) {
				c := b.primary(key)
				wanted := want.read
				if isWrite(method) {
					wanted = want.write
				}
				if wanted == "" || wanted == wire.ErrOK && method == wire.ClearScanner {
					c.send(b.header(key), method, in)
					c.silence()
					continue
				}
				require.Equal(t, wanted, c.call(b.header(key), method, in, nil).Error, method.Name())
			}
			require.NoError(t, b.SetTableEnv(tableName, deny, ""))
			got, _ := b.put(b.primary(key), key, "v")
			require.Equal(t, wire.ErrOK, got.Error)
		})
	}
}

func TestEnvironmentErrors(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	require.ErrorIs(t, b.SetTableEnv("none", "default_ttl", "1"), onebox.ErrNoTable)
	require.ErrorIs(t, b.SetTableEnv(tableName, "unknown", "1"), onebox.ErrEnvironment)
	require.ErrorIs(t, b.SetTableEnv(tableName, "default_ttl", "-1"), onebox.ErrEnvironment)
	require.ErrorIs(t, b.SetTableEnv(tableName, "replica.deny_client_request", "sometimes"), onebox.ErrEnvironment)
}

// Tables in special modes refuse some writes, and serve the rest.
func TestDisabledOperations(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	disabled := func(isDisabled func(*wire.Method) bool) {
		t.Helper()
		for method, in := range requestsOf(key) {
			want := wire.ErrOK
			if isDisabled(method) {
				want = wire.ErrOperationDisabled
			}
			if method != wire.ClearScanner {
				require.Equal(t, want, b.primary(key).call(b.header(key), method, in, nil).Error, method.Name())
			}
		}
	}
	none := func(*wire.Method) bool { return false }
	require.NoError(t, b.SetDuplicating(tableName, true))
	disabled(isAtomic)
	require.NoError(t, b.SetIdempotent(tableName, true))
	disabled(none)
	require.NoError(t, b.SetIngesting(tableName, true))
	disabled(isWrite)
	require.NoError(t, b.SetIngesting(tableName, false))
	require.NoError(t, b.SetDuplicating(tableName, false))
	require.NoError(t, b.SetIdempotent(tableName, false))
	disabled(none)
}

// Servers without authentication say so, to whatever a client negotiates.
func TestNegotiation(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	for _, node := range []*onebox.Node{b.Meta(0), b.Replica(0)} {
		c := dial(t, b.Cluster, node)
		c.send(wire.Header{}, wire.NewMethod("RPC_NEGOTIATION"), wire.Blob("anything"))
		frame, err := c.receiveFrame()
		require.NoError(t, err)
		var response wire.Response
		require.NoError(t, wire.ParseResponse(frame, &response))
		require.Equal(t, wire.ErrOK, response.Error)
		require.Equal(t, "RPC_NEGOTIATION_ACK", string(response.Name))
		require.Equal(t, unhex(t, "0c0000 080001 00000009 0c0002 00000000 00 00"), response.Result)
	}
}

// Each gate is set up in turn, the last one first: the answer must be that of the earliest.
func TestGatesInOrder(t *testing.T) {
	b := newRudeBox(t, onebox.Config{FailoverDelay: time.Hour}, onebox.TableOptions{Partitions: 2})
	key := rawKey("a", "b")
	index := b.index(key)
	node := b.Primary(tableName, index)
	c := b.primary(key)
	large := &wire.PutRequest{Key: key, Value: make([]byte, 1<<20)}
	small := &wire.PutRequest{Key: key}
	write := func(in *wire.PutRequest) wire.ErrorName { return c.call(b.header(key), wire.Put, in, nil).Error }
	read := func() wire.ErrorName { return c.call(b.header(key), wire.Get, wire.Blob(key), nil).Error }

	require.NoError(t, b.SetTableEnv(tableName, writeThrottling, "0*reject*0"))
	require.NoError(t, b.SetTableEnv(tableName, readSizeThrottling, "0"))
	write(small)
	require.Equal(t, wire.ErrBusy, write(small))
	require.Equal(t, wire.ErrBusy, read())
	for _, other := range b.Secondaries(tableName, index) {
		other.Pause()
	}
	require.Equal(t, wire.ErrNotEnoughMember, write(small))
	require.NoError(t, b.SetIngesting(tableName, true))
	require.Equal(t, wire.ErrOperationDisabled, write(small))
	node.SetDisk(onebox.DiskInsufficient)
	require.Equal(t, wire.ErrDiskInsufficient, write(small))
	require.NoError(t, b.ClearPrimary(tableName, index))
	require.Equal(t, wire.ErrInvalidState, write(small))
	require.Equal(t, wire.ErrInvalidState, read())
	require.NoError(t, b.StartSplit(tableName))
	require.NoError(t, b.SwitchSplit(tableName))
	require.Equal(t, wire.ErrSplitting, write(small))
	require.Equal(t, wire.ErrSplitting, read())
	require.NoError(t, b.SetDuplicating(tableName, true))
	require.Equal(t, wire.ErrOperationDisabled, c.call(b.header(key), wire.Incr, &wire.IncrRequest{Key: key}, nil).Error)
	require.Equal(t, wire.ErrInvalidData, write(large))
	require.NoError(t, b.SetTableEnv(tableName, "replica.deny_client_request", "reconfig*all"))
	require.Equal(t, wire.ErrInvalidState, write(large))
	require.Equal(t, wire.ErrInvalidState, read())
	require.NoError(t, b.SetTableEnv(tableName, "replica_access_controller.allowed_users", "root"))
	require.Equal(t, wire.ErrACLDeny, write(large))
	require.Equal(t, wire.ErrACLDeny, read())
	node.DenyClients(true)
	c.send(b.header(key), wire.Get, wire.Blob(key))
	c.silence()
}

func TestDispatch(t *testing.T) {
	b := newRudeBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	unknown := wire.NewMethod("RPC_UNKNOWN")
	serverGPID, tableGPID := wire.Header{PartitionHash: 5}, b.header(key)
	query := &wire.QueryConfigRequest{Table: tableName}
	for name, test := range map[string]struct {
		node   *onebox.Node
		header wire.Header
		method *wire.Method
		in     wire.Arguments
	}{
		"unknown to a meta":                 {b.Meta(0), serverGPID, unknown, wire.Blob(nil)},
		"unknown to a meta with an app id":  {b.Meta(0), tableGPID, unknown, wire.Blob(nil)},
		"unknown to a replica":              {b.Replica(0), serverGPID, unknown, wire.Blob(nil)},
		"unknown to a partition":            {b.Replica(0), tableGPID, unknown, wire.Blob(nil)},
		"data without a partition":          {b.Replica(0), serverGPID, wire.Get, wire.Blob(key)},
		"data to a meta":                    {b.Meta(0), serverGPID, wire.Get, wire.Blob(key)},
		"meta request to a replica server":  {b.Replica(0), serverGPID, wire.QueryConfig, query},
		"meta request to a partition there": {b.Replica(0), tableGPID, wire.QueryConfig, query},
	} {
		c := dial(t, b.Cluster, test.node)
		got := c.call(test.header, test.method, test.in, nil)
		require.Equal(t, wire.ErrHandlerNotFound, got.Error, name)
		require.False(t, got.HasResult, name)
	}
	// The read gates come before the lookup of the RPC.
	got := dial(t, b.Cluster, b.Replica(1)).call(tableGPID, wire.QueryConfig, query, nil)
	require.Equal(t, wire.ErrInvalidState, got.Error)
}

func TestTTL(t *testing.T) {
	clock := time.Date(2030, 5, 6, 7, 8, 9, 0, time.UTC)
	now := int32(clock.Unix() - wire.ExpireEpoch)
	b := newBox(t, onebox.Config{Now: func() time.Time { return clock }}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	ttl := func() wire.TTLResponse {
		var result wire.TTLResponse
		require.Equal(t, wire.ErrOK, c.call(b.header(key), wire.TTL, wire.Blob(key), &result).Error)
		result.Origin = wire.Origin{}
		return result
	}
	put := func(expire int32) {
		c.call(b.header(key), wire.Put, &wire.PutRequest{Key: key, Value: []byte("v"), ExpireSeconds: expire}, nil)
	}
	missing := wire.TTLResponse{Status: wire.StatusNotFound}
	require.Equal(t, missing, ttl())
	put(0)
	require.Equal(t, wire.TTLResponse{Seconds: -1}, ttl())
	put(now + 600)
	require.Equal(t, wire.TTLResponse{Seconds: 600}, ttl())
	put(now + 1)
	require.Equal(t, wire.TTLResponse{Seconds: 1}, ttl())
	put(now)
	require.Equal(t, missing, ttl(), "expires now")
	_, record := b.get(c, key)
	require.Equal(t, wire.StatusNotFound, record.Status)
	_, ok := b.Peek(tableName, []byte("a"), []byte("b"))
	require.False(t, ok)
	put(-5)
	require.Equal(t, wire.TTLResponse{Seconds: -5 - now}, ttl(), "practically never")
	put(1)
	require.Equal(t, missing, ttl(), "long ago")

	require.NoError(t, b.SetTableEnv(tableName, "default_ttl", "500"))
	put(0)
	require.Equal(t, wire.TTLResponse{Seconds: 500}, ttl())
	put(now + 5000)
	require.Equal(t, wire.TTLResponse{Seconds: 5000}, ttl())
	require.NoError(t, b.SetTableEnv(tableName, "default_ttl", ""))
	put(0)
	require.Equal(t, wire.TTLResponse{Seconds: 500}, ttl(), "deleting it does not end it")
	require.NoError(t, b.SetTableEnv(tableName, "default_ttl", "0"))
	put(0)
	require.Equal(t, wire.TTLResponse{Seconds: -1}, ttl())
}
