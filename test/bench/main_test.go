package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestMain lets the test binary be the command: the server, as which the command under test starts itself, or
// one that is to be confined to a processor, out of which a process does not come again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "-serve" || os.Args[1] == "-processors") {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// small are flags for a run that is over at once.
var small = []string{"-quick", "-duration", "10ms", "-records", "300", "-scan-records", "5000", "-callers", "1,2,16"}

// outcome is what a run of the command left.
type outcome struct {
	status         int
	stdout, stderr bytes.Buffer
}

func runWith(flags ...string) *outcome {
	var o outcome
	o.status = run(flags, strings.NewReader(""), &o.stdout, &o.stderr)
	return &o
}

// TestWholeRun runs everything, with the server in a process of its own.
func TestWholeRun(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "cpu.pprof")
	o := runWith(append(small, "-json", "-rounds", "2", "-cpuprofile", profile)...)
	require.Zero(t, o.status, o.stderr.String())
	var got []string
	decoder := json.NewDecoder(&o.stdout)
	for decoder.More() {
		var r row
		require.NoError(t, decoder.Decode(&r))
		got = append(got, r.Operation)
		require.Positive(t, float64(r.PerSecond), r)
		require.Positive(t, float64(r.FloorRatio), r)
		require.Positive(t, float64(r.CPU), r)
		require.Positive(t, float64(r.ServerCPU), r)
		require.Positive(t, float64(r.P50), r)
		require.LessOrEqual(t, r.P50, r.P999, r)
		if strings.HasPrefix(r.Operation, "floor") {
			require.InDelta(t, 1, float64(r.FloorRatio), 0, r)
		}
	}
	require.Equal(t, slices.Concat(
		slices.Repeat([]string{"floor_get", "woken_get", "get", "append_get"}, 3), // one for each number of callers
		slices.Repeat([]string{"floor_set", "set"}, 3),
		slices.Repeat([]string{"floor_multi_get", "multi_get"}, 3),
		slices.Repeat([]string{"floor_multi_set", "multi_set"}, 3),
		[]string{"floor_batch_get", "batch_get", "get_100_in_turn", "get_100_at_once", "floor_scan", "scan"},
	), got)
	require.Contains(t, o.stderr.String(), "machine")
	require.Contains(t, o.stderr.String(), "of the floor's")
	info, err := os.Stat(profile)
	require.NoError(t, err)
	require.Positive(t, info.Size())
}

// foreign starts a cluster as -meta would name it, and returns the flags that do.
func foreign(t *testing.T) (*onebox.Cluster, []string) {
	cluster := onebox.New(t, onebox.Config{})
	_, err := cluster.CreateTable("temp", onebox.TableOptions{Partitions: 4})
	require.NoError(t, err)
	return cluster, []string{"-meta", strings.Join(cluster.MetaAddresses(), ","), "-table", "temp"}
}

func TestOtherCluster(t *testing.T) {
	cluster, flags := foreign(t)
	o := runWith(append(append(small, flags...), "-ops", "set,get", "-deadline", "5s")...)
	require.Zero(t, o.status, o.stderr.String())
	require.Empty(t, o.stderr.String())
	table := o.stdout.String()
	for _, word := range []string{"cluster of 127.0.0.1", `"temp", 4 partitions on 3 servers`, "timeout of 5s", "ops/s", "floor_get", "floor_set"} {
		require.Contains(t, table, word)
	}
	require.NotContains(t, table, "append_get")
	require.Regexp(t, `(?m)^get .* -$`, table, "the CPU time of this server is not available")
	r := newRecords(300, 100)[7]
	value, ok := cluster.Peek("temp", r.hashKey[:], r.sortKey[:])
	require.True(t, ok)
	require.Equal(t, r.value, value)
}

// TestFailuresShow makes one kind of request fail and wants the exit status to tell.
func TestFailuresShow(t *testing.T) {
	for name, method := range map[string]*wire.Method{"cannot write": wire.Put, "floor at": wire.Get} {
		t.Run(name, func(t *testing.T) {
			cluster, flags := foreign(t)
			for _, node := range cluster.Replicas() {
				node.Inject(onebox.Fault{Match: onebox.OnMethod(method), Error: wire.ErrACLDeny})
			}
			o := runWith(append(small, flags...)...)
			require.Equal(t, 1, o.status)
			require.Contains(t, o.stderr.String(), name)
			require.Contains(t, o.stderr.String(), "ERR_ACL_DENY")
		})
	}
	t.Run("no such table", func(t *testing.T) {
		_, flags := foreign(t)
		o := runWith(append(append(small, flags...), "-table", "missing")...)
		require.Equal(t, 1, o.status)
		require.Contains(t, o.stderr.String(), "ERR_OBJECT_NOT_FOUND")
	})
	t.Run("profile cannot be written", func(t *testing.T) {
		_, flags := foreign(t)
		o := runWith(append(append(small, flags...), "-ops", "get", "-cpuprofile", t.TempDir())...)
		require.Equal(t, 1, o.status)
	})
}

func TestFlagsThatMakeNoSense(t *testing.T) {
	o := runWith("-rounds", "0")
	require.Equal(t, 2, o.status)
	require.Contains(t, o.stderr.String(), "-rounds")
	require.Empty(t, o.stdout.String())

	o = runWith("-help")
	require.Zero(t, o.status)
	require.Contains(t, o.stderr.String(), "-value-size")
}
