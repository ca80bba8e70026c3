package onebox_test

import (
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// Outcomes of a check, one letter for each value of checkedValues.
var checkOutcomes = map[byte]wire.Status{
	'+': wire.StatusOK, '-': wire.StatusTryAgain, '!': wire.StatusInvalidArgument,
}

// checkedValues are absent, expired and empty values, and values below, equal to and above 0x10 as text
// and as numbers.
var checkedValues = []string{"absent", "expired", "", "0x1", "0x10", "0x101", "15", "16", "20", "text", "a0x10"}

func TestChecks(t *testing.T) {
	for _, test := range []struct {
		kind    wire.CheckType
		operand string
		want    string
	}{
		{wire.CheckNone, "", "+++++++++++"},
		{wire.CheckNotExist, "", "++---------"},
		{wire.CheckNotExistOrEmpty, "", "+++--------"},
		{wire.CheckExist, "", "--+++++++++"},
		{wire.CheckNotEmpty, "", "---++++++++"},
		{wire.CheckMatchAnywhere, "0x1", "---+++----+"},
		{wire.CheckMatchAnywhere, "", "--+++++++++"},
		{wire.CheckMatchPrefix, "0x10", "----++-----"},
		{wire.CheckMatchPrefix, "", "--+++++++++"},
		{wire.CheckMatchPostfix, "0x10", "----+-----+"},
		{wire.CheckMatchPostfix, "", "--+++++++++"},
		{wire.CheckBytesLess, "0x10", "--++-------"},
		{wire.CheckBytesLessOrEqual, "0x10", "--+++------"},
		{wire.CheckBytesEqual, "0x10", "----+------"},
		{wire.CheckBytesGreaterOrEqual, "0x10", "----+++++++"},
		{wire.CheckBytesGreater, "0x10", "-----++++++"},
		{wire.CheckIntLess, "0x10", "--!+--+--!!"},
		{wire.CheckIntLessOrEqual, "0x10", "--!++-++-!!"},
		{wire.CheckIntEqual, "16", "--!-+--+-!!"},
		{wire.CheckIntGreaterOrEqual, "020", "--!-++-++!!"},
		{wire.CheckIntGreater, "0x10", "--!--+--+!!"},
		{wire.CheckIntEqual, "", "--!!!!!!!!!"},
		{wire.CheckIntEqual, "text", "--!!!!!!!!!"},
		{18, "", "!!!!!!!!!!!"},
		{-1, "", "!!!!!!!!!!!"},
	} {
		x := newTester(t)
		for i, value := range checkedValues {
			outcome := checkOutcomes[test.want[i]]
			known := test.kind >= 0 && test.kind <= wire.CheckIntGreater
			x.testCheck(t, test.kind, test.operand, value, outcome, known)
		}
	}
}

// testCheck does check_and_set and check_and_mutate on a record with the given value.
func (x *tester) testCheck(t *testing.T, kind wire.CheckType, operand, value string, outcome wire.Status, known bool) {
	exists := value != "absent" && value != "expired"
	want := wire.CheckResponse{Status: outcome}
	for _, returned := range []bool{false, true} {
		if want.Returned = returned && known; want.Returned {
			want.Exists = exists
		}
		if want.Returned && exists {
			want.CheckValue = []byte(value)
		}
		for method, in := range map[*wire.Method]wire.Arguments{
			wire.CheckAndSet: &wire.CheckAndSetRequest{
				HashKey: []byte("h"), CheckSortKey: []byte("c"), CheckType: kind, CheckOperand: []byte(operand),
				SetOther: true, SetSortKey: []byte("o"), SetValue: []byte("new"), ReturnCheckValue: returned,
			},
			wire.CheckAndMutate: &wire.CheckAndMutateRequest{
				HashKey: []byte("h"), CheckSortKey: []byte("c"), CheckType: kind, CheckOperand: []byte(operand),
				Mutations: []wire.Mutate{{SortKey: []byte("o"), Value: []byte("new")}}, ReturnCheckValue: returned,
			},
		} {
			x.do("h", wire.MultiRemove, &wire.MultiRemoveRequest{HashKey: []byte("h"), SortKeys: blobs("c", "o")}, nil)
			if exists {
				x.set("h", 0, "c", value)
			} else if value == "expired" {
				x.set("h", x.now(), "c", value)
			}
			var out wire.CheckResponse
			x.do("h", method, in, &out)
			require.Positive(t, out.Decree)
			out.Decree, out.Origin = 0, wire.Origin{}
			if len(out.CheckValue) == 0 && len(want.CheckValue) == 0 {
				out.CheckValue = want.CheckValue
			}
			require.Equal(t, want, out, "%v %q on %q", kind, operand, value)
			require.Equal(t, map[bool]string{true: "new", false: "-"}[outcome == wire.StatusOK], x.value("h", "o"))
		}
	}
}

func TestCheckAndSetTarget(t *testing.T) {
	x := newTester(t)
	in := &wire.CheckAndSetRequest{
		HashKey: []byte("h"), CheckSortKey: []byte("c"), SetSortKey: []byte("ignored"),
		SetValue: []byte("v"), SetExpireSeconds: x.now() + 60,
	}
	x.do("h", wire.CheckAndSet, in, nil)
	require.Equal(t, "v", x.value("h", "c"))
	require.Equal(t, "-", x.value("h", "ignored"))
	require.EqualValues(t, 60, x.ttl("h", "c"))
}

func TestCheckAndMutate(t *testing.T) {
	x := newTester(t)
	put := func(sortKey, value string) wire.Mutate {
		return wire.Mutate{SortKey: []byte(sortKey), Value: []byte(value), ExpireSeconds: x.now() + 60}
	}
	remove := func(sortKey string) wire.Mutate {
		return wire.Mutate{Operation: wire.MutateDelete, SortKey: []byte(sortKey)}
	}
	do := func(mutations ...wire.Mutate) wire.CheckResponse {
		var out wire.CheckResponse
		x.do("h", wire.CheckAndMutate, &wire.CheckAndMutateRequest{HashKey: []byte("h"), Mutations: mutations, ReturnCheckValue: true}, &out)
		return out
	}
	x.set("h", 0, "d", "deleted")
	require.Equal(t, wire.StatusOK, do(put("p", "1"), remove("d"), remove("absent")).Status)
	require.Equal(t, "1-", x.value("h", "p")+x.value("h", "d"))
	require.EqualValues(t, 60, x.ttl("h", "p"))

	require.Equal(t, wire.StatusOK, do(put("o", "1"), remove("o")).Status)
	require.Equal(t, "-", x.value("h", "o"), "in the order of the list")
	require.Equal(t, wire.StatusOK, do(remove("o"), put("o", "2")).Status)
	require.Equal(t, "2", x.value("h", "o"))

	for name, mutations := range map[string][]wire.Mutate{
		"empty list":        nil,
		"unknown operation": {put("o", "3"), {Operation: 2}},
		"negative":          {put("o", "3"), {Operation: -1}},
	} {
		out := do(mutations...)
		require.Equal(t, wire.StatusInvalidArgument, out.Status, name)
		require.False(t, out.Returned, name)
		require.Equal(t, "2", x.value("h", "o"), name)
	}
}
