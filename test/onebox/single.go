package onebox

import "github.com/bridle-kv/bridle/pkg/rpc/wire"

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

func put(x *execution, in *wire.PutRequest, out *wire.UpdateResponse) {
	x.put(in.Key, in.Value, uint32(in.ExpireSeconds))
	out.Decree = x.decree
}

func remove(x *execution, key *wire.Blob, out *wire.UpdateResponse) {
	x.remove(*key)
	out.Decree = x.decree
}
