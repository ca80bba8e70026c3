package main

import (
	"context"
	"fmt"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// kind is a kind of request; the operations that send it share a floor.
type kind struct {
	name      string
	method    *wire.Method
	arguments func(r *record) (wire.Arguments, error)
	status    func(result []byte) (wire.Status, error)
}

// operation is one of the client's operations.
type operation struct {
	name string
	kind *kind
	call func(ctx context.Context, c *caller, r *record) error
}

var (
	getKind = &kind{
		name:   "get",
		method: wire.Get,
		arguments: func(r *record) (wire.Arguments, error) {
			key, err := wire.AppendKey(nil, r.hashKey, r.sortKey)
			return wire.Blob(key), err
		},
		status: func(result []byte) (wire.Status, error) {
			var response wire.GetResponse
			err := decode(result, &response)
			return response.Status, err
		},
	}
	setKind = &kind{
		name:   "set",
		method: wire.Put,
		arguments: func(r *record) (wire.Arguments, error) {
			key, err := wire.AppendKey(nil, r.hashKey, r.sortKey)
			return &wire.PutRequest{Key: key, Value: r.value}, err
		},
		status: func(result []byte) (wire.Status, error) {
			var response wire.UpdateResponse
			err := decode(result, &response)
			return response.Status, err
		},
	}
)

func decode(result []byte, into wire.Result) error {
	reader := wire.NewReader(nil)
	return wire.DecodeResult(&reader, result, into)
}

// allOperations are the operations that can be measured, those of one kind side by side.
var allOperations = []operation{
	{name: "get", kind: getKind, call: get},
	{name: "append_get", kind: getKind, call: appendGet},
	{name: "set", kind: setKind, call: set},
}

func get(ctx context.Context, c *caller, r *record) error {
	value, err := c.table.Get(ctx, r.hashKey, r.sortKey)
	return check(value, r, err)
}

func appendGet(ctx context.Context, c *caller, r *record) error {
	value, err := c.table.AppendGet(ctx, c.value[:0], r.hashKey, r.sortKey)
	c.value = value
	return check(value, r, err)
}

func set(ctx context.Context, c *caller, r *record) error {
	return c.table.Set(ctx, r.hashKey, r.sortKey, r.value)
}

// check sees to it that a value is the right one, as far as that costs next to nothing.
func check(value []byte, r *record, err error) error {
	if err == nil && len(value) != len(r.value) {
		return fmt.Errorf("%q has a value of %d bytes instead of %d", r.hashKey, len(value), len(r.value))
	}
	return err
}
