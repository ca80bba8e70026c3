package conformance

import (
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

const staleTable = "gold_stale_83027_r"

var goldR1 = map[int32]tableSpec{36: {"gold_r1", onebox.TableOptions{Partitions: 1, Replicas: 1}}}

var failureScenarios = []scenario{
	{
		topic: "failover", about: "a secondary is suspended", tables: goldData,
		config: onebox.Config{PatientWrites: true, FailoverDelay: long},
		steps: []step{
			does(func(s *stage) { s.Secondaries("gold_data", 3)[0].Pause() }),
			plays("put_secondary_stalled"),
			playsPending(func(s *stage) { s.Secondaries("gold_data", 3)[0].Resume() }, "many_incr_0"),
			does(func(s *stage) {
				for range 59 {
					s.incr(4, "fo", "cnt", 1)
				}
			}),
			plays("get_after_stall", "incr_after_stall"),
		},
	},
	{
		topic: "failover", about: "a write is under way when two of three servers die", tables: goldData,
		config: onebox.Config{PatientWrites: true, FailoverDelay: long},
		steps: []step{
			does(func(s *stage) {
				s.do(s.MovePrimary("gold_data", 3, 0))
				s.Replica(1).Kill()
				s.Replica(2).Kill()
			}),
			playsPending(func(s *stage) {
				s.do(s.RemoveReplica("gold_data", 3, 1))
				s.do(s.RemoveReplica("gold_data", 3, 2))
			}, "put_two_of_three_dead_0"),
		},
	},
	{
		topic: "failover", about: "the primary is dead and nobody has noticed", tables: goldData,
		config: onebox.Config{FailoverDelay: long},
		steps: []step{
			does(func(s *stage) { s.Primary("gold_data", 3).Kill() }),
			plays("get_at_old_secondary_invalid_state"),
		},
	},
	{
		topic: "failover", about: "the primary is dead and replaced, and comes back", tables: goldData,
		config: onebox.Config{FailoverDelay: immediate},
		steps: []step{
			puts(4, "fo", "s", "v"),
			does(func(s *stage) {
				s.do(s.MovePrimary("gold_data", 3, 1))
				s.Replica(1).Kill()
			}),
			plays("get_at_old_secondary_0", "query_cfg_primary_killed_ballot15_sec1"),
			does(func(s *stage) { s.Replica(1).Restart() }),
			playsAt(func(s *stage) *onebox.Node { return s.Replica(1) }, "get_at_restarted_node_invalid_state"),
			does(func(s *stage) { s.do(s.RemoveReplica("gold_data", 3, 1)) }),
			playsAt(func(s *stage) *onebox.Node { return s.Replica(1) }, "get_at_restarted_node_object_not_found"),
		},
	},
	{
		topic: "failover", about: "one of three servers is left", tables: goldData,
		config: onebox.Config{FailoverDelay: immediate},
		steps: []step{
			puts(4, "fo", "s", "v"),
			does(func(s *stage) {
				for partition := range 4 {
					s.do(s.MovePrimary("gold_data", partition, 2*((partition+1)%2)))
				}
				s.do(s.ClearPrimary("gold_data", 0))
				s.do(s.ClearPrimary("gold_data", 2))
				s.Replica(1).Kill()
				s.Replica(2).Kill()
			}),
			plays(
				"put_two_of_three_dead_not_enough_member", "one_replica_left_incr", "one_replica_left_multi_put",
				"one_replica_left_check_and_set", "one_replica_left_get", "query_cfg_one_replica_left",
			),
		},
	},
	{
		topic: "failover", about: "the server of the only replica is dead and nobody has noticed", tables: goldR1,
		config: onebox.Config{FailoverDelay: long},
		steps: []step{
			does(func(s *stage) { s.Primary("gold_r1", 0).Kill() }),
			plays("query_cfg_only_replica_before_detection"),
		},
	},
	{
		topic: "failover", about: "the server of the only replica dies and comes back", tables: goldR1,
		config: onebox.Config{FailoverDelay: immediate},
		steps: []step{
			does(func(s *stage) {
				server := s.Primary("gold_r1", 0)
				server.Kill()
				require.Nil(s.t, s.Primary("gold_r1", 0))
				server.Restart()
			}),
			plays("query_cfg_only_replica_back"),
		},
	},
	{
		topic: "failover", about: "a table is dropped and another one gets its name",
		tables: map[int32]tableSpec{38: {staleTable, onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			puts(38, "st", "s", "v"),
			plays("stale_table_old_name_object_not_found"),
			does(func(s *stage) { s.do(s.DropTable(staleTable)) }),
			plays("stale_table_get_after_drop_object_not_found"),
			does(func(s *stage) { s.player.apps[39] = s.createTable(s.t, staleTable, 1) }),
			plays("stale_table_get_new_app_id"),
		},
	},
}

// playsPending plays exchanges whose requests stay at the server until it is released.
func playsPending(release func(*stage), names ...string) step {
	return step{names: names, play: func(s *stage, e *exchange) {
		s.player.close() // replies that nobody waits for come to the old connections
		gpid := e.gpid()
		gpid.AppID = s.player.table(gpid.AppID)
		node, method := s.node(s.t, e.To, gpid), wire.NewMethod(e.RPC)
		before := node.Requests(method)
		conn := s.player.connect(s.t, node.Address())
		_, err := conn.Write(s.player.request(e))
		require.NoError(s.t, err, "%v", e)
		eventually(s.t, func() bool { return node.Requests(method) > before })
		release(s)
		frame, err := readFrame(conn)
		require.NoError(s.t, err, "%v", e)
		s.player.requireAnswer(s.t, e, frame, 0)
	}}
}

// incr adds to a number.
func (s *stage) incr(appID int32, hashKey, sortKey string, increment int64) {
	s.t.Helper()
	key, err := wire.AppendKey(nil, []byte(hashKey), []byte(sortKey))
	require.NoError(s.t, err)
	out := new(wire.IncrResponse)
	s.call(appID, hashKey, sortKey, wire.Incr, &wire.IncrRequest{Key: key, Increment: increment}, out)
	require.Equal(s.t, wire.StatusOK, out.Status)
}
