package meta

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDefect37PartitionsWithoutBallots has a meta server give every partition a ballot of 0 or less,
// those of the lower half included, which have no parent to stand in for them: every key has a
// partition all the same, and it is never one of another table half.
func TestDefect37PartitionsWithoutBallots(t *testing.T) {
	ballots := []int64{math.MinInt64, -2, -1, 0, 1}
	for count := range 9 {
		for _, lower := range ballots {
			for _, upper := range ballots {
				list := make([]int64, count+1)
				for i := range list {
					list[i] = lower
					if i >= len(list)/2 {
						list[i] = upper
					}
				}
				r := mustRoute(t, nodes(t), answered(list...))
				checkRouting(t, r)
				for i := range list[:(len(list)+1)/2] {
					_, p := r.Locate(uint64(i))
					require.Same(t, &r.Partitions[i], p, "%v", list)
				}
			}
		}
	}
}
