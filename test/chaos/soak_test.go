package chaos

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soakRound is how long the faults of one seed go on in TestSoak.
const soakRound = 10 * time.Second

// fewestSamples are needed in the second half to say that something grows.
const fewestSamples = 8

// TestSoak has the same clients go through fault after fault for a long time; see the package's
// documentation. It takes part in no other run than that of make soak.
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("needs -soak")
	}
	a := newArena(t, *firstSeed, nil) // TCP, for its descriptors
	all, at := soak(a, *soakFor, soakRound)
	if *plotFile != "" {
		require.NoError(t, os.WriteFile(*plotFile, []byte(plot(all, at)), 0o600))
	}
	t.Logf("%d seeds; %s", len(at), a.tally.String())
	requireFlat(t, all, at)
}

// soak goes through seeds until the time is over, and samples after each.
func soak(a *arena, length, round time.Duration) (all []*series, at []time.Duration) {
	all = []*series{
		{name: "memory in use", unit: "MiB", allowance: 4},
		{name: "goroutines", allowance: 20}, // connections come and go, and each has two at either end
		{name: "descriptors", allowance: 20},
	}
	began := time.Now()
	for seed := *firstSeed; time.Since(began) < length; seed++ {
		a.run(seed, schedule(seed, round), allWorkloads(a)...)
		if found := a.findings.all(); len(found) > 0 {
			a.t.Fatalf("seed %d, after %v: %v", seed, time.Since(began), found)
		}
		a.dropTables()
		a.createTables()
		runtime.GC()
		for i, value := range []float64{memoryInUse(), float64(runtime.NumGoroutine()), descriptors()} {
			all[i].values = append(all[i].values, value)
		}
		at = append(at, time.Since(began))
	}
	return all, at
}

// memoryInUse returns the MiB of all objects that are reachable after a collection.
func memoryInUse() float64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) / (1 << 20)
}

// descriptors returns how many files and sockets are open; 0 where the system does not tell.
func descriptors() float64 {
	open, _ := os.ReadDir("/proc/self/fd")
	return float64(len(open))
}

// requireFlat fails the test for what grows.
func requireFlat(t testing.TB, all []*series, at []time.Duration) {
	t.Helper()
	for _, s := range all {
		values, moments := s.secondHalf(at)
		if len(values) < fewestSamples {
			t.Logf("%s: %d samples are too few to say whether it grows: %.4g", s.name, len(values), values)
			continue
		}
		rises, may := s.rise(values, moments)
		t.Logf("%s rises by %.3g %s in the second half; it may by %.3g", s.name, rises, s.unit, may)
		if rises > may {
			t.Errorf("%s grows: %.4g", s.name, values)
		}
	}
}
