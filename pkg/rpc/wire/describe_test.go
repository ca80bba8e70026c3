package wire_test

import (
	"fmt"
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// describe returns a message in the form of the field "decoded" of recorded exchanges.
func describe(m message) any {
	for _, kind := range []func(message) any{describeBare, describeRouting, describeSingle, describeMulti, describeBatch, describeAtomic, describeScan} {
		if description := kind(m); description != nil {
			return description
		}
	}
	panic(fmt.Sprintf("no description of %T", m))
}

// fields is the description of a struct.
type fields map[string]any

// by adds who answered.
func (f fields) by(origin wire.Origin) fields {
	f["app_id"] = origin.GPID.AppID
	f["partition_index"] = origin.GPID.PartitionIndex
	f["server"] = describeBytes(origin.Server)
	return f
}

// with adds a field if it is present.
func (f fields) with(name string, value any, present bool) fields {
	if present {
		f[name] = value
	}
	return f
}

func describeBare(m message) any {
	switch m := m.(type) {
	case *wire.Blob:
		return describeBytes(*m)
	case *wire.Int64:
		return int64(*m)
	}
	return nil
}

func describeRouting(m message) any {
	switch m := m.(type) {
	case *wire.QueryConfigRequest:
		return fields{"app_name": m.Table, "partition_indices": describeList(m.Partitions, func(i int32) any { return i })}
	case *wire.QueryConfigResponse:
		return fields{
			"err": m.Error, "app_id": m.AppID, "partition_count": m.PartitionCount, "is_stateful": m.Stateful,
			"partitions": describeList(m.Partitions, describePartition),
		}
	}
	return nil
}

func describeSingle(m message) any {
	switch m := m.(type) {
	case *wire.PutRequest:
		return fields{"key": describeBytes(m.Key), "value": describeBytes(m.Value), "expire_ts_seconds": m.ExpireSeconds}
	case *wire.GetResponse:
		return fields{"error": m.Status, "value": describeBytes(m.Value)}.by(m.Origin)
	case *wire.TTLResponse:
		return fields{"error": m.Status, "ttl_seconds": m.Seconds}.by(m.Origin)
	case *wire.UpdateResponse:
		return fields{"error": m.Status, "decree": m.Decree}.by(m.Origin)
	}
	return nil
}

func describeMulti(m message) any {
	switch m := m.(type) {
	case *wire.MultiGetRequest:
		return fields{
			"hash_key": describeBytes(m.HashKey), "sort_keys": describeList(m.SortKeys, describeBytes),
			"max_kv_count": m.MaxCount, "max_kv_size": m.MaxSize, "no_value": m.NoValue,
			"start_sortkey": describeBytes(m.StartSortKey), "stop_sortkey": describeBytes(m.StopSortKey),
			"start_inclusive": m.StartInclusive, "stop_inclusive": m.StopInclusive,
			"sort_key_filter_type": m.Filter, "sort_key_filter_pattern": describeBytes(m.FilterPattern), "reverse": m.Reverse,
		}
	case *wire.MultiGetResponse:
		return fields{"error": m.Status, "kvs": describeList(m.Records, describeKeyValue)}.by(m.Origin)
	case *wire.MultiPutRequest:
		return fields{
			"hash_key": describeBytes(m.HashKey), "kvs": describeList(m.Records, describeKeyValue),
			"expire_ts_seconds": m.ExpireSeconds,
		}
	case *wire.MultiRemoveRequest:
		return fields{
			"hash_key": describeBytes(m.HashKey), "sort_keys": describeList(m.SortKeys, describeBytes), "max_count": m.MaxCount,
		}
	case *wire.MultiRemoveResponse:
		return fields{"error": m.Status, "count": m.Count, "decree": m.Decree}.by(m.Origin)
	case *wire.CountResponse:
		return fields{"error": m.Status, "count": m.Count}.by(m.Origin)
	}
	return nil
}

func describeBatch(m message) any {
	switch m := m.(type) {
	case *wire.BatchGetRequest:
		return fields{"keys": describeList(m.Keys, func(k wire.FullKey) any {
			return fields{"hash_key": describeBytes(k.HashKey), "sort_key": describeBytes(k.SortKey)}
		})}
	case *wire.BatchGetResponse:
		return fields{"error": m.Status, "data": describeList(m.Records, func(d wire.FullData) any {
			return fields{
				"hash_key": describeBytes(d.HashKey), "sort_key": describeBytes(d.SortKey), "value": describeBytes(d.Value),
			}
		})}.by(m.Origin)
	}
	return nil
}

func describeAtomic(m message) any {
	switch m := m.(type) {
	case *wire.IncrRequest:
		return fields{"key": describeBytes(m.Key), "increment": m.Increment, "expire_ts_seconds": m.ExpireSeconds}
	case *wire.IncrResponse:
		return fields{"error": m.Status, "new_value": m.NewValue, "decree": m.Decree}.by(m.Origin)
	case *wire.CheckAndSetRequest:
		return fields{
			"hash_key": describeBytes(m.HashKey), "check_sort_key": describeBytes(m.CheckSortKey), "check_type": m.CheckType,
			"check_operand": describeBytes(m.CheckOperand), "set_diff_sort_key": m.SetOther,
			"set_sort_key": describeBytes(m.SetSortKey), "set_value": describeBytes(m.SetValue),
			"set_expire_ts_seconds": m.SetExpireSeconds, "return_check_value": m.ReturnCheckValue,
		}
	case *wire.CheckAndMutateRequest:
		return fields{
			"hash_key": describeBytes(m.HashKey), "check_sort_key": describeBytes(m.CheckSortKey), "check_type": m.CheckType,
			"check_operand": describeBytes(m.CheckOperand), "mutate_list": describeList(m.Mutations, describeMutate),
			"return_check_value": m.ReturnCheckValue,
		}
	case *wire.CheckResponse:
		return fields{
			"error": m.Status, "check_value_returned": m.Returned, "check_value_exist": m.Exists,
			"check_value": describeBytes(m.CheckValue), "decree": m.Decree,
		}.by(m.Origin)
	}
	return nil
}

func describeScan(m message) any {
	switch m := m.(type) {
	case *wire.GetScannerRequest:
		description := fields{
			"start_key": describeBytes(m.StartKey), "stop_key": describeBytes(m.StopKey),
			"start_inclusive": m.StartInclusive, "stop_inclusive": m.StopInclusive,
			"batch_size": m.BatchSize, "no_value": m.NoValue,
			"hash_key_filter_type": m.HashKeyFilter, "hash_key_filter_pattern": describeBytes(m.HashKeyPattern),
			"sort_key_filter_type": m.SortKeyFilter, "sort_key_filter_pattern": describeBytes(m.SortKeyPattern),
		}
		for name, value := range map[string]wire.OptionalBool{
			"validate_partition_hash": m.ValidatePartitionHash, "return_expire_ts": m.ReturnExpiry,
			"full_scan": m.FullScan, "only_return_count": m.OnlyCount,
		} {
			description.with(name, value == wire.Yes, value != wire.Absent)
		}
		return description
	case *wire.ScanRequest:
		return fields{"context_id": m.ContextID}
	case *wire.ScanResponse:
		return fields{
			"error": m.Status, "kvs": describeList(m.Records, describeKeyValue), "context_id": m.ContextID,
		}.by(m.Origin).with("kv_count", m.Count, m.HasCount)
	}
	return nil
}

func describeKeyValue(m wire.KeyValue) any {
	return fields{"key": describeBytes(m.Key), "value": describeBytes(m.Value)}.with("expire_ts_seconds", m.ExpireSeconds, m.HasExpiry)
}

func describeMutate(m wire.Mutate) any {
	return fields{
		"operation": m.Operation, "sort_key": describeBytes(m.SortKey), "value": describeBytes(m.Value),
		"set_expire_ts_seconds": m.ExpireSeconds,
	}
}

func describePartition(p wire.PartitionConfiguration) any {
	return fields{
		"pid": p.GPID.String(), "ballot": p.Ballot, "max_replica_count": p.MaxReplicaCount,
		"primary": describeNode(p.Primary), "secondaries": describeList(p.Secondaries, describeNode),
		"last_drops": describeList(p.LastDrops, describeNode), "last_committed_decree": p.LastCommittedDecree,
		"partition_flags": p.PartitionFlags,
	}.with("hp_primary", p.PrimaryName.String(), p.PrimaryName.IsValid()).
		with("hp_secondaries", describeList(p.SecondaryNames, describeNode), p.SecondaryNames != nil).
		with("hp_last_drops", describeList(p.LastDropNames, describeNode), p.LastDropNames != nil)
}

func describeNode[T interface {
	IsValid() bool
	String() string
}](node T) any {
	if !node.IsValid() {
		return ""
	}
	return node.String()
}

// describeList returns the elements; of a long list its length, the first two and the last two.
func describeList[T any](list []T, describe func(T) any) any {
	const longest, shown = 40, 2
	if len(list) > longest {
		return fields{
			"list_length": len(list), "first": describeList(list[:shown], describe),
			"last": describeList(list[len(list)-shown:], describe),
		}
	}
	descriptions := make([]any, len(list))
	for i, element := range list {
		descriptions[i] = describe(element)
	}
	return descriptions
}

func describeBytes(b []byte) any {
	const longest, shown = 512, 16
	printable := !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' })
	switch {
	case len(b) > longest:
		return fmt.Sprintf("(%d bytes, starting with hex:%x)", len(b), b[:shown])
	case printable:
		return string(b)
	}
	return fmt.Sprintf("hex:%x", b)
}
