package pegasus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// absent stands for no record.
const absent = "(absent)"

// checks says for every type of check which values pass, which do not, and which are an error.
var checks = []struct {
	check   pegasus.CheckType
	operand string
	passes  []string
	fails   []string
	invalid []string
}{
	{check: pegasus.CheckNone, operand: "ignored", passes: []string{absent, "", "value"}},
	{check: pegasus.CheckNotExist, passes: []string{absent}, fails: []string{"", "value"}},
	{check: pegasus.CheckNotExistOrEmpty, passes: []string{absent, ""}, fails: []string{"value"}},
	{check: pegasus.CheckExist, passes: []string{"", "value"}, fails: []string{absent}},
	{check: pegasus.CheckNotEmpty, passes: []string{"value"}, fails: []string{absent, ""}},
	{check: pegasus.CheckMatchAnywhere, operand: "b", passes: []string{"b", "abc"}, fails: []string{absent, "", "ac"}},
	{check: pegasus.CheckMatchAnywhere, operand: "", passes: []string{"", "abc"}, fails: []string{absent}},
	{check: pegasus.CheckMatchPrefix, operand: "ab", passes: []string{"ab", "abc"}, fails: []string{absent, "a", "xab"}},
	{check: pegasus.CheckMatchPostfix, operand: "ab", passes: []string{"ab", "xab"}, fails: []string{absent, "b", "abc"}},
	{check: pegasus.CheckBytesLess, operand: "b", passes: []string{"", "a", "aa"}, fails: []string{absent, "b", "ba", "\xff"}},
	{check: pegasus.CheckBytesLessOrEqual, operand: "b", passes: []string{"", "a", "b"}, fails: []string{absent, "ba", "c"}},
	{check: pegasus.CheckBytesEqual, operand: "b", passes: []string{"b"}, fails: []string{absent, "", "a", "bb"}},
	{check: pegasus.CheckBytesEqual, operand: "", passes: []string{""}, fails: []string{absent, "\x00"}},
	{check: pegasus.CheckBytesGreaterOrEqual, operand: "b", passes: []string{"b", "b\x00", "\xff"}, fails: []string{absent, "", "a"}},
	{check: pegasus.CheckBytesGreater, operand: "b", passes: []string{"b\x00", "c"}, fails: []string{absent, "b", "a"}},
	{check: pegasus.CheckIntLess, operand: "10", passes: []string{"9", "-11", "0x9"}, fails: []string{absent, "10", "11"}, invalid: []string{"", "x"}},
	{check: pegasus.CheckIntLessOrEqual, operand: "10", passes: []string{"9", "10", "012"}, fails: []string{absent, "11"}, invalid: []string{"", "1 "}},
	{check: pegasus.CheckIntEqual, operand: "0xa", passes: []string{"10", "+10"}, fails: []string{absent, "9"}, invalid: []string{"", "9223372036854775808"}},
	{check: pegasus.CheckIntGreaterOrEqual, operand: "10", passes: []string{"10", "100"}, fails: []string{absent, "9"}, invalid: []string{"", "ten"}},
	{check: pegasus.CheckIntGreater, operand: "10", passes: []string{"11", "100"}, fails: []string{absent, "9", "10"}, invalid: []string{"", "ten"}},
	{check: pegasus.CheckIntGreater, operand: "ten", fails: []string{absent}, invalid: []string{"", "9", "10"}},
	{check: pegasus.CheckIntEqual, operand: "", fails: []string{absent}, invalid: []string{"", "0"}},
}

// TestDefect11CheckTypes has every check meet every kind of value, in both operations.
func TestDefect11CheckTypes(t *testing.T) {
	seen := make(map[pegasus.CheckType]bool)
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		for _, c := range checks {
			seen[c.check] = true
			for _, before := range c.passes {
				b.checked(c.check, c.operand, before, true, nil)
			}
			for _, before := range c.fails {
				b.checked(c.check, c.operand, before, false, nil)
			}
			for _, before := range c.invalid {
				b.checked(c.check, c.operand, before, false, pegasus.ErrNotInteger)
			}
		}
	})
	require.Len(t, seen, 18)
	require.Equal(t, pegasus.CheckType(17), pegasus.CheckIntGreater)
}

