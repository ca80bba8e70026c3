package conformance

import (
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

var gateScenarios = []scenario{
	{
		topic: "gates", about: "nobody hosts the partition", tables: goldData,
		steps: []step{plays(
			"wrong_gpid_get", "wrong_gpid_ttl", "wrong_gpid_multi_get", "wrong_gpid_batch_get", "wrong_gpid_scan",
			"wrong_gpid_put", "wrong_gpid_multi_put", "wrong_gpid_remove", "wrong_gpid_multi_remove", "wrong_gpid_incr",
			"backup_wrong_gpid_get",
			"partition_index_out_of_range_v0", "partition_index_negative_v0",
			"partition_index_out_of_range_v1", "partition_index_negative_v1",
		)},
	},
	{
		topic: "gates", about: "a secondary is asked, which has not applied the last write", tables: goldData,
		steps: []step{
			puts(4, "gate", "s", "v"),
			plays(
				"non_primary_get", "non_primary_ttl", "non_primary_multi_get", "non_primary_batch_get",
				"non_primary_sortkey_count", "non_primary_get_scanner", "non_primary_scan", "non_primary_multi_put",
				"non_primary_remove", "non_primary_incr", "non_primary_check_and_set", "non_primary_check_and_mutate",
				"backup_secondary_ttl", "backup_secondary_multi_get", "backup_secondary_batch_get",
				"backup_secondary_sortkey_count", "backup_secondary_get_scanner", "backup_primary_get", "backup_secondary_put",
			),
			puts(4, "bk", "s", "v1"), puts(4, "bk", "s", "v2"),
			plays("backup_right_after_put", "primary_right_after_put"),
		},
	},
	{
		topic: "gates", about: "a server denies clients", tables: goldData,
		steps: []step{
			puts(4, "gt", "s", "value"),
			{names: []string{"node_deny_get", "node_deny_put", "node_deny_wrong_gpid"}, play: (*stage).playDenied},
			plays("node_deny_lifted_get"),
		},
	},
	{
		topic: "dispatch", about: "names of RPCs, sequence ids, and authentication where it is disabled", tables: goldData,
		steps: []step{
			puts(4, "gt", "s", "value"),
			plays(
				"unknown_rpc_meta_v0", "unknown_rpc_replica_v0", "unknown_rpc_meta_v1", "unknown_rpc_replica_v1",
				"data_rpc_app_id_0_v1", "unknown_rpc_with_gpid", "unknown_rpc_meta_with_app_id",
				"meta_rpc_to_replica_with_gpid", "query_app_info_to_meta", "sequence_id_negative", "sequence_id_max",
				"negotiation_replica_v0", "negotiation_meta_v1", "negotiation_replica_v1", "negotiation_initiate",
			),
		},
	},
	{
		topic: "framing", about: "unusual frames", tables: goldData,
		steps: []step{
			puts(4, "gt", "s", "value"),
			plays(
				"oneway", "unversioned_message_begin", "argument_field_id_9", "argument_type_string",
				"nested_blob_as_string", "nested_blob_as_string_check", "unknown_extra_field", "v0_crc_nonzero",
				"v1_unknown_meta_field", "long_rpc_name", "v0_header_length_47", "header_version_2", "message_type_reply",
			),
		},
	},
	{
		topic: "size_limits", about: "the largest write and the longest hash key", tables: goldData,
		steps: []step{plays(
			"body_1048576", "body_1048577_v0", "body_1048577_v1", "hash_key_65534_put", "hash_key_65534_get",
		)},
	},
	{
		topic: "min_replicas_and_disk", about: "a table with one replica where two are needed",
		tables: map[int32]tableSpec{36: {"gold_r1", onebox.TableOptions{Partitions: 1, Replicas: 1}}},
		steps: []step{plays(
			"not_enough_member_put", "not_enough_member_multi_put", "not_enough_member_multi_remove",
			"not_enough_member_check_and_set", "not_enough_member_get",
		)},
	},
	{
		topic: "min_replicas_and_disk", about: "a disk is short of space",
		tables: map[int32]tableSpec{37: {"gold_disk", onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			puts(37, "mr", "s", "after"),
			does(func(s *stage) { s.Primary("gold_disk", 0).SetDisk(onebox.DiskInsufficient) }),
			plays(
				"primary_disk_insufficient_put", "primary_disk_insufficient_multi_put", "primary_disk_insufficient_remove",
				"primary_disk_insufficient_multi_remove", "primary_disk_insufficient_incr",
				"primary_disk_insufficient_check_and_set", "primary_disk_insufficient_check_and_mutate",
				"primary_disk_insufficient_get",
			),
			does(func(s *stage) {
				s.Primary("gold_disk", 0).SetDisk(onebox.DiskNormal)
				s.Secondaries("gold_disk", 0)[1].SetDisk(onebox.DiskInsufficient)
			}),
			plays(
				"secondary_disk_insufficient_put_v0", "secondary_disk_insufficient_put_v1",
				"secondary_disk_insufficient_multi_put", "secondary_disk_insufficient_remove",
				"secondary_disk_insufficient_multi_remove", "secondary_disk_insufficient_check_and_set",
				"secondary_disk_insufficient_check_and_mutate", "secondary_disk_insufficient_check",
			),
		},
	},
}

// playDenied plays an exchange with a server that denies clients. It lifts that once the request is ignored,
// because only then can it be told that no reply comes.
func (s *stage) playDenied(e *exchange) {
	gpid := e.gpid()
	gpid.AppID = s.player.table(gpid.AppID)
	node, method := s.node(s.t, e.To, gpid), wire.NewMethod(e.RPC)
	before := node.Requests(method)
	node.DenyClients(true)
	conn := s.player.connect(s.t, node.Address())
	_, err := conn.Write(s.player.request(e))
	require.NoError(s.t, err, "%v", e)
	eventually(s.t, func() bool { return node.Requests(method) > before })
	node.DenyClients(false)
	s.requireSilence(s.t, e, conn)
}

// eventually waits for a condition.
func eventually(t testing.TB, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, time.Millisecond)
}
