package onebox_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

func addressOf(node *onebox.Node) netip.AddrPort { return netip.MustParseAddrPort(node.Address()) }

func TestQueryConfigTellsEveryPartition(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 4})
	got := b.query(b.Meta(0))
	require.Equal(t, wire.ErrOK, got.Error)
	require.Equal(t, b.appID, got.AppID)
	require.EqualValues(t, 4, got.PartitionCount)
	require.True(t, got.Stateful)
	require.Len(t, got.Partitions, 4)
	for i, p := range got.Partitions {
		require.Equal(t, wire.GPID{AppID: b.appID, PartitionIndex: int32(i)}, p.GPID)
		require.Positive(t, p.Ballot)
		require.EqualValues(t, 3, p.MaxReplicaCount)
		require.Equal(t, addressOf(b.Replica(i%3)), p.Primary, "round robin")
		require.Equal(t, addressOf(b.Primary(tableName, i)), p.Primary)
		for j, secondary := range b.Secondaries(tableName, i) {
			require.Equal(t, addressOf(secondary), p.Secondaries[j])
		}
		require.Len(t, p.Secondaries, 2)
		require.Empty(t, p.LastDrops)
		require.Nil(t, p.SecondaryNames, "no names unless they are configured")
	}
}

func TestQueryConfigSelectsPartitions(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 4})
	c := dial(t, b.Cluster, b.Meta(0))
	for _, test := range []struct{ ask, want []int32 }{
		{nil, []int32{0, 1, 2, 3}},
		{[]int32{1}, []int32{1}},
		{[]int32{3, 0, 3}, []int32{3, 0, 3}},
		{[]int32{2, 4, -1}, []int32{2}},
		{[]int32{4, 99}, []int32{0, 1, 2, 3}},
	} {
		var got wire.QueryConfigResponse
		// A Java client sends gpid -1.-1.
		header := wire.Header{GPID: wire.GPID{AppID: -1, PartitionIndex: -1}}
		c.call(header, wire.QueryConfig, &wire.QueryConfigRequest{Table: tableName, Partitions: test.ask}, &got)
		var indices []int32
		for _, p := range got.Partitions {
			indices = append(indices, p.GPID.PartitionIndex)
		}
		require.Equal(t, test.want, indices)
		require.EqualValues(t, 4, got.PartitionCount)
	}
}

func TestQueryConfigOfUnknownAndDroppedTables(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	require.NoError(t, b.DropTable(tableName))
	require.ErrorIs(t, b.DropTable(tableName), onebox.ErrNoTable)

	got := b.query(b.Meta(0))
	require.Equal(t, wire.QueryConfigResponse{Error: wire.ErrObjectNotFound}, withoutLists(got))
	reply, _ := b.get(c, key)
	require.Equal(t, wire.ErrObjectNotFound, reply.Error)

	again, err := b.CreateTable(tableName, onebox.TableOptions{})
	require.NoError(t, err)
	require.NotEqual(t, b.appID, again)
	require.Equal(t, again, b.query(b.Meta(0)).AppID)
	_, err = b.CreateTable(tableName, onebox.TableOptions{})
	require.ErrorIs(t, err, onebox.ErrTableExists)
}

// withoutLists turns empty lists, which decoding makes, into nil ones.
func withoutLists(response wire.QueryConfigResponse) wire.QueryConfigResponse {
	if len(response.Partitions) == 0 {
		response.Partitions = nil
	}
	return response
}

func TestFollowersForward(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	for leader := range 3 {
		b.ElectLeader(leader)
		require.Equal(t, nameOf(b.Meta(leader)), nameOf(b.Leader()))
		for _, node := range b.Metas() {
			got := b.query(node)
			if node == b.Leader() {
				require.Equal(t, wire.ErrOK, got.Error)
				continue
			}
			require.Equal(t, wire.ErrForwardToOthers, got.Error)
			require.Len(t, got.Partitions, 1)
			require.Equal(t, addressOf(b.Leader()), got.Partitions[0].Primary)
			require.Zero(t, got.PartitionCount)
		}
	}
}

