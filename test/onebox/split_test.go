package onebox_test

import (
	"fmt"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// splitBox is a box with two partitions and one key for each of four.
type splitBox struct {
	*box
	keys [4][]byte // by hash mod 4
}

func newSplitBox(t *testing.T) *splitBox {
	t.Helper()
	b := &splitBox{box: newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 2})}
	for i, missing := 0, 4; missing > 0; i++ {
		key := rawKey(fmt.Sprintf("key%d", i), "s")
		if slot := &b.keys[headerOf(0, 4, key).GPID.PartitionIndex]; *slot == nil {
			*slot = key
			missing--
			b.put(b.primary(key), key, "before")
		}
	}
	return b
}

// at sends requests about a key to a partition of the primary's server and returns their common error.
func (b *splitBox) at(partition int, key []byte) wire.ErrorName {
	b.t.Helper()
	header := b.header(key)
	header.GPID.PartitionIndex = int32(partition)
	c := dial(b.t, b.Cluster, b.Primary(tableName, partition%2))
	read := c.call(header, wire.Get, wire.Blob(key), nil)
	write := c.call(header, wire.Put, &wire.PutRequest{Key: key, Value: []byte("before")}, nil)
	require.Equal(b.t, read.Error, write.Error)
	return read.Error
}

func (b *splitBox) ballots() (ballots []int64) {
	for _, p := range b.query(b.Leader()).Partitions {
		ballots = append(ballots, p.Ballot)
	}
	return ballots
}

func TestSplitPhases(t *testing.T) {
	b := newSplitBox(t)
	require.Equal(t, wire.ErrOK, b.at(0, b.keys[1]), "no check before the first split")

	require.NoError(t, b.StartSplit(tableName))
	require.Equal(t, []int64{1, 1, -1, -1}, b.ballots())
	require.EqualValues(t, 4, b.query(b.Leader()).PartitionCount)
	child := b.query(b.Leader()).Partitions[2]
	require.Equal(t, wire.GPID{AppID: b.appID, PartitionIndex: 2}, child.GPID)
	require.False(t, child.Primary.IsValid())
	require.Equal(t, wire.ErrOK, b.at(0, b.keys[0]))
	require.Equal(t, wire.ErrOK, b.at(0, b.keys[2]), "serves its child's keys")
	require.Equal(t, wire.ErrParentPartitionMisused, b.at(0, b.keys[1]))
	require.Equal(t, wire.ErrObjectNotFound, b.at(2, b.keys[2]))

	require.NoError(t, b.SwitchSplit(tableName, 0))
	require.Equal(t, wire.ErrSplitting, b.at(0, b.keys[0]))
	require.Equal(t, wire.ErrSplitting, b.at(0, b.keys[2]))
	require.Equal(t, wire.ErrOK, b.at(1, b.keys[1]), "the other parent goes on")

	require.NoError(t, b.RegisterSplit(tableName, 0))
	require.Equal(t, []int64{1, 1, -1, -1}, b.ballots(), "not yet told")
	require.Equal(t, wire.ErrOK, b.at(0, b.keys[0]))
	require.Equal(t, wire.ErrParentPartitionMisused, b.at(0, b.keys[2]))
	require.Equal(t, wire.ErrOK, b.at(2, b.keys[2]))

	require.NoError(t, b.FinishSplit(tableName, 0))
	require.Equal(t, []int64{1, 1, 2, -1}, b.ballots())
	require.Equal(t, wire.ErrOK, b.at(1, b.keys[3]))

	require.NoError(t, b.FinishSplit(tableName))
	require.Equal(t, []int64{1, 1, 2, 2}, b.ballots())
	require.Equal(t, wire.ErrParentPartitionMisused, b.at(1, b.keys[3]))
	for i, key := range b.keys {
		require.Equal(t, wire.ErrOK, b.at(i, key))
		b.partitions = 4
		_, record := b.get(b.primary(key), key)
		require.Equal(t, "before", string(record.Value))
	}
	require.ErrorIs(t, b.FinishSplit(tableName), onebox.ErrSplit, "it is over")
	require.NoError(t, b.StartSplit(tableName), "the next one")
	require.ErrorIs(t, b.DropTable(tableName), onebox.ErrSplit)
}

func TestSplitChildHasReplicasOfItsOwn(t *testing.T) {
	b := newSplitBox(t)
	require.NoError(t, b.StartSplit(tableName))
	require.NoError(t, b.FinishSplit(tableName))
	b.partitions = 4
	key := b.keys[2]
	require.Equal(t, namesOf(b.Secondaries(tableName, 0)), namesOf(b.Secondaries(tableName, 2)))
	_, result := b.put(b.primary(key), key, "after")
	require.Greater(t, result.Decree, int64(1), "goes on from its parent's")
	for replica := range 3 {
		require.NoError(t, b.MovePrimary(tableName, 2, replica))
		_, record := b.get(b.primary(key), key)
		require.Equal(t, "after", string(record.Value))
	}
	// The parent keeps the records of its child, as servers do until they compact.
	hashKey, sortKey, err := wire.SplitKey(key)
	require.NoError(t, err)
	value, ok := b.Peek(tableName, hashKey, sortKey)
	require.True(t, ok)
	require.Equal(t, "after", string(value))
}

// A replica that is behind when its partition is split must not pass for a complete one of the child.
func TestSplitWithAReplicaBehind(t *testing.T) {
	b := newSplitBox(t)
	key := b.keys[2]
	behind := b.Secondaries(tableName, 0)[1]
	behind.Pause()
	b.put(b.primary(key), key, "missed")
	require.NoError(t, b.StartSplit(tableName))
	require.NoError(t, b.FinishSplit(tableName))
	require.ErrorIs(t, b.MovePrimary(tableName, 2, behind.Index()), onebox.ErrReplica)
	behind.Resume()
	require.NoError(t, b.MovePrimary(tableName, 2, behind.Index()))
	b.partitions = 4
	_, record := b.get(b.primary(key), key)
	require.Equal(t, "missed", string(record.Value))
}

