package debug

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// TestTroubles has one thing after the other be wrong with a client that is well otherwise.
func TestTroubles(t *testing.T) {
	now := time.Now()
	healthy := func() *View {
		v := &View{
			Taken: now, InFlight: 4, MaxInFlight: 10, RetryTokens: 1, RetryCapacity: 10, HedgeTokens: 1, HedgeCapacity: 10,
			Tables: []Table{{
				TableSnapshot: pegasus.TableSnapshot{Name: "temp", Partitions: make([]pegasus.PartitionSnapshot, 8), FetchedAt: now.Add(-time.Hour)},
			}},
			Nodes: []Node{{Primaries: 3, LastError: "lost"}},
		}
		v.Meta.Confirmed = true
		v.Nodes[0].Address, v.Nodes[0].Connections, v.Nodes[0].InFlight, v.Nodes[0].LastErrorAt = "a:1", 1, 5, now.Add(-time.Minute)
		v.Nodes[0].Silent, v.Nodes[0].OldestInFlight = 499*time.Millisecond, 999*time.Millisecond
		v.Tables[0].Reads.Limits = 1
		return v
	}
	require.Empty(t, healthy().troubles())
	for want, spoil := range map[Trouble]func(v *View){
		{"client", "no meta server has answered as the leader"}:               func(v *View) { v.Meta.Confirmed = false },
		{"client", "3 requests wait for a place, 4 are under way"}:            func(v *View) { v.Waiting = 3 },
		{"client", "the retry budget is used up: what fails is not repeated"}: func(v *View) { v.RetryTokens = 0 },
		{"client", "the hedge budget is used up: slow reads are not hedged"}:  func(v *View) { v.HedgeTokens = 0 },
		{"client", "9 calls of hooks were left out, events among them"}:       func(v *View) { v.HooksSkipped = 9 },
		{"temp", "2 of 8 partitions have no primary"}:                         func(v *View) { v.Tables[0].WithoutPrimary = 2 },
		{"temp", "there was trouble with the primaries of 2 of 8 partitions, and no news since"}: func(v *View) {
			v.Tables[0].Doubtful = 2
		},
		{"temp", "the last refresh failed; the routing was confirmed 1h0m0s ago: no answer"}: func(v *View) {
			v.Tables[0].LastFailure = "no answer"
		},
		{"temp", "reads are held to 1234.5 per second for 2m0s"}: func(v *View) {
			v.Tables[0].Reads = pegasus.RateStats{Limit: 1234.5, Since: now.Add(-2 * time.Minute)}
		},
		{"temp", "writes are held to 9.0 per second for 2m0s"}: func(v *View) {
			v.Tables[0].Writes = pegasus.RateStats{Limit: 9, Since: now.Add(-2 * time.Minute)}
		},
		{"a:1", "writes are kept from it for 2m0s, 6 so far"}: func(v *View) {
			v.Nodes[0].CircuitOpen, v.Nodes[0].CircuitOpenSince, v.Nodes[0].CircuitKept = true, now.Add(-2*time.Minute), 6
		},
		{"a:1", "no connection to the primary of 3 partitions, last trouble 1m0s ago: lost"}: func(v *View) {
			v.Nodes[0].Connections = 0
		},
		{"a:1", "silent for 1.5s, while 5 requests wait"}: func(v *View) {
			v.Nodes[0].Silent, v.Nodes[0].OldestInFlight = 1500*time.Millisecond, 2*time.Second
		},
		{"a:1", "a request waits for its answer for 2s"}: func(v *View) { v.Nodes[0].OldestInFlight = 2 * time.Second },
		{"a:1", "7 requests wait for room in the window, 5 are under way"}: func(v *View) {
			v.Nodes[0].Waiting = 7
		},
	} {
		v := healthy()
		spoil(v)
		require.Equal(t, []Trouble{want}, v.troubles())
	}
}

func TestSettings(t *testing.T) {
	settings := pegasus.Settings{OperationTimeout: time.Second}
	require.Equal(t, []Setting{
		{"operation timeout", "1s"}, {"try timeout", "none"}, {"requests in flight", "any number"}, {"without a place", "wait"},
		{"doubtful writes", "not repeated"}, {"ERR_BUSY", "returned"}, {"adaptive rate", "off"}, {"hedged reads", "off"},
	}, settingsOf(settings))
	settings.TryTimeout, settings.MaxInFlight, settings.FailFast, settings.RetryDoubtfulWrites = time.Minute, 100, true, true
	settings.Retry.RetryBusy = true
	settings.AdaptiveRate = &pegasus.AdaptiveRate{Backoff: 0.7, MinRate: 10}
	settings.Hedging = &pegasus.Hedging{Quantile: 0.95, MaxExtraLoad: 0.05}
	require.Equal(t, []Setting{
		{"operation timeout", "1s"}, {"try timeout", "1m0s"}, {"requests in flight", "100"}, {"without a place", "fail"},
		{"doubtful writes", "repeated if harmless"}, {"ERR_BUSY", "retried"},
		{"adaptive rate", "× 0.7 when busy, at least 10 per second"}, {"hedged reads", "after p95, at most 5 % of all"},
	}, settingsOf(settings))
	settings.Hedging.Delay = time.Millisecond
	require.Equal(t, "after 1ms, at most 5 % of all", settingsOf(settings)[7].Value)
}