func TestNobodyKnowsALeader(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network}, onebox.TableOptions{})
		b.ElectLeader(-1)
		require.Equal(t, "none", nameOf(b.Leader()))
		b.Meta(1).Kill()
		b.Meta(1).Restart()
		pass(time.Hour)
		for _, node := range b.Metas() {
			got := b.query(node)
			require.Equal(t, wire.ErrForwardToOthers, got.Error)
			require.Empty(t, got.Partitions)
		}
		b.ElectLeader(1)
		require.Equal(t, wire.ErrOK, b.query(b.Meta(1)).Error)
	})
}

func TestElectionAfterDeath(t *testing.T) {
	for name, stop := range map[string]func(*onebox.Node){
		"killed":     (*onebox.Node).Kill,
		"paused":     (*onebox.Node).Pause,
		"blackholed": func(node *onebox.Node) { node.Blackhole(true) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, network *memnet.Network) {
				b := newBox(t, onebox.Config{
					Network: network, ElectionDelay: 2 * time.Second, NotActiveDelay: 20 * time.Millisecond,
				}, onebox.TableOptions{})
				stop(b.Meta(0))
				require.Equal(t, "none", nameOf(b.Leader()))
				pass(2*time.Second - 1)
				for _, follower := range b.Metas()[1:] {
					got := b.query(follower)
					require.Equal(t, wire.ErrForwardToOthers, got.Error)
					require.Equal(t, addressOf(b.Meta(0)), got.Partitions[0].Primary, "still names the dead leader")
				}
				pass(1)
				require.Equal(t, nameOf(b.Meta(1)), nameOf(b.Leader()))
				pass(20*time.Millisecond - 1)
				require.Equal(t, wire.ErrServiceNotActive, b.query(b.Meta(1)).Error)
				require.Equal(t, addressOf(b.Meta(1)), b.query(b.Meta(2)).Partitions[0].Primary)
				pass(1)
				require.Equal(t, wire.ErrOK, b.query(b.Meta(1)).Error)
			})
		})
	}
}

func TestLeaderThatReturnsInTimeStaysLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network}, onebox.TableOptions{})
		b.Meta(0).Pause()
		pass(50 * time.Millisecond)
		b.Meta(0).Resume()
		require.Equal(t, wire.ErrOK, b.query(b.Meta(0)).Error, "it has nothing to load")

		b.Meta(0).Kill()
		pass(50 * time.Millisecond)
		b.Meta(0).Restart()
		require.Equal(t, nameOf(b.Meta(0)), nameOf(b.Leader()))
		require.Equal(t, wire.ErrServiceNotActive, b.query(b.Meta(0)).Error)
		pass(time.Second)
		require.Equal(t, nameOf(b.Meta(0)), nameOf(b.Leader()), "the election was called off")
		require.Equal(t, wire.ErrOK, b.query(b.Meta(0)).Error)
	})
}

func TestElectionWaitsForAnybody(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network}, onebox.TableOptions{})
		for _, node := range b.Metas() {
			node.Kill()
		}
		pass(time.Minute)
		require.Equal(t, "none", nameOf(b.Leader()))
		b.Meta(2).Restart()
		b.Meta(1).Restart() // does not start the election anew
		pass(100 * time.Millisecond)
		require.NotEqual(t, "none", nameOf(b.Leader()))
		pass(20 * time.Millisecond)
		require.Equal(t, wire.ErrOK, b.query(b.Leader()).Error)
	})
}

// A second meta server that returns does not put the election off.
func TestElectionIsNotPutOff(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network}, onebox.TableOptions{})
		for _, node := range b.Metas() {
			node.Kill()
		}
		pass(time.Minute)
		b.Meta(2).Restart()
		pass(60 * time.Millisecond)
		b.Meta(1).Restart()
		pass(40 * time.Millisecond)
		require.NotEqual(t, "none", nameOf(b.Leader()))
	})
}

// The end of one leader's loading is not that of the next one's.
func TestLoadingStartsAnewWithEachLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network, ElectionDelay: time.Millisecond}, onebox.TableOptions{})
		b.Meta(0).Kill()
		pass(10 * time.Millisecond)
		b.Meta(1).Kill()
		pass(time.Millisecond) // 9 ms after the first, meta 2 has begun to load
		require.Equal(t, "meta-2", nameOf(b.Leader()))
		pass(20*time.Millisecond - 1)
		require.Equal(t, wire.ErrServiceNotActive, b.query(b.Meta(2)).Error)
		pass(1)
		require.Equal(t, wire.ErrOK, b.query(b.Meta(2)).Error)
	})
}

