package main

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

func TestSlownessIsWrittenAsItIsRead(t *testing.T) {
	for _, text := range []string{"", "10%:20ms", "0.5%:1s,99.5%:1ms", "100%:1us"} {
		s, err := parseSlowness(text)
		require.NoError(t, err)
		want := text
		if text == "100%:1us" {
			want = "100%:1µs"
		}
		require.Equal(t, want, s.String())
		again, err := parseSlowness(s.String())
		require.NoError(t, err)
		require.Equal(t, s, again)
	}
}

func TestSlownessRefused(t *testing.T) {
	for _, text := range []string{
		"10", "10%", "10%:", "10:20ms", "x%:20ms", "0%:20ms", "-1%:20ms", "101%:20ms", "NaN%:20ms", ",",
		"10%:x", "10%:0s", "10%:-1ms", "10%:10s", "60%:1ms,41%:1ms", "10%:20ms,",
	} {
		_, err := parseSlowness(text)
		require.ErrorContains(t, err, "-slow", text)
	}
}

// TestChances draws as the faults do, one after the other, and wants each delay's own share.
func TestChances(t *testing.T) {
	for _, text := range []string{"10%:20ms", "50%:1ms,25%:2ms,25%:3ms", "1%:1s,1%:2s", "99.9%:1ms,0.1%:2ms"} {
		s, err := parseSlowness(text)
		require.NoError(t, err)
		left := 1.0
		for i, chance := range s.chances() {
			require.LessOrEqual(t, chance, 1.0)
			require.InDelta(t, s[i].percent/100, left*chance, 1e-9, text)
			left *= 1 - chance
		}
	}
}

// TestSlowServer counts the delays of a server's answers in virtual time, where nothing else takes any.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		cluster, err := onebox.Start(onebox.Config{Replicas: 1, MinReplicas: 1, Network: network})
		require.NoError(t, err)
		defer cluster.Close()
		_, err = cluster.CreateTable("temp", onebox.TableOptions{Partitions: 1, Replicas: 1})
		require.NoError(t, err)
		client, err := pegasus.Open(cluster.MetaAddresses(), pegasus.WithDialer(network.DialContext))
		require.NoError(t, err)
		defer client.Close()
		table, err := client.OpenTable(t.Context(), "temp")
		require.NoError(t, err)
		require.NoError(t, table.Set(t.Context(), []byte("h"), []byte("s"), []byte("v")))

		slow, err := parseSlowness("30%:20ms,10%:200ms")
		require.NoError(t, err)
		remedy := slow.inject(cluster.Replica(0))
		const reads = 2000
		counts := map[time.Duration]int{}
		read := func() {
			began := time.Now()
			_, err := table.Get(t.Context(), []byte("h"), []byte("s"))
			require.NoError(t, err)
			counts[time.Since(began)]++
		}
		for range reads {
			read()
		}
		within := func(share float64) float64 { return 6 * math.Sqrt(reads*share*(1-share)) }
		require.InDelta(t, 0.3*reads, counts[20*time.Millisecond], within(0.3))
		require.InDelta(t, 0.1*reads, counts[200*time.Millisecond], within(0.1))
		require.InDelta(t, 0.6*reads, counts[0], within(0.6))
		began := time.Now()
		require.NoError(t, table.Set(t.Context(), []byte("h"), []byte("s"), []byte("v")))
		require.Zero(t, time.Since(began), "writes are not slow")

		remedy()
		clear(counts)
		for range 100 {
			read()
		}
		require.Equal(t, map[time.Duration]int{0: 100}, counts)
	})
}
