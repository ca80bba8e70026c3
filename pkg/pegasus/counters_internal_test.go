package pegasus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCountersKnowEveryName checks the names against their indices, and that one which is not there is
// counted as another.
func TestCountersKnowEveryName(t *testing.T) {
	c := newCounters()
	var op operation
	for kind, name := range operationNames {
		op.name, op.tries = name, 1
		c.tried(&op)
		require.Equal(t, kind, op.tally.kind)
		require.Equal(t, OperationStats{Operation: name, Begun: 1}, c.read()[kind])
	}
	op.name = "something new"
	c.tried(&op)
	require.Equal(t, uint64(2), c.read()[operationKinds-1].Begun)
}

// The memory of operations is shared by all clients of a process, which can have been opened when it had
// more processors, and therefore more shards.
func TestCountersOfSeveralClients(t *testing.T) {
	op := &operation{name: "get", tries: 1}
	for _, shards := range []int{16, 7, 2, 1} {
		c := &counters{shards: make([]counterShard, shards)}
		for chosen := range uint32(17) {
			op.tally.shard = chosen
			c.tried(op)
		}
		require.EqualValues(t, 17, c.read()[0].Begun)
	}
}

// TestCountersTimeASample times the first operations of a shard, and one in 64 of the others, and does not
// choose anew for a retry.
func TestCountersTimeASample(t *testing.T) {
	c := newCounters()
	op := operation{name: "get"}
	var timed []int
	for n := 1; n <= 200; n++ {
		op.tries = 1
		c.tried(&op)
		chosen := op.tally.timed
		op.tries = 2
		c.tried(&op)
		require.Equal(t, chosen, op.tally.timed)
		if chosen {
			timed = append(timed, n)
		}
	}
	require.Len(t, timed, 64+2)
	require.Equal(t, []int{63, 64, 128, 192}, timed[62:])
}

// BenchmarkCounters counts operations in as many goroutines as there are processors, each with memory of
// its own, as they come from pools; and, to compare, with memory that has one shard for all.
func BenchmarkCounters(b *testing.B) {
	for name, shard := range map[string]uint32{"sharded": 0, "shared": 1} {
		b.Run(name, func(b *testing.B) {
			c := newCounters()
			b.RunParallel(func(p *testing.PB) {
				op := operation{name: "get", tries: 1, tally: tally{shard: shard}}
				for p.Next() {
					c.tried(&op)
				}
			})
		})
	}
}
