package meta

import (
	"context"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// directory is what the stress needs of a client, so that another design can be put under the same.
type directory interface {
	QueryConfig(ctx context.Context, table string) (*wire.QueryConfigResponse, error)
}

// stress has hundreds of goroutines ask while the leadership wanders over configured meta servers and
// over others, which clients find only by being forwarded to. The first leader is one of those, so
// all begin with being forwarded to a server that nobody knows. After each election, and one query
// that began later, settled is called; between any two queries, look.
func stress(t *testing.T, b *box, d directory, settled func(leader *onebox.Node), look func()) {
	const askers = 200
	configured, added := b.Metas(), []*onebox.Node{b.AddMeta(), b.AddMeta(), b.AddMeta()}
	ask := func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		answer, err := d.QueryConfig(ctx, tableName)
		if err != nil || answer.AppID != b.appID || len(answer.Partitions) != 8 {
			t.Errorf("got %+v, %v", answer, err)
		}
	}
	b.ElectLeader(added[0].Index())
	var asking sync.WaitGroup
	var over atomic.Bool
	for range askers {
		asking.Go(func() {
			for {
				ask()
				look()
				if over.Load() || t.Failed() {
					return
				}
			}
		})
	}
	for i := range added {
		for _, leader := range []*onebox.Node{added[i], configured[i%len(configured)]} {
			b.ElectLeader(leader.Index())
			ask()
			settled(leader)
		}
	}
	over.Store(true)
	asking.Wait()
}

func TestConcurrentQueriesWhileLeadersChange(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	m := b.open(Options{})
	var found []string // meta servers that were leaders
	stress(t, b, m, func(leader *onebox.Node) {
		found = append(found, leader.Address())
		require.Subset(t, m.State().addresses(), found, "whoever answered as leader is a member from then on")
	}, func() {
		s := m.State()
		if err := s.check(); err != nil {
			t.Error(err)
		}
		if known := s.addresses(); !slices.Equal(known[:3], b.MetaAddresses()) {
			t.Errorf("configured members were lost: %v", known)
		}
	})
	require.Len(t, m.State().Members, 6)
	last := b.Leader()
	b.query(m)
	b.requireLeader(m, last)
	for _, node := range b.Metas() {
		require.LessOrEqual(t, node.Accepted(), 1, "one connection per address, however many ask")
		require.LessOrEqual(t, m.pool.Node(node.Address()).Stats().Dials, uint64(1))
	}
}

// The stress above is worth something only if it catches what it is for. It is put to the design that
// the first Pegasus client for Go had, in a process of its own, because that is expected to fail.
func TestStressCatchesTheOldDesign(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a test binary")
	}
	requireRaceDetector(t)
	command := exec.CommandContext(t.Context(), "go", "test", "-race", "-count=1", "-vet=off", "-tags=oldrace",
		"-run=^TestOldDesignRaces$", ".")
	output, err := command.CombinedOutput()
	require.Error(t, err, "the old design passed:\n%s", output)
	require.Contains(t, string(output), "TestOldDesignRaces", "it did not come to the test:\n%s", output)
	require.Regexp(t, `DATA RACE|index out of range`, string(output))
}

// requireRaceDetector skips the test where none can be used.
func requireRaceDetector(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("no race detector on " + runtime.GOARCH)
	}
	settings, err := exec.CommandContext(t.Context(), "go", "env", "CGO_ENABLED", "CC").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	cgo, compiler, _ := strings.Cut(strings.TrimSpace(string(settings)), "\n")
	if _, err := exec.LookPath(compiler); cgo != "1" || err != nil {
		t.Skipf("the race detector needs cgo: CGO_ENABLED is %q, the compiler %q: %v", cgo, compiler, err)
	}
}
