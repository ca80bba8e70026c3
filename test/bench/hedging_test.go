package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

// usual is how long answers take on a server in good health, in virtual time.
const usual = "80%:300us,15%:500us,4%:900us,0.9%:2ms,0.1%:5ms"

// simulate runs an open loop against three servers, the first of which answers as slow says, in virtual
// time: what comes out is the client's doing alone.
func simulate(t *testing.T, rate int, duration time.Duration, slow string, hedge *pegasus.Hedging) (s *openSlice) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		cluster, err := onebox.Start(onebox.Config{Network: network})
		require.NoError(t, err)
		defer cluster.Close()
		_, err = cluster.CreateTable(servedTable, onebox.TableOptions{Partitions: servedPartitions})
		require.NoError(t, err)
		options := []pegasus.Option{pegasus.WithDialer(network.DialContext)}
		if hedge != nil {
			options = append(options, pegasus.WithHedgedReads(*hedge))
		}
		client, err := pegasus.Open(cluster.MetaAddresses(), options...)
		require.NoError(t, err)
		defer client.Close()
		b, err := openBench(&settings{records: 1000, valueSize: 10}, client, servedTable)
		require.NoError(t, err)
		require.NoError(t, b.settle())
		reads := func() (n number) {
			for _, node := range cluster.Replicas() {
				n += number(node.Requests(wire.Get))
			}
			return n
		}
		for i, text := range []string{slow, usual, usual} {
			answers, err := parseSlowness(text)
			require.NoError(t, err)
			answers.inject(cluster.Replica(i))
		}
		c := &openContender{bench: b}
		loop := &openLoop{limit: 10_000, sleep: asleep}
		operate := func(i int) error { return c.operate(i, 0) }
		_, err = loop.run(poisson(rate, time.Second, seeded(1)), operate) // to learn
		require.NoError(t, err)
		before := reads()
		s, err = loop.run(poisson(rate, duration, seeded(2)), operate)
		require.NoError(t, err)
		s.server.Reads = reads() - before
	})
	require.NoError(t, s.failure)
	at := func(percent float64) time.Duration { return time.Duration(s.latency.ValueAtPercentile(percent)) }
	t.Logf("server %s, hedging %t: p50 %v, p99 %v, p99.9 %v, max %v, extra load %.2f%%",
		slow, hedge != nil, at(50), at(99), at(99.9), time.Duration(s.latency.Max()), 100*extraLoad(s))
	return s
}

func extraLoad(s *openSlice) float64 { return float64(s.server.Reads)/float64(s.arrived) - 1 }

// TestHedgingTail wants hedging to bring the tail of reads down to what it is without a slow server, and
// not to cost more than its budget.
func TestHedgingTail(t *testing.T) {
	const rate, duration = 5000, 2 * time.Second
	const slow = "10%:20ms,72%:300us,13.5%:500us,3.6%:900us,0.8%:2ms,0.1%:5ms" // a tenth slow, the rest as usual
	p99 := func(s *openSlice) time.Duration { return time.Duration(s.latency.ValueAtPercentile(99)) }
	adaptive := &pegasus.Hedging{}

	healthy := simulate(t, rate, duration, usual, nil)
	require.Zero(t, extraLoad(healthy))
	require.LessOrEqual(t, p99(healthy), 3*time.Millisecond)
	require.Less(t, extraLoad(simulate(t, rate, duration, usual, adaptive)), 0.03, "next to nothing needs it")

	before := simulate(t, rate, duration, slow, nil)
	require.Zero(t, extraLoad(before))
	require.GreaterOrEqual(t, p99(before), 19*time.Millisecond)
	after := simulate(t, rate, duration, slow, adaptive)
	require.LessOrEqual(t, p99(after), 3*time.Millisecond)
	burst := 100 / float64(after.arrived)
	require.LessOrEqual(t, extraLoad(after), 0.05+burst)
	require.Positive(t, extraLoad(after))
}