// An election that is under way when somebody else decides is called off.
func TestElectLeaderPrecedesTheElection(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network}, onebox.TableOptions{})
		b.Meta(0).Kill()
		b.ElectLeader(2)
		pass(time.Minute)
		require.Equal(t, "meta-2", nameOf(b.Leader()))
		require.Equal(t, wire.ErrOK, b.query(b.Meta(2)).Error)
	})
}

func TestElectLeaderRefusesTheDead(t *testing.T) {
	b := newBox(t, onebox.Config{ElectionDelay: time.Hour}, onebox.TableOptions{})
	b.Meta(2).Kill()
	b.ElectLeader(2)
	require.Equal(t, nameOf(b.Meta(0)), nameOf(b.Leader()))
}

func TestAddedMetaIsLearntByForward(t *testing.T) {
	onBothNetworks(t, func(t *testing.T, config onebox.Config) {
		b := newBox(t, config, onebox.TableOptions{})
		added := b.AddMeta()
		require.NotContains(t, b.MetaAddresses(), added.Address())
		require.Len(t, b.MetaAddresses(), 3)
		b.ElectLeader(added.Index())
		require.Equal(t, addressOf(added), b.query(b.Meta(0)).Partitions[0].Primary)
		require.Equal(t, wire.ErrOK, b.query(added).Error)
	})
}

func TestHostNames(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network, HostNames: true, AddressesUnset: true},
			onebox.TableOptions{Partitions: 1})
		forward := b.query(b.Meta(1)).Partitions[0]
		require.False(t, forward.Primary.IsValid())
		require.Equal(t, "meta-0:34601", forward.PrimaryName.String())
		require.Nil(t, forward.SecondaryNames)

		p := b.query(b.Meta(0)).Partitions[0]
		require.False(t, p.Primary.IsValid())
		require.Equal(t, "replica-0:34801", p.PrimaryName.String())
		require.Len(t, p.SecondaryNames, 2)
		require.NotNil(t, p.LastDropNames)
		conn, err := b.DialContext(t.Context(), "tcp", p.PrimaryName.String())
		require.NoError(t, err, "the cluster's dialer knows the names")
		require.NoError(t, conn.Close())

		require.NoError(t, b.ClearPrimary(tableName, 0))
		p = b.query(b.Meta(0)).Partitions[0]
		require.False(t, p.PrimaryName.IsValid())
		require.Len(t, p.SecondaryNames, 2, "still present without a primary")
	})
	t.Run("tcp", func(t *testing.T) {
		b := newBox(t, onebox.Config{HostNames: true}, onebox.TableOptions{Partitions: 1})
		p := b.query(b.Meta(0)).Partitions[0]
		require.Equal(t, "localhost", p.PrimaryName.Host)
		require.Equal(t, addressOf(b.Replica(0)), p.Primary)
	})
}

func TestPartitionsWithoutPrimary(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 2, Unassigned: true})
	for _, p := range b.query(b.Meta(0)).Partitions {
		require.Zero(t, p.Ballot, "never had a primary")
		require.False(t, p.Primary.IsValid())
		require.Empty(t, p.Secondaries)
	}
	require.Equal(t, "none", nameOf(b.Primary(tableName, 0)))
	require.NoError(t, b.AssignPrimary(tableName, 0, 1))
	got := b.query(b.Meta(0)).Partitions
	require.EqualValues(t, 1, got[0].Ballot)
	require.Equal(t, addressOf(b.Replica(1)), got[0].Primary)
	require.Len(t, got[0].Secondaries, 2)
	require.Zero(t, got[1].Ballot)

	require.NoError(t, b.ClearPrimary(tableName, 0))
	cleared := b.query(b.Meta(0)).Partitions[0]
	require.EqualValues(t, 2, cleared.Ballot)
	require.False(t, cleared.Primary.IsValid())
	require.Len(t, cleared.Secondaries, 2)
	require.Equal(t, []netip.AddrPort{addressOf(b.Replica(1))}, cleared.LastDrops)
	require.NoError(t, b.AssignPrimary(tableName, 0, 2))
	require.Equal(t, nameOf(b.Replica(2)), nameOf(b.Primary(tableName, 0)))
	require.Len(t, b.Secondaries(tableName, 0), 2)
}
