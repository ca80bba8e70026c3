package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// smallOpenLoop are flags for an open loop that is over at once.
var smallOpenLoop = []string{"-open-loop", "-quick", "-duration", "50ms", "-records", "300", "-rate", "400,800"}

// openRows runs the open loop and returns the rows that it prints as JSON.
func openRows(t *testing.T, flags ...string) (rows []openRow, words string) {
	o := runWith(append(slices.Concat(smallOpenLoop, flags), "-json")...)
	require.Zero(t, o.status, o.stderr.String())
	decoder := json.NewDecoder(&o.stdout)
	for decoder.More() {
		var r openRow
		require.NoError(t, decoder.Decode(&r))
		rows = append(rows, r)
	}
	return rows, o.stderr.String()
}

// TestWholeOpenLoop runs everything, with the servers in a process of their own, of which one takes so
// long for each answer that no other reason can be mistaken for it.
func TestWholeOpenLoop(t *testing.T) {
	rows, words := openRows(t, "-slow", "100%:300ms", "-hedging", "off,5ms", "-rounds", "2")
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprint(r.Operation, " ", r.Slow, " ", r.Hedging, " ", r.Rate))
		require.Zero(t, r.Failed+r.Overflow, r)
		require.Positive(t, float64(r.PerSecond), r)
		require.Positive(t, float64(r.P50), r)
		require.LessOrEqual(t, r.P50, r.P99, r)
		require.LessOrEqual(t, r.P99, r.P999, r)
		require.LessOrEqual(t, r.P999, r.Max, r)
		require.Positive(t, float64(r.CPU), r)
		require.Positive(t, float64(r.ServerCPU), r)
		if r.Hedging == "off" {
			require.Zero(t, float64(r.ExtraLoad), r)
			require.Zero(t, r.Hedges+r.HedgesWon, r)
		}
		if r.Slow != "" && r.Hedging == "off" {
			require.GreaterOrEqual(t, float64(r.Max), 300_000*0.98, r)
		}
		if r.Slow != "" && r.Hedging != "off" {
			require.Positive(t, float64(r.ExtraLoad), "the slow server's share of reads makes hedges certain")
			require.Positive(t, r.HedgesWon, r)
			require.LessOrEqual(t, r.HedgesWon, r.Hedges, r)
		}
	}
	require.Equal(t, []string{
		"open_get  off 400", "open_get  5ms 400", "open_get 100%:300ms off 400", "open_get 100%:300ms 5ms 400",
		"open_get  off 800", "open_get  5ms 800", "open_get 100%:300ms off 800", "open_get 100%:300ms 5ms 800",
	}, got)
	require.Contains(t, words, "open loop, poisson arrivals")
	require.Contains(t, words, "8 partitions on 3 servers")
}

// TestOpenLoopOnOtherCluster cannot make a server slow there, nor count what the servers receive.
func TestOpenLoopOnOtherCluster(t *testing.T) {
	_, flags := foreign(t)
	rows, _ := openRows(t, flags...)
	require.Len(t, rows, 4, "without a slow server")
	for _, r := range rows {
		require.Empty(t, r.Slow)
		require.Equal(t, "-", r.ExtraLoad.text(2))
		require.Equal(t, "-", r.ServerCPU.text(2))
		require.Positive(t, float64(r.CPU))
	}
}

// TestOpenLoopFailuresShow has reads fail. The rows are printed all the same, and tell.
func TestOpenLoopFailuresShow(t *testing.T) {
	cluster, flags := foreign(t)
	cluster.Replica(0).Inject(onebox.Fault{Match: onebox.OnMethod(wire.Get), Error: wire.ErrACLDeny})
	o := runWith(slices.Concat(smallOpenLoop, flags, []string{"-json", "-rate", "500", "-hedging", "off"})...)
	require.Equal(t, 1, o.status)
	require.Contains(t, o.stderr.String(), "ERR_ACL_DENY")
	var r openRow
	require.NoError(t, json.Unmarshal(o.stdout.Bytes(), &r))
	require.Positive(t, r.Failed)
	require.InEpsilon(t, float64(greatestLatency.Microseconds()), float64(r.Max), 0.02)
}

func TestOpenLoopSetupFails(t *testing.T) {
	_, flags := foreign(t)
	o := runWith(slices.Concat(smallOpenLoop, flags, []string{"-table", "missing"})...)
	require.Equal(t, 1, o.status)
	require.Contains(t, o.stderr.String(), "ERR_OBJECT_NOT_FOUND")
}

// counted is an openServer that has its price, or fails.
type counted struct {
	usage
	slow    []slowness
	refusal error
}

func (c *counted) used() (usage, error) {
	c.Reads += 5
	return c.usage, c.refusal
}

