package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// describe says in some lines what is measured, where and how.
func describe(s *settings, snapshot pegasus.Snapshot) []string {
	table := snapshot.Tables[0]
	primaries := make(map[string]bool)
	for _, p := range table.Partitions {
		primaries[p.Primary] = true
	}
	server := "test cluster in a process of its own on this machine" + s.placement.describe()
	if s.meta != "" {
		server = "cluster of " + s.meta
	}
	contexts := "context.Background()"
	if s.deadline > 0 {
		contexts = fmt.Sprintf("a new one with a timeout of %v for each operation", s.deadline)
	}
	return []string{
		fmt.Sprintf("machine   %s/%s, %d CPUs, GOMAXPROCS %d, %s%s", runtime.GOOS, runtime.GOARCH,
			runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.Version(), cpuModel()),
		fmt.Sprintf("server    %s; table %q, %d partitions on %d servers", server, table.Name, len(table.Partitions), len(primaries)),
		fmt.Sprintf("records   %d, values of %d bytes", s.records, s.valueSize),
		fmt.Sprintf("contexts  %s", contexts),
		fmt.Sprintf("method    %d x %v, medians; one in %d operations is timed", s.rounds, s.duration, sampling),
	}
}

// cpuModel returns ", " and the name of the processor where Linux tells it, or "".
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	return findModel(string(text))
}

func findModel(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return ", " + strings.TrimSpace(value)
		}
	}
	return ""
}
