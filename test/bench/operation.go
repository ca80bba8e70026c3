package main

import (
	"context"
	"fmt"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// kind is a kind of request; the operations that send it share a floor.
type kind struct {
	name   string
	method *wire.Method
	// prepare is run before the first slice; nil means nothing to prepare.
	prepare func(b *bench) error
	// requests are those of the floor, for a table of so many partitions.
	requests func(records []record, partitions int) ([]request, error)
	// perOperation is how many requests come to one operation, for so many partitions; nil means one.
	perOperation func(partitions int) int
	status       func(result []byte) (wire.Status, error)
	// newFloor makes the floor, if it is not the one that sends requests.
	newFloor func(b *bench) (base, error)
	// callers are the numbers of callers to measure with; nil means those of the flags.
	callers []int
}

// request is one request of the floor. Those of equal weight have answers of equal size.
type request struct {
	hash      uint64
	arguments wire.Arguments
	weight    int
}

// forEach makes a request of each record.
func forEach(arguments func(r *record) (wire.Arguments, error)) func([]record, int) ([]request, error) {
	return func(records []record, _ int) ([]request, error) {
		requests := make([]request, len(records))
		for i := range records {
			r := &records[i]
			q := &requests[i]
			var err error
			if q.arguments, err = arguments(r); err != nil {
				return nil, err
			}
			q.hash = wire.KeyHash(r.hashKey[:], r.sortKey[:])
		}
		return requests, nil
	}
}

// operation is one of the client's operations.
type operation struct {
	name string
	kind *kind
	call func(ctx context.Context, c *caller, r *record) error
	slow bool // each call is timed, of which reading the clock is no part
	// scanner makes what runs instead of call.
	scanner func(b *bench) scanner
	woken   bool // it is the floor with callers that sleep, instead of a call
}

var (
	getKind = &kind{
		name:   "get",
		method: wire.Get,
		requests: forEach(func(r *record) (wire.Arguments, error) {
			key, err := wire.AppendKey(nil, r.hashKey[:], r.sortKey[:])
			return wire.Blob(key), err
		}),
		status: func(result []byte) (wire.Status, error) {
			var response wire.GetResponse
			err := decode(result, &response)
			return response.Status, err
		},
	}
	setKind = &kind{
		name:   "set",
		method: wire.Put,
		requests: forEach(func(r *record) (wire.Arguments, error) {
			key, err := wire.AppendKey(nil, r.hashKey[:], r.sortKey[:])
			return &wire.PutRequest{Key: key, Value: r.value}, err
		}),
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
	{name: "woken_get", kind: getKind, woken: true},
	{name: "get", kind: getKind, call: get},
	{name: "append_get", kind: getKind, call: appendGet},
	{name: "set", kind: setKind, call: set},
	{name: "multi_get", kind: multiGetKind, call: multiGet},
	{name: "multi_set", kind: multiSetKind, call: multiSet},
	{name: "batch_get", kind: batchGetKind, call: batchGet, slow: true},
	{name: "get_100_in_turn", kind: batchGetKind, call: getInTurn, slow: true},
	{name: "get_100_at_once", kind: batchGetKind, call: getAtOnce, slow: true},
	{name: "scan", kind: scanKind, scanner: func(b *bench) scanner { return &tableScan{b.table} }},
}

func get(ctx context.Context, c *caller, r *record) error {
	value, err := c.table.Get(ctx, r.hashKey[:], r.sortKey[:])
	return check(value, r, err)
}

func appendGet(ctx context.Context, c *caller, r *record) error {
	value, err := c.table.AppendGet(ctx, c.value[:0], r.hashKey[:], r.sortKey[:])
	c.value = value
	return check(value, r, err)
}

func set(ctx context.Context, c *caller, r *record) error {
	return c.table.Set(ctx, r.hashKey[:], r.sortKey[:], r.value)
}

// check sees to it that a value is the right one, as far as that costs next to nothing.
func check(value []byte, r *record, err error) error {
	if err == nil && len(value) != len(r.value) {
		return fmt.Errorf("%q has a value of %d bytes instead of %d", r.hashKey[:], len(value), len(r.value))
	}
	return err
}