func TestCancelSplit(t *testing.T) {
	b := newSplitBox(t)
	require.ErrorIs(t, b.CancelSplit(tableName), onebox.ErrSplit)
	require.NoError(t, b.StartSplit(tableName))
	require.NoError(t, b.SwitchSplit(tableName))
	require.NoError(t, b.CancelSplit(tableName))
	require.Equal(t, []int64{1, 1}, b.ballots())
	require.Equal(t, wire.ErrOK, b.at(0, b.keys[2]))
	require.Equal(t, wire.ErrParentPartitionMisused, b.at(0, b.keys[1]), "the check stays")

	require.NoError(t, b.StartSplit(tableName))
	require.NoError(t, b.RegisterSplit(tableName, 1))
	require.ErrorIs(t, b.CancelSplit(tableName), onebox.ErrSplit)
}

func TestSplitErrors(t *testing.T) {
	b := newSplitBox(t)
	for _, step := range []func(string, ...int) error{b.SwitchSplit, b.RegisterSplit, b.FinishSplit} {
		require.ErrorIs(t, step("none"), onebox.ErrNoTable)
		require.ErrorIs(t, step(tableName), onebox.ErrSplit)
	}
	require.ErrorIs(t, b.StartSplit("none"), onebox.ErrNoTable)
	require.NoError(t, b.StartSplit(tableName))
	require.ErrorIs(t, b.StartSplit(tableName), onebox.ErrSplit)
	require.ErrorIs(t, b.FinishSplit(tableName, 2), onebox.ErrNoPartition)
	require.NoError(t, b.ClearPrimary(tableName, 0))
	require.ErrorIs(t, b.FinishSplit(tableName, 0), onebox.ErrSplit)
	require.ErrorIs(t, b.MovePrimary(tableName, 2, 0), onebox.ErrNoPartition)
	_, err := b.CreateTable("odd", onebox.TableOptions{Partitions: 3})
	require.NoError(t, err)
	require.ErrorIs(t, b.StartSplit("odd"), onebox.ErrSplit)
}

// A child still has the records of its parent. Scans drop them, if they are asked to and if the table's
// replicas check hashes.
func TestScansAfterASplit(t *testing.T) {
	x := newTester(t)
	x.fillHashKeys(40)
	count := func(index int32, validate wire.OptionalBool) int {
		header := wire.Header{GPID: wire.GPID{AppID: x.appID, PartitionIndex: index}, PartitionHash: uint64(index)}
		in := wholePartition()
		in.ValidatePartitionHash = validate
		var out wire.ScanResponse
		got := dial(t, x.Cluster, x.Primary(tableName, int(index))).call(header, wire.GetScanner, in, &out)
		require.Equal(t, wire.ErrOK, got.Error)
		return len(out.Records)
	}
	open := x.begin()
	require.Equal(t, 40, count(0, wire.Yes))
	require.NoError(t, x.StartSplit(tableName))
	require.Equal(t, 40, count(0, wire.Yes), "the parent still serves both")
	require.NoError(t, x.FinishSplit(tableName))
	for index := range int32(2) {
		require.Equal(t, 40, count(index, wire.No))
		require.Equal(t, count(index, wire.Yes), count(index, wire.Absent))
	}
	require.Equal(t, 40, count(0, wire.Yes)+count(1, wire.Yes))
	require.Less(t, count(0, wire.Yes), 40)

	// A scan from before the split loses the records of the child, and nobody says so.
	scanned := len(open.Records)
	for open.ContextID != wire.ScanComplete {
		open = x.scan(open.ContextID)
		require.Equal(t, wire.StatusOK, open.Status)
		scanned += len(open.Records)
	}
	require.Less(t, scanned, 40)

	require.NoError(t, x.SetTableEnv(tableName, "replica.split.validate_partition_hash", "false"))
	require.Equal(t, 40, count(0, wire.Yes))
}

// fillHashKeys writes records of n hash keys.
func (x *tester) fillHashKeys(n int) {
	x.box.t.Helper()
	require.NoError(x.box.t, x.Load(tableName, n, func(i int) (_, _, _ []byte) { return fmt.Append(nil, i), nil, nil }))
}

// The hash check can be had without a split.
func TestHashValidation(t *testing.T) {
	const variable = "replica.split.validate_partition_hash"
	b := newRudeBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 4})
	key := rawKey("a", "b")
	header := b.header(key)
	header.PartitionHash++
	c := b.primary(key)
	require.Equal(t, wire.ErrOK, c.call(header, wire.Get, wire.Blob(key), nil).Error)
	require.NoError(t, b.SetTableEnv(tableName, variable, "true"))
	require.Equal(t, wire.ErrParentPartitionMisused, c.call(header, wire.Get, wire.Blob(key), nil).Error)
	require.Equal(t, wire.ErrOK, c.call(b.header(key), wire.Get, wire.Blob(key), nil).Error)
	require.NoError(t, b.SetTableEnv(tableName, variable, ""))
	require.Equal(t, wire.ErrOK, c.call(header, wire.Get, wire.Blob(key), nil).Error)
	require.ErrorIs(t, b.SetTableEnv(tableName, variable, "maybe"), onebox.ErrEnvironment)
	require.ErrorIs(t, b.SetTableEnv("none", variable, "true"), onebox.ErrNoTable)
}
