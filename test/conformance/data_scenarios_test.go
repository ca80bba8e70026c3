package conformance

import "github.com/bridle-kv/bridle/test/onebox"

var dataScenarios = []scenario{
	{
		topic: "check_and_mutate", about: "all outcomes", tables: goldData,
		steps: []step{
			puts(4, "cam", "val", "hello"), puts(4, "cam", "txt", "ten"),
			puts(4, "cam", "d", "to be deleted"),
			plays(
				"pass_put_delete_v0", "pass_put_delete_put_check_v0", "pass_put_delete_delete_check_v0",
				"empty_list_v0", "int_bad_value_v0",
			),
			puts(4, "cam", "d", "to be deleted again"),
			plays(
				"pass_put_delete_v1", "pass_put_delete_put_check_v1", "pass_put_delete_delete_check_v1",
				"not_passed_check_v1", "empty_list_v1", "int_bad_value_v1", "unknown_check_type",
				"order_put_then_delete", "order_delete_then_put", "order_delete_then_put_check", "no_check_absent",
				"put_ttl", "put_ttl_check",
			),
		},
	},
	{
		topic: "batch_get_sortkey_count", about: "records without a hash key, of one partition", tables: goldData,
		steps: []step{
			puts(4, "", "a", "v"), puts(4, "", "onlysort", "v"), puts(4, "", "pegasus", "v"), puts(4, "", "abc", "in another one"),
			plays("sortkey_count_empty_hash_key"),
		},
	},
	{
		topic: "scan", about: "a context lives for five minutes",
		tables: map[int32]tableSpec{8: {"gold_scan", onebox.TableOptions{Partitions: 1}}},
		steps: []step{
			puts(8, "", "eh", "v"), puts(8, "a", "s0", "v"), puts(8, "a", "s1", "v"), puts(8, "a", "s2", "v"),
			puts(8, "b", "s0", "v"),
			plays("context_for_270s", "context_for_330s", "scan_after_270s", "scan_after_330s"),
		},
	},
}
