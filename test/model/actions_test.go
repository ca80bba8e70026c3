package model_test

import (
	"strconv"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// actions are the steps that a run is made of.
func (m *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"get": m.get, "exist": m.exist, "ttl": m.ttl, "set": m.set, "del": m.del, "incr": m.incr,
		"check and set": m.checkAndSet, "check and mutate": m.checkAndMutate, "compare exchange": m.compareExchange,
		"multi get": m.multiGet, "multi get range": m.multiGetRange, "multi get all": m.multiGetAll, "multi get sort keys": m.multiGetSortKeys,
		"sort key count": m.sortKeyCount, "multi set": m.multiSet, "multi del": m.multiDel,
		"batch get": m.batchGet, "batch set": m.batchSet, "batch del": m.batchDel, "del range": m.delRange,
		"scan": m.scanAtOnce, "count": m.countAtOnce, "long scan": m.longScan, "long scan, again": m.longScan,
		"wait": m.wait, "heal": m.heal, "limit iterations": m.limitIterations, "default TTL": m.setDefaultTTL,
	}
}

// wait lets records expire.
func (m *machine) wait(t *rapid.T) {
	ticks := rapid.IntRange(1, 3).Draw(t, "ticks")
	m.pass(t, time.Now().Add(time.Duration(ticks)*tick))
}

// heal starts all servers that are dead.
func (m *machine) heal(t *rapid.T) {
	for _, node := range append(m.Metas(), m.Replicas()...) {
		node.Restart()
	}
	m.assignPrimaries()
	m.finishSplit()
	m.pass(t, time.Now().Add(tick))
	require.Equal(t, noExcuse, m.health(writing))
}

// limitIterations lets servers run out of time within ranges, or no longer.
func (m *machine) limitIterations(t *rapid.T) {
	records := rapid.SampledFrom([]int{0, 1, 2, 4}).Draw(t, "records")
	m.LimitIterations(records)
	m.limited = records > 0
}

// setDefaultTTL sets the time that records live that are written without a TTL.
func (m *machine) setDefaultTTL(t *rapid.T) {
	ttl := rapid.SampledFrom([]time.Duration{0, 2 * tick, time.Hour}).Draw(t, "TTL")
	seconds := int64(ttl / time.Second)
	require.NoError(t, m.SetTableEnv(tableName, "default_ttl", strconv.FormatInt(seconds, 10)))
	synctest.Wait()
	for _, w := range m.worlds {
		w.defaultTTL = seconds
	}
}