// checked tests a condition on a record as it is before.
func (b *box) checked(check pegasus.CheckType, operand, before string, passes bool, failure error) {
	t, ctx := b.t, b.t.Context()
	t.Helper()
	condition := pegasus.Check{SortKey: []byte("checked"), Type: check, Operand: []byte(operand)}
	for _, returned := range []bool{true, false} {
		options := &pegasus.CheckOptions{ReturnValue: returned}
		operations := map[string]func() (pegasus.CheckResult, error){
			"set itself": func() (pegasus.CheckResult, error) {
				return b.table.CheckAndSet(ctx, hashKey, condition, []byte("checked"), []byte("new"), options)
			},
			"set another": func() (pegasus.CheckResult, error) {
				return b.table.CheckAndSet(ctx, hashKey, condition, []byte("another"), []byte("new"), options)
			},
			"mutate": func() (pegasus.CheckResult, error) {
				return b.table.CheckAndMutate(ctx, hashKey, condition, []pegasus.Mutation{
					{SortKey: []byte("another"), Value: []byte("new")}, {SortKey: []byte("checked"), Value: []byte("new"), Delete: true},
				}, options)
			},
		}
		for name, operation := range operations {
			text := fmt.Sprintf("%s: check %d of %q against %q", name, check, before, operand)
			b.arrange("checked", before)
			b.arrange("another", absent)
			result, err := operation()
			require.ErrorIs(t, err, failure, text)
			want := pegasus.CheckResult{Passed: passes, Returned: returned}
			if returned && before != absent {
				want.Exists, want.Value = true, []byte(before)
			}
			require.Equal(t, want, result, text)
			after := map[string]map[bool][2]string{
				"set itself":  {true: {"new", absent}, false: {before, absent}},
				"set another": {true: {before, "new"}, false: {before, absent}},
				"mutate":      {true: {absent, "new"}, false: {before, absent}},
			}[name][passes]
			require.Equal(t, after, [2]string{b.stored("checked"), b.stored("another")}, text)
		}
	}
}

func (b *box) arrange(sortKey, value string) {
	if value == absent {
		require.NoError(b.t, b.table.Del(b.t.Context(), hashKey, []byte(sortKey)))
	} else {
		require.NoError(b.t, b.table.Set(b.t.Context(), hashKey, []byte(sortKey), []byte(value)))
	}
}

func (b *box) stored(sortKey string) string {
	value, ok := b.Peek(tableName, hashKey, []byte(sortKey))
	if !ok {
		return absent
	}
	return string(value)
}

// TestCheckAndMutate checks that the changes are made in their order.
func TestCheckAndMutate(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		result, err := b.table.CheckAndMutate(ctx, hashKey, pegasus.Check{}, []pegasus.Mutation{
			{SortKey: []byte("a"), Value: []byte("1")}, {SortKey: []byte("a"), Delete: true},
			{SortKey: []byte("b"), Delete: true}, {SortKey: []byte("b"), Value: []byte("2"), TTL: time.Minute},
			{SortKey: []byte("c"), Value: []byte("first"), TTL: time.Minute}, {SortKey: []byte("c"), Value: []byte("second")},
			{Value: []byte("empty sort key")}, {SortKey: []byte("d"), Delete: true, TTL: -1},
		}, nil)
		require.NoError(t, err)
		require.Equal(t, pegasus.CheckResult{Passed: true}, result)
		all, err := b.table.MultiGetRange(ctx, hashKey, nil, nil, nil)
		require.NoError(t, err)
		require.Equal(t, records("", "empty sort key", "b", "2", "c", "second"), all.Records)
		for name, want := range map[string]time.Duration{"b": time.Minute, "c": 0} {
			left, _, err := b.table.TTL(ctx, hashKey, []byte(name))
			require.NoError(t, err)
			require.Equal(t, want, left)
		}
	})
}

func TestCheckAndSetTTL(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := t.Context()
		_, err := b.table.CheckAndSet(ctx, hashKey, pegasus.Check{}, nil, []byte("value"), &pegasus.CheckOptions{TTL: 1500 * time.Millisecond})
		require.NoError(t, err)
		left, expires, err := b.table.TTL(ctx, hashKey, nil)
		require.NoError(t, err)
		require.True(t, expires)
		require.Equal(t, 2*time.Second, left)
		exists := pegasus.Check{Type: pegasus.CheckExist}
		pass(2 * time.Second)
		result, err := b.table.CheckAndSet(ctx, hashKey, exists, nil, nil, &pegasus.CheckOptions{ReturnValue: true})
		require.NoError(t, err)
		require.Equal(t, pegasus.CheckResult{Returned: true}, result, "what has expired does not exist")
	})
}

