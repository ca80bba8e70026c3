package conformance

import (
	"flag"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

var (
	metaFlag     = flag.String("meta", "", "play the scripts against the live cluster with these meta servers, host:port,...")
	replicasFlag = flag.Int("replicas", 3, "replicas of the tables created on a live cluster")
)

// TestScripts plays each recorded conversation from the top against an empty table. With the flag -meta it does
// so on a live cluster.
func TestScripts(t *testing.T) {
	for _, topic := range slices.Sorted(maps.Keys(recorded(t)[scripts])) {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			if *metaFlag != "" {
				playScript(t, newLive(t, strings.Split(*metaFlag, ","), *replicasFlag), topic, liveSkips)
				return
			}
			playScript(t, newScriptCluster(t), topic, nil)
		})
	}
}

func newScriptCluster(t testing.TB) *fake { return newFake(t, onebox.Config{}) }

// switches are what has to be set before an exchange of a script is played, because a setting of the table or the
// load of the servers brought its answer about.
var switches = map[string]func(*onebox.Cluster){
	"scripts/scan/sortkey_count_time_limit": func(c *onebox.Cluster) { c.LimitIterations(250) },
}

// playScript plays a recorded conversation, without what needs one of the tables to be left out.
func playScript(t *testing.T, c cluster, topic string, skips map[string]string) {
	p := newPlayer(t, c)
	p.createTables(t, topic, skips)
	script := recorded(t)[scripts][topic]
	p.shift = c.begin(script[0].time())
	for _, e := range script {
		if skips[e.Table] != "" {
			continue
		}
		if f, ok := c.(*fake); ok && switches[e.String()] != nil {
			switches[e.String()](f.Cluster)
		}
		p.run(t, e)
	}
}

// createTables creates the tables of a script.
func (p *player) createTables(t testing.TB, topic string, skips map[string]string) {
	for _, e := range recorded(t)[scripts][topic] {
		if _, ok := p.apps[e.gpid().AppID]; ok || e.Table == "" || skips[e.Table] != "" {
			continue
		}
		require.Positive(t, e.PartitionCount, "%v", e)
		p.apps[e.gpid().AppID] = p.cluster.createTable(t, topic+"_"+e.Table, e.PartitionCount)
	}
}
