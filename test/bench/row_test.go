package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// made returns a slice of a second.
func made(operations int, latency time.Duration) *slice {
	s := &slice{
		operations: operations, elapsed: time.Second, cpu: 0.5, serverCPU: notAvailable,
		mallocs: uint64(2 * operations), bytes: uint64(112 * operations), latency: newLatency(),
	}
	noteLatency(s.latency, latency, operations)
	return s
}

func TestSummarize(t *testing.T) {
	// The floor is slow in the second round, and so is the client: that is the machine's fault.
	base := []*slice{made(1000, time.Microsecond), made(100, time.Microsecond), made(2000, time.Microsecond)}
	rounds := []*slice{made(700, time.Millisecond), made(60, 20*time.Millisecond), made(1000, time.Millisecond)}
	r := summarize("get", 64, rounds, base)
	require.Equal(t, "get", r.Operation)
	require.Equal(t, 64, r.Callers)
	require.InDelta(t, 700, float64(r.PerSecond), 1e-9)
	require.InDelta(t, 0.6, float64(r.FloorRatio), 1e-9, "of 0.7, 0.6, 0.5")
	require.InDelta(t, 0.6, float64(r.timesOf.perSecond), 1e-9)
	require.InDelta(t, 1000, float64(r.floor.perSecond), 1e-9)
	require.InDelta(t, 500, float64(r.floor.cpu), 1e-9)
	require.InDelta(t, 1/0.6, float64(r.timesOf.cpu), 1e-9, "of 1/0.7, 1/0.6, 1/0.5")
	require.InEpsilon(t, 1, float64(r.floor.p99), 0.05)
	require.InEpsilon(t, 20_000, float64(r.timesOf.p99), 0.05)
	require.InDelta(t, 0.5/700*1e6, float64(r.CPU), 1e-9)
	require.InDelta(t, 2, float64(r.Allocations), 1e-9)
	require.InDelta(t, 112, float64(r.AllocatedBytes), 1e-9)
	require.InEpsilon(t, 1000, float64(r.P50), 0.02)
	require.InEpsilon(t, 20_000, float64(r.P99), 0.02, "3 % of all operations took so long")
	require.Equal(t, "-", r.ServerCPU.text(2))
}

// TestKeys holds the JSON to the keys that others read.
func TestKeys(t *testing.T) {
	var out, words bytes.Buffer
	r := newReport(&settings{json: true}, columns, &out, &words)
	require.NoError(t, r.header([]string{"machine"}))
	require.NoError(t, r.add(summarize("set", 1, []*slice{made(9, time.Second)}, []*slice{made(10, time.Second)})))
	targets(r)
	require.Equal(t, 1, strings.Count(out.String(), "\n"), "one line and nothing else")
	require.Equal(t, "machine\n\n", words.String())
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.ElementsMatch(t, []string{
		"op", "callers", "ops_per_s", "floor_ratio", "p50_us", "p99_us", "p999_us",
		"cpu_us_per_op", "allocs_per_op", "bytes_per_op", "server_cpu_us_per_op", "mb_per_s",
	}, slices.Collect(maps.Keys(line)))
	require.Equal(t, "set", line["op"])
	require.InDelta(t, 0.9, line["floor_ratio"], 1e-9)
	require.Nil(t, line["server_cpu_us_per_op"])
}

func TestTableIsAligned(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&settings{}, columns, &out, nil)
	require.NoError(t, r.header([]string{"machine"}))
	require.NoError(t, r.add(summarize("get", 1, []*slice{made(1000, time.Millisecond)}, []*slice{made(10_000, time.Second)})))
	require.NoError(t, r.add(summarize("append_get", 256, []*slice{made(1_234_567, time.Microsecond)}, []*slice{made(2_000_000, time.Second)})))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")[2:]
	require.Len(t, lines, 3)
	for _, line := range lines {
		require.Len(t, line, len(lines[0]))
	}
	require.Contains(t, lines[2], " 1,234,567 ")
	require.Contains(t, lines[2], " 61.7% ")
}

func TestRowThatCannotBePrinted(t *testing.T) {
	for _, json := range []bool{true, false} {
		r := newReport(&settings{json: json}, columns, full{}, new(bytes.Buffer))
		require.ErrorIs(t, r.add(row{}), errFull)
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestTargets(t *testing.T) {
	good := row{
		Operation: "get", Callers: 64, Allocations: 1.01,
		floor: comparison{987654, 380, 1.4}, timesOf: comparison{0.61, 2.6, 2.5},
	}
	bad := good
	bad.Allocations, bad.timesOf = 2.1, comparison{0.59, 2.7, number(notAvailable)}
	for verdict, line := range map[string]row{"met": good, "missed": bad} {
		var words bytes.Buffer
		r := &report[row]{words: &words, rows: []row{line, {Operation: "set", Callers: 64}}}
		targets(r)
		lines := strings.Split(strings.TrimSpace(words.String()), "\n")
		require.Len(t, lines, 4, "throughput, CPU, allocations, p99")
		require.Contains(t, lines[0], "60.0% of the floor's 987,654/s")
		require.Contains(t, lines[1], "257.1% of the floor's 1.40 us")
		require.Contains(t, lines[3], "263.2% of the floor's 380 us")
		for _, line := range lines {
			require.True(t, strings.HasSuffix(line, " "+verdict), line)
		}
	}
}