func TestCompareExchange(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx, sortKey := t.Context(), []byte("sort")
		exchange := func(expected, desired []byte, swapped bool, actual []byte, options ...pegasus.WriteOption) {
			t.Helper()
			gotSwapped, gotActual, err := b.table.CompareExchange(ctx, hashKey, sortKey, expected, desired, options...)
			require.NoError(t, err)
			require.Equal(t, swapped, gotSwapped)
			require.Equal(t, actual, gotActual)
		}
		exchange([]byte("a"), []byte("b"), false, nil)
		exchange([]byte{}, []byte("b"), false, nil)
		exchange(nil, []byte("a"), true, nil)
		exchange(nil, []byte("b"), false, []byte("a"))
		exchange([]byte("x"), []byte("b"), false, []byte("a"))
		exchange([]byte("a"), []byte{}, true, []byte("a"))
		exchange(nil, []byte("b"), false, []byte{})
		exchange([]byte{}, []byte("b"), true, []byte{}, pegasus.WithTTL(time.Minute))
		left, _, err := b.table.TTL(ctx, hashKey, sortKey)
		require.NoError(t, err)
		require.Equal(t, time.Minute, left)
		exchange([]byte("b"), nil, true, []byte("b"))
		require.Empty(t, b.stored("sort"), "nil is the empty value")
	})
}

// TestCheckRequests looks at the wire.
func TestCheckRequests(t *testing.T) {
	hash := wire.KeyHash(hashKey, nil)
	check := pegasus.Check{SortKey: []byte("c"), Type: pegasus.CheckBytesLess, Operand: []byte("o")}
	request := wire.CheckAndSetRequest{
		HashKey: hashKey, CheckSortKey: []byte("c"), CheckType: wire.CheckBytesLess, CheckOperand: []byte("o"),
		SetSortKey: []byte{}, SetValue: []byte("v"),
	}
	for sortKey, other := range map[string]bool{"c": false, "s": true, "": true} {
		got, header := sent[wire.CheckAndSetRequest](t, &wire.CheckResponse{}, func(ctx context.Context, table *pegasus.Table) {
			_, err := table.CheckAndSet(ctx, hashKey, check, []byte(sortKey), []byte("v"), nil)
			require.NoError(t, err)
		})
		want := request
		if want.SetOther = other; other {
			want.SetSortKey = []byte(sortKey)
		}
		require.Equal(t, want, got)
		require.Equal(t, wire.Header{GPID: stubGPID, TimeoutMillis: 5000, PartitionHash: hash}, header)
	}

	got, header := sent[wire.CheckAndMutateRequest](t, &wire.CheckResponse{}, func(ctx context.Context, table *pegasus.Table) {
		_, err := table.CheckAndMutate(ctx, hashKey, check, []pegasus.Mutation{
			{SortKey: []byte("p"), Value: []byte("v")}, {SortKey: []byte("d"), Value: []byte("v"), TTL: time.Hour, Delete: true},
		}, &pegasus.CheckOptions{ReturnValue: true})
		require.NoError(t, err)
	})
	require.Equal(t, wire.CheckAndMutateRequest{
		HashKey: hashKey, CheckSortKey: []byte("c"), CheckType: wire.CheckBytesLess, CheckOperand: []byte("o"), ReturnCheckValue: true,
		Mutations: []wire.Mutate{
			{Operation: wire.MutatePut, SortKey: []byte("p"), Value: []byte("v")},
			{Operation: wire.MutateDelete, SortKey: []byte("d"), Value: []byte{}},
		},
	}, got)
	require.Equal(t, hash, header.PartitionHash)
}

// TestCheckAnswers feeds the client answers that no sound server gives.
func TestCheckAnswers(t *testing.T) {
	var response wire.CheckResponse
	answer := func(*wire.Request) (wire.ErrorName, wire.Arguments) { return wire.ErrOK, &response }
	withStub(t, answer, func(t *testing.T, s *stub) {
		set := func() (pegasus.CheckResult, error) {
			return s.table.CheckAndSet(t.Context(), hashKey, pegasus.Check{Type: pegasus.CheckExist}, nil, nil, nil)
		}
		response = wire.CheckResponse{Exists: true, CheckValue: []byte("not said to be returned")}
		result, err := set()
		require.NoError(t, err)
		require.Equal(t, pegasus.CheckResult{Passed: true}, result)
		response = wire.CheckResponse{Returned: true, CheckValue: []byte("of a record that does not exist")}
		result, err = set()
		require.NoError(t, err)
		require.Equal(t, pegasus.CheckResult{Passed: true, Returned: true}, result)
		for _, status := range []wire.Status{wire.StatusInvalidArgument, wire.StatusNotFound, wire.StatusIncomplete, -1, 99} {
			response = wire.CheckResponse{Status: status}
			result, err = set()
			require.Equal(t, status, failed(t, err).Status)
			require.NotErrorIs(t, err, pegasus.ErrNotInteger)
			require.False(t, result.Passed)
		}
	})
}
