package conformance

import (
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// splitKeys are the records of the table that was split, as its scans show.
var splitKeys = []struct{ hashKey, sortKey string }{
	{"sp1", "s"}, {"sp3", "s"}, {"sp4", "s"}, {"sp6", "s"}, {"sp8", "s"}, {"sp11", "s"}, {"sp13", "s"}, {"sp14", "s"},
	{"sp16", "s"}, {"sp18", "s"}, {"sp21", "s"}, {"sp23", "s"}, {"sp24", "s"}, {"sp26", "s"}, {"sp28", "s"},
	{"sp30", "s"}, {"sp32", "s"}, {"sp35", "s"}, {"sp35", "w"}, {"sp37", "s"}, {"sp39", "s"}, {"sp39", "w"},
}

const (
	splitTable  = "gold_split_82363"
	cancelTable = "gold_cancel_82363"
	freshTable  = "gold_fresh82082_0"
)

var metaScenarios = []scenario{
	{
		topic: "routing", about: "the leader and a follower are asked", tables: goldData,
		steps: []step{plays(
			"leader_all_v0", "follower_forward_v0", "leader_all_v1", "follower_forward_v1", "unknown_table_v1",
			"follower_unknown_table", "subset", "subset_request_order", "subset_out_of_range", "subset_all_out_of_range",
			"empty_name", "negative_gpid", "no_meta_fields",
		)},
	},
	{
		topic: "routing", about: "a new table gets its replicas one by one",
		tables: map[int32]tableSpec{10: {freshTable, onebox.TableOptions{Partitions: 2, Unassigned: true}}},
		steps: []step{
			plays("fresh_no_primary"),
			does(func(s *stage) {
				for partition := range 2 {
					s.do(s.AssignPrimary(freshTable, partition, partition))
					for server := range 3 {
						if server != partition {
							s.do(s.RemoveReplica(freshTable, partition, server))
						}
					}
				}
			}),
			plays("fresh_after_2900ms"),
			does(func(s *stage) { s.addSecondaries(freshTable, 1) }),
			plays("fresh_after_3000ms"),
			does(func(s *stage) { s.addSecondaries(freshTable, 2) }),
			plays("fresh_after_3000ms_2"),
		},
	},
	{
		topic: "routing", about: "a table is being created",
		steps: []step{
			does(func(s *stage) { s.Leader().Inject(onebox.Fault{MetaError: wire.ErrBusyCreating}) }),
			plays("creating"),
		},
	},
	{
		topic: "meta_failover", about: "the leader dies", tables: goldData, config: onebox.Config{ElectionDelay: long},
		steps: []step{
			does(func(s *stage) { s.Leader().Kill() }),
			plays("query_cfg_leader_killed_meta3_forward_to_others_1", "query_cfg_leader_killed_meta1_forward_to_others_1"),
			does(func(s *stage) { s.ElectLeader(1) }),
			plays("query_cfg_leader_killed_meta1_forward_to_others_1_2"),
		},
	},
	{
		topic: "meta_failover", about: "a meta server that starts is silent",
		steps: []step{
			does(func(s *stage) {
				s.node(s.t, toMetaFollower, wire.GPID{}).Inject(onebox.Fault{DropRequest: true, Times: 1})
			}),
			plays("query_cfg_meta_restarted_none"),
		},
	},
	{
		topic: "split", about: "a split is started and cancelled",
		tables: map[int32]tableSpec{33: {cancelTable, onebox.TableOptions{Partitions: 2}}},
		steps: []step{
			does(func(s *stage) { s.do(s.StartSplit(cancelTable)) }),
			plays("query_cfg_split_started", "query_cfg_split_paused", "paused_get_foreign_hash", "paused_get_child_gpid"),
			does(func(s *stage) { s.do(s.CancelSplit(cancelTable)) }),
			plays("query_cfg_split_cancelled", "cancelled_get_foreign_hash"),
		},
	},
	{
		topic: "split", about: "a split is carried out",
		tables: map[int32]tableSpec{34: {splitTable, onebox.TableOptions{Partitions: 2}}},
		steps: []step{
			does(func(s *stage) {
				for _, key := range splitKeys {
					s.put(34, key.hashKey, key.sortKey, "v", 0)
				}
				s.do(s.StartSplit(splitTable))
			}),
			plays("query_cfg_right_after_start", "query_cfg_progress_p2_p2_n_n"),
			does(func(s *stage) { s.do(s.SwitchSplit(splitTable, 0)) }),
			plays("during_splitting_put_parent_hash", "during_splitting_get_child_hash"),
			does(func(s *stage) { s.do(s.RegisterSplit(splitTable, 0)) }),
			plays("during_parent_partition_misused_put_child_hash"),
			does(func(s *stage) { s.do(s.FinishSplit(splitTable, 0)) }),
			plays("query_cfg_progress_p2_p2_p2_n"),
			does(func(s *stage) { s.do(s.FinishSplit(splitTable)) }),
			plays(
				"query_cfg_progress_p2_p2_p2_p2", "query_cfg_after_split", "misused_get", "misused_ttl",
				"misused_multi_get", "misused_batch_get", "misused_sortkey_count", "misused_get_scanner", "misused_scan",
				"misused_put", "misused_multi_put", "misused_remove", "misused_multi_remove", "misused_incr",
				"misused_check_and_mutate", "child_put", "scan_child_validated", "scan_child_not_validated",
				"scan_child_default", "scan_parent_validated",
			),
		},
	},
}

// addSecondaries gives each of the two partitions of a table another secondary: the server so many after its
// primary's. Servers become secondaries by having been primary.
func (s *stage) addSecondaries(table string, after int) {
	for partition := range 2 {
		s.do(s.MovePrimary(table, partition, (partition+after)%3))
		s.do(s.MovePrimary(table, partition, partition))
	}
}