func (c *counted) slowDown(slow slowness) error {
	c.slow = append(c.slow, slow)
	return c.refusal
}

func TestOpenLoopServerIsGone(t *testing.T) {
	gone := errors.New("gone")
	b := &openRun{server: &counted{refusal: gone}}
	_, err := b.measure(&openContender{}, nil)
	require.ErrorIs(t, err, gone)
}

// idle returns the bench of a client that never does anything.
func idle(t *testing.T) *bench {
	client, err := pegasus.Open([]string{"127.0.0.1:1"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return &bench{client: client}
}

// TestTurns wants contenders to alternate, each under its own condition, with a slice before the first
// round that does not count.
func TestTurns(t *testing.T) {
	slow := slowness{{percent: 10, delay: time.Second}}
	server, idle := &counted{}, idle(t)
	s := &settings{rounds: 2, duration: 10 * time.Millisecond}
	s.open.arrivals = allArrivals[1]
	b := &openRun{
		settings: s, server: server, contenders: []*openContender{{bench: idle}, {bench: idle, slow: slow}},
		loop: &openLoop{sleep: func(int64) error { return nil }}, // of which the limit is nothing at all
	}
	rounds, err := b.compete(1000)
	require.NoError(t, err)
	require.Equal(t, []slowness{nil, slow, slow, nil, nil, slow}, server.slow)
	require.Len(t, rounds, 2)
	for _, slices := range rounds {
		require.Len(t, slices, 2)
		for _, s := range slices {
			require.Equal(t, 10, s.overflow)
			require.Equal(t, usage{Reads: 5}, s.server)
		}
	}
}

// openSliceOf returns a slice of a second in which each operation took so long.
func openSliceOf(operations, reads int, latency time.Duration) *openSlice {
	fates := make([]fate, operations)
	for i := range fates {
		fates[i].took = latency
	}
	s := sumUp(fates, time.Second)
	s.hedges, s.hedgesWon = 3, 2
	s.cpu, s.server = 0.5, usage{CPUSeconds: 0.25, Reads: number(reads)}
	return s
}

func TestSummarizeOpen(t *testing.T) {
	c := &openContender{hedging: hedging{name: "adaptive"}, slow: slowness{{10, 20 * time.Millisecond}}}
	turnedAway := sumUp([]fate{{refused: true, late: time.Second}, {err: errors.New("failed")}}, time.Second)
	r := summarizeOpen(c, 7000, []*openSlice{
		openSliceOf(949, 1000, time.Millisecond), openSliceOf(50, 50, 30*time.Millisecond), turnedAway,
	})
	require.Equal(t, 7000, r.Rate)
	require.InDelta(t, 999.0/3, float64(r.PerSecond), 1e-9)
	require.InEpsilon(t, 1000, float64(r.P50), 0.02)
	require.InEpsilon(t, 30_000, float64(r.P99), 0.02, "of all slices together")
	require.InEpsilon(t, 10e6, float64(r.Max), 0.02)
	require.InDelta(t, 0.05, float64(r.ExtraLoad), 1e-9, "1050 reads for 1000 operations that were begun")
	require.InDelta(t, 1000, float64(r.CPU), 1e-9)
	require.InDelta(t, 500, float64(r.ServerCPU), 1e-9)
	require.EqualValues(t, 6, r.Hedges)
	require.EqualValues(t, 4, r.HedgesWon)
	require.Equal(t, 1, r.Failed)
	require.Equal(t, 1, r.Overflow)
}

// TestOpenLoopKeys holds the JSON to the keys that others read, and the table to one column for each.
func TestOpenLoopKeys(t *testing.T) {
	row := summarizeOpen(&openContender{hedging: hedging{name: "off"}}, 10, []*openSlice{openSliceOf(10, 10, time.Millisecond)})
	var out, words bytes.Buffer
	require.NoError(t, newReport(&settings{json: true}, openColumns, &out, &words).add(row))
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.ElementsMatch(t, []string{
		"op", "slow", "hedging", "rate_per_s", "ops_per_s", "p50_us", "p99_us", "p999_us", "max_us", "extra_load",
		"hedges", "hedges_won", "late_p99_us", "cpu_us_per_op", "server_cpu_us_per_op", "failed", "overflow",
	}, slices.Collect(maps.Keys(line)))
	require.Len(t, openColumns, len(line))

	out.Reset()
	r := newReport(&settings{}, openColumns, &out, &words)
	require.NoError(t, r.header([]string{"machine"}))
	require.NoError(t, r.add(row))
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	require.Len(t, lines, 4)
	require.Len(t, lines[3], len(lines[2]), "columns are wide enough")
	require.Contains(t, lines[3], "0.00%")
}
