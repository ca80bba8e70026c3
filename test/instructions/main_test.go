package main

import (
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCount checks that exactly as many operations are performed as were asked for, since the script
// divides by that.
func TestCount(t *testing.T) {
	for name, method := range map[string]*wire.Method{"get": wire.Get, "append_get": wire.Get, "set": wire.Put} {
		for _, callers := range []int{1, 16} {
			t.Run(name+" by "+strconv.Itoa(callers), func(t *testing.T) {
				cluster, err := onebox.Start(onebox.Config{Replicas: 1, MinReplicas: 1})
				require.NoError(t, err)
				defer func() { require.NoError(t, cluster.Close()) }()
				_, err = cluster.CreateTable("table", onebox.TableOptions{Partitions: 2, Replicas: 1})
				require.NoError(t, err)
				metas := strings.Join(cluster.MetaAddresses(), ",")
				args := []string{"-meta", metas, "-table", "table", "-op", name, "-callers", strconv.Itoa(callers), "-count", "160"}
				require.NoError(t, run(args, io.Discard))
				want := 160
				if method == wire.Put {
					want += recordCount
				}
				require.EqualValues(t, want, cluster.Replica(0).Requests(method))
				require.Empty(t, cluster.Violations())
			})
		}
	}
}

// TestFailures checks that nothing is counted of a run that did not do what it should.
func TestFailures(t *testing.T) {
	cluster, err := onebox.Start(onebox.Config{Replicas: 1, MinReplicas: 1})
	require.NoError(t, err)
	defer func() { require.NoError(t, cluster.Close()) }()
	metas := strings.Join(cluster.MetaAddresses(), ",")
	for want, args := range map[string][]string{
		"no operation":      {"-meta", metas, "-op", "scan"},
		"15 operations":     {"-meta", metas, "-callers", "16", "-count", "15"},
		"for 0 callers":     {"-meta", metas, "-callers", "0"},
		"open table":        {"-meta", metas, "-table", "none"},
		"flag provided":     {"-unknown"},
		"not a meta server": {},
	} {
		require.ErrorContains(t, run(args, io.Discard), want, args)
	}
}
