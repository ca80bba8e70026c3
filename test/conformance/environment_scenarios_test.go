package conformance

import (
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

const (
	gateTable       = "gold_gate"
	ttlTable        = "gold_ttl"
	duplicatedTable = "gold_dup"
	idempotentTable = "gold_idem"
)

// sets returns a step that sets an environment variable of a table, or with an empty value deletes it.
func sets(table, variable, value string) step {
	return does(func(s *stage) { s.do(s.SetTableEnv(table, variable, value)) })
}

var environmentScenarios = []scenario{
	{
		topic: "table_env_gates", about: "requests are denied",
		tables: map[int32]tableSpec{32: {gateTable, onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			sets(gateTable, "replica.deny_client_request", "reconfig*all"),
			plays(
				"deny_reconfig_all_get_v0", "deny_reconfig_all_put_v0", "deny_reconfig_all_put_v1",
				"deny_reconfig_all_clear_scanner",
			),
			sets(gateTable, "replica.deny_client_request", "reconfig*read"),
			plays("deny_reconfig_read_get", "deny_reconfig_read_put"),
			sets(gateTable, "replica.deny_client_request", "timeout*all"),
			plays("deny_timeout_all_put_v0", "deny_timeout_all_put_v1"),
			sets(gateTable, "replica.deny_client_request", ""),
			plays("deny_removed_get"),
		},
	},
	{
		topic: "table_env_gates", about: "requests are throttled",
		tables: map[int32]tableSpec{32: {gateTable, onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			puts(32, "g", "s", "v"),
			until("table_env_gates", "write_throttle_2"),
			sets(gateTable, "replica.write_throttling", "1*reject*0"),
			puts(32, "g", "s", "v"),
			plays("write_throttle_2", "write_throttle_3_rejected"),
			sets(gateTable, "replica.write_throttling", ""),
			sets(gateTable, "replica.read_throttling", "1*reject*0"),
			plays("read_throttle_1", "read_throttle_2", "read_throttle_clear_scanner"),
			sets(gateTable, "replica.write_throttling", "1*reject*300"),
			plays("write_throttle_delayed_reject_1"),
			sets(gateTable, "replica.write_throttling", ""),
			sets(gateTable, "replica.read_throttling", "1*delay*300"),
			plays("read_throttle_delay_1", "read_throttle_delay_2"),
			{names: []string{"read_throttle_delay_3"}, play: (*stage).playDelayed},
			plays("read_throttle_delay_timeout_2"),
			sets(gateTable, "replica.read_throttling", ""),
			sets(gateTable, "replica.read_throttling_by_size", "10"),
			plays("read_size_throttle_get_1"), again("table_env_gates", "read_size_throttle_get_1"),
			plays(
				"read_size_throttle_get_4", "read_size_throttle_get_5", "read_size_throttle_batch_get",
				"read_size_throttle_sortkey_count", "read_size_throttle_get_scanner", "read_size_throttle_scan",
				"read_size_throttle_clear_scanner",
			),
			sets(gateTable, "replica.read_throttling_by_size", ""),
			sets(gateTable, "replica.write_throttling_by_size", "10*reject*0"),
			plays("write_size_throttle_1", "write_size_throttle_2"),
			sets(gateTable, "replica.write_throttling_by_size", ""),
			sets(gateTable, "replica.backup_request_throttling", "1*reject*0"),
			plays("backup_throttle_1"), again("table_env_gates", "backup_throttle_1"), plays("backup_throttle_3"),
		},
	},
	{
		topic: "table_env_gates", about: "a table is duplicated to another cluster",
		tables: map[int32]tableSpec{35: {duplicatedTable, onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			does(func(s *stage) { s.do(s.SetDuplicating(duplicatedTable, true)) }),
			plays(
				"operation_disabled_incr", "operation_disabled_check_and_set", "operation_disabled_check_and_mutate",
				"duplicating_put", "duplicating_get",
			),
		},
	},
	{
		topic: "idempotent_table", about: "atomic operations are made idempotent",
		tables: map[int32]tableSpec{6: {idempotentTable, onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			does(func(s *stage) { s.do(s.SetIdempotent(idempotentTable, true)) }),
			puts(6, "id", "n", "5"), puts(6, "id", "ovf", "9223372036854775807"), puts(6, "id", "val", "hello"),
			plays(
				"incr_existing", "incr_overflow", "cas_pass", "cas_not_passed", "cas_bad_int", "cas_unknown_type",
				"cam_pass", "cam_not_passed", "put",
			),
		},
	},
	{
		topic: "get_ttl", about: "a table gives records a life",
		tables: map[int32]tableSpec{7: {ttlTable, onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			sets(ttlTable, "default_ttl", "500"),
			does(func(s *stage) {
				s.put(7, "dt", "a", "v", 0)
				s.put(7, "dt", "b", "v", 5000)
				s.put(7, "dt", "c", "1", 3600)
				s.put(7, "dt", "k", "1", 3600)
				s.checkAndSet(7, "dt", "cs", "v")
			}),
			plays(
				"default_ttl_ttl_applied", "default_ttl_ttl_not_applied", "default_ttl_multi_put",
				"default_ttl_incr_clear", "default_ttl_incr_clear_check", "default_ttl_incr_keep",
				"default_ttl_incr_keep_check", "default_ttl_incr_absent", "default_ttl_check_and_set_check",
				"default_ttl_check_and_mutate", "default_ttl_check_and_mutate_check",
			),
			sets(ttlTable, "default_ttl", ""),
			until("get_ttl", "default_ttl_ttl_after_env_deleted"),
			puts(7, "dt", "a2", "v"),
			plays("default_ttl_ttl_after_env_deleted"),
		},
	},
}

// checkAndSet writes a record without any condition.
func (s *stage) checkAndSet(appID int32, hashKey, sortKey, value string) {
	s.t.Helper()
	in := &wire.CheckAndSetRequest{HashKey: []byte(hashKey), CheckSortKey: []byte(sortKey), SetValue: []byte(value)}
	out := new(wire.CheckResponse)
	s.call(appID, hashKey, "", wire.CheckAndSet, in, out)
	require.Equal(s.t, wire.StatusOK, out.Status)
}

// again returns a step that plays an exchange once more, because of its effect on those behind it.
func again(topic, name string) step {
	return does(func(s *stage) { s.player.play(s.t, recorded(s.t).find(s.t, exchanges, topic, name)) })
}

// playDelayed plays an exchange that took the real server a while, which it must here, too.
func (s *stage) playDelayed(e *exchange) {
	begin := time.Now()
	s.player.play(s.t, e)
	require.GreaterOrEqual(s.t, time.Since(begin).Milliseconds(), e.Decoded.ElapsedMillis, "%v", e)
}
