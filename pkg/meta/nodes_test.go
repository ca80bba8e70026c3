package meta

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// moved is an answer in which every partition is at new addresses, with the given ballot.
func (b *box) moved(generation int) *wire.QueryConfigResponse {
	answer := inApp(b.appID, answered(1, 1, 1, 1))
	for i := range answer.Partitions {
		p := &answer.Partitions[i]
		p.Ballot = int64(1000 + generation)
		p.Primary = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, byte(generation >> 8), byte(generation)}), uint16(1000+i))
		p.Secondaries[0] = netip.AddrPortFrom(p.Primary.Addr(), uint16(2000+i))
	}
	return answer
}

// A table whose servers have new addresses all the time, for months or by the will of a meta server,
// leaves no more behind than the nodes of some minutes, whether its routings are installed or refused.
func TestNodesOfOldRoutingsAreForgotten(t *testing.T) {
	for name, ballots := range map[string]int64{"installed": 0, "refused": -1_000_000} {
		t.Run(name, func(t *testing.T) {
			withTable(t, Options{}, func(t *testing.T, b *box, table *Table) {
				const generations, perGeneration = 2000, 8
				pool := table.manager.pool
				var first *rpc.Node
				for generation := range generations {
					answer := b.moved(generation)
					for i := range answer.Partitions {
						answer.Partitions[i].Ballot += ballots
					}
					fresh := mustRoute(t, pool, answer)
					if table.rewinds = 0; first == nil {
						first = fresh.Partitions[0].Primary
					}
					require.Equal(t, ballots == 0, table.install(fresh, ReasonAge))
					time.Sleep(10 * time.Second)
				}
				runtime.GC()
				pool.Nodes()
				runtime.GC()
				require.LessOrEqual(t, len(pool.Nodes()), 100*perGeneration)
				require.Same(t, first, pool.Node(first.Address()), "a node that somebody has is the one of its address")
				for i := range table.Load().Value().Partitions {
					p := &table.Load().Value().Partitions[i]
					require.Same(t, p.Primary, pool.Node(p.Primary.Address()))
				}
			})
		})
	}
}
