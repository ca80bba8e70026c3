package onebox

import "github.com/bridle-kv/bridle/pkg/rpc/wire"

// allOperations are the RPCs that the cluster serves.
var allOperations = []*operation{
	newOperation(metaOperation, row[wire.QueryConfigRequest, wire.QueryConfigResponse]{
		method: wire.QueryConfig, execute: queryConfig,
	}),
	newOperation(readOperation, row[wire.Blob, wire.GetResponse]{
		method: wire.Get, hash: hashOfBlob, execute: get,
		origin: func(out *wire.GetResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(readOperation, row[wire.Blob, wire.TTLResponse]{
		method: wire.TTL, hash: hashOfBlob, execute: ttl,
		origin: func(out *wire.TTLResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(readOperation, row[wire.Int64, wire.UpdateResponse]{
		method: wire.ClearScanner, silent: true, execute: clearScanner,
	}),
	newOperation(writeOperation, row[wire.PutRequest, wire.UpdateResponse]{
		method: wire.Put, hash: hashOfPut, execute: put, origin: originOfUpdate,
	}),
	newOperation(writeOperation, row[wire.Blob, wire.UpdateResponse]{
		method: wire.Remove, hash: hashOfBlob, execute: remove, origin: originOfUpdate,
	}),
}

func originOfUpdate(out *wire.UpdateResponse) *wire.Origin { return &out.Origin }

func hashOfBlob(key *wire.Blob) (uint64, error) { return hashOfKey(*key) }

func hashOfPut(in *wire.PutRequest) (uint64, error) { return hashOfKey(in.Key) }

func hashOfKey(raw []byte) (uint64, error) {
	hashKey, sortKey, err := wire.SplitKey(raw)
	if err != nil {
		return 0, err
	}
	return wire.KeyHash(hashKey, sortKey), nil
}

func get(x *execution, key *wire.Blob, out *wire.GetResponse) {
	found, ok := x.get(*key)
	if !ok {
		out.Status = wire.StatusNotFound
		return
	}
	out.Value = found.value
}

// ttl answers with the difference of unsigned times as a signed number, as servers do: an expiry far in
// the future gives a negative one.
func ttl(x *execution, key *wire.Blob, out *wire.TTLResponse) {
	found, ok := x.get(*key)
	switch {
	case !ok:
		out.Status = wire.StatusNotFound
	case found.expire == 0:
		out.Seconds = -1
	default:
		out.Seconds = int32(found.expire - x.now())
	}
}

// clearScanner has no scan contexts to free.
func clearScanner(*execution, *wire.Int64, *wire.UpdateResponse) {}

func put(x *execution, in *wire.PutRequest, out *wire.UpdateResponse) {
	x.put(in.Key, in.Value, uint32(in.ExpireSeconds))
	out.Decree = x.decree
}

func remove(x *execution, key *wire.Blob, out *wire.UpdateResponse) {
	x.remove(*key)
	out.Decree = x.decree
}
