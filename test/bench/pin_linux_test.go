package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// requireProcessor wants all threads of a process to be confined to the processor of that index among ours.
func requireProcessor(t *testing.T, process, index int) {
	t.Helper()
	var ours unix.CPUSet
	require.NoError(t, unix.SchedGetaffinity(0, &ours))
	var processors []int
	for i := 0; len(processors) < ours.Count(); i++ {
		if ours.IsSet(i) {
			processors = append(processors, i)
		}
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", process))
	require.NoError(t, err)
	require.NotEmpty(t, threads)
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		require.NoError(t, err)
		require.Contains(t, string(status), fmt.Sprintf("\nCpus_allowed_list:\t%d\n", processors[index]))
	}
}

func TestServerIsConfined(t *testing.T) {
	for where, index := range map[placement]int{apart: 1, together: 0} {
		s, err := startServer(1, where)
		if runtime.NumCPU() <= index {
			require.ErrorContains(t, err, "may use only 1")
			continue
		}
		require.NoError(t, err)
		requireProcessor(t, s.process.Process.Pid, index)
		require.NoError(t, s.stop())
	}
}

// TestClientIsConfined runs the command as a process of its own, since there is no way back.
func TestClientIsConfined(t *testing.T) {
	command := exec.Command(os.Args[0], append([]string{"-processors", "together", "-ops", "get"}, small...)...)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	report, err := command.Output()
	require.NoError(t, err, complaints.String())
	require.Contains(t, string(report), "GOMAXPROCS 1,")
	require.Contains(t, string(report), "one processor for both")
}
