package onebox_test

import (
	"math"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

func (x *tester) incr(sortKey string, increment int64, expire int32) wire.IncrResponse {
	x.box.t.Helper()
	var out wire.IncrResponse
	x.do("n", wire.Incr, &wire.IncrRequest{Key: rawKey("n", sortKey), Increment: increment, ExpireSeconds: expire}, &out)
	require.Positive(x.box.t, out.Decree)
	out.Origin, out.Decree = wire.Origin{}, 0
	return out
}

func TestIncr(t *testing.T) {
	const absent, expired = "absent", "expired"
	ok := func(value int64) wire.IncrResponse { return wire.IncrResponse{NewValue: value} }
	invalid := func(value int64) wire.IncrResponse {
		return wire.IncrResponse{Status: wire.StatusInvalidArgument, NewValue: value}
	}
	for _, test := range []struct {
		stored    string
		increment int64
		want      wire.IncrResponse
		after     string
	}{
		{absent, 5, ok(5), "5"},
		{absent, 0, ok(0), "0"},
		{expired, -7, ok(-7), "-7"},
		{"", 5, ok(5), "5"},
		{"10", 5, ok(15), "15"},
		{"10", -15, ok(-5), "-5"},
		{" \t\n\v\f\r+10", 1, ok(11), "11"},
		{"010", 1, ok(9), "9"},
		{"0x1F", 1, ok(32), "32"},
		{"-0X1f", 1, ok(-30), "-30"},
		{"0", 1, ok(1), "1"},
		{"-0", 1, ok(1), "1"},
		{"00", 1, ok(1), "1"},
		{"9223372036854775807", 0, ok(math.MaxInt64), "9223372036854775807"},
		{"9223372036854775807", 1, invalid(math.MaxInt64), "9223372036854775807"},
		{"-9223372036854775808", -1, invalid(math.MinInt64), "-9223372036854775808"},
		{"-0x8000000000000000", 0, ok(math.MinInt64), "-9223372036854775808"},
		{"9223372036854775808", 1, invalid(0), "9223372036854775808"},
		{"0x8000000000000000", 1, invalid(0), "0x8000000000000000"},
		{"abc", 1, invalid(0), "abc"},
		{"10 ", 1, invalid(0), "10 "},
		{" ", 1, invalid(0), " "},
		{"-", 1, invalid(0), "-"},
		{"+-1", 1, invalid(0), "+-1"},
		{"- 1", 1, invalid(0), "- 1"},
		{"08", 1, invalid(0), "08"},
		{"0x", 1, invalid(0), "0x"},
		{"0x-1", 1, invalid(0), "0x-1"},
		{"0b1", 1, invalid(0), "0b1"},
		{"0o7", 1, invalid(0), "0o7"},
		{"1_000", 1, invalid(0), "1_000"},
		{"0_1", 1, invalid(0), "0_1"},
		{"1\x00", 1, invalid(0), "1\x00"},
		{"1.5", 1, invalid(0), "1.5"},
	} {
		x := newTester(t)
		switch test.stored {
		case absent:
		case expired:
			x.set("n", x.now(), "s", "100")
		default:
			x.set("n", 0, "s", test.stored)
		}
		require.Equal(t, test.want, x.incr("s", test.increment, 0), "%q %d", test.stored, test.increment)
		require.Equal(t, test.after, x.value("n", "s"), "%q %d", test.stored, test.increment)
	}
}

func TestIncrAndExpiry(t *testing.T) {
	for _, test := range []struct {
		stored     string
		life, then int32 // what the record has and what the request asks for; -1: no expiry
		want       int32
		wantTable  int32 // with a default of 500 s
	}{
		{"1", 600, 0, 600, 600},
		{"1", 600, 60, 60, 60},
		{"1", 600, -1, -1, 500},
		{"1", -1, 0, -1, 500},
		{"1", -1, 60, 60, 60},
		{"", 600, 0, 600, 600},
		{"", 600, -1, -1, 500},
		{"absent", 0, 0, -1, 500},
		{"absent", 0, 60, 60, 60},
		{"absent", 0, -1, -1, 500},
	} {
		for defaultTTL, want := range map[string]int32{"0": test.want, "500": test.wantTable} {
			x := newTester(t)
			expiry := func(life int32) int32 {
				if life > 0 {
					return x.now() + life
				}
				return life
			}
			if test.stored != "absent" {
				x.set("n", max(expiry(test.life), 0), "s", test.stored)
			}
			require.NoError(t, x.SetTableEnv(tableName, "default_ttl", defaultTTL))
			x.incr("s", 1, expiry(test.then))
			require.Equal(t, want, x.ttl("n", "s"), "%+v %s", test, defaultTTL)
		}
	}
}

// Writes that fail take a position in the log, unless the table is in idempotent mode.
func TestDecreesOfFailedWrites(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		x := newTesterOf(t, onebox.Config{}, onebox.TableOptions{})
		require.NoError(t, x.SetIdempotent(tableName, idempotent))
		x.set("n", 0, "s", "text")
		failures := []int64{2, 3, 4, 5, 6}
		if idempotent {
			failures = []int64{-1, -1, -1, -1, -1}
		}
		put := []wire.Mutate{{SortKey: []byte("t")}}
		for i, request := range []struct {
			method *wire.Method
			in     wire.Arguments
		}{
			{wire.CheckAndSet, &wire.CheckAndSetRequest{HashKey: []byte("n"), CheckType: 18}},
			{wire.CheckAndSet, &wire.CheckAndSetRequest{HashKey: []byte("n"), CheckType: wire.CheckExist}},
			{wire.CheckAndMutate, &wire.CheckAndMutateRequest{HashKey: []byte("n")}},
			{wire.CheckAndMutate, &wire.CheckAndMutateRequest{HashKey: []byte("n"), CheckType: wire.CheckExist, Mutations: put}},
		} {
			var out wire.CheckResponse
			x.do("n", request.method, request.in, &out)
			require.NotEqual(t, wire.StatusOK, out.Status)
			require.Equal(t, failures[i], out.Decree)
		}
		var failed, done wire.IncrResponse
		x.do("n", wire.Incr, &wire.IncrRequest{Key: rawKey("n", "s")}, &failed)
		require.Equal(t, failures[4], failed.Decree)
		x.do("n", wire.Incr, &wire.IncrRequest{Key: rawKey("n", "t")}, &done)
		require.Equal(t, map[bool]int64{false: 7, true: 2}[idempotent], done.Decree)
	}
}
