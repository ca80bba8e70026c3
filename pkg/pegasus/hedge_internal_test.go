package pegasus

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// A timer that fires as the first call ends, and an answer that comes as it does, find nothing to do, and
// leave alone what the operation may have given to another.
func TestHedgeAfterItsEnd(t *testing.T) {
	h := &hedge{cancel: func() { t.Error("the call is over, and its context another's") }}
	h.end()
	h.start() // which would fall over what is not there
	h.answered([]byte("late"))
	answer, node := h.end()
	require.Nil(t, answer)
	require.Nil(t, node)
}

// All secondaries take part, and the primary does not if a meta server lists it among them.
func TestSecondaryIsAnyButThePrimary(t *testing.T) {
	pool, err := rpc.NewPool(rpc.Options{})
	require.NoError(t, err)
	primary, one, other := pool.Node("10.0.0.1:1"), pool.Node("10.0.0.2:1"), pool.Node("10.0.0.3:1")
	require.Nil(t, secondary(&meta.Partition{Primary: primary}))
	require.Nil(t, secondary(&meta.Partition{Primary: primary, Secondaries: []*rpc.Node{primary}}))
	asked := make(map[*rpc.Node]int)
	for range 200 {
		asked[secondary(&meta.Partition{Primary: primary, Secondaries: []*rpc.Node{one, other}})]++
	}
	require.Len(t, asked, 2)
	require.Greater(t, asked[one], 50)
	require.Greater(t, asked[other], 50)
}
