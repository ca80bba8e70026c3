package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// served runs the server's side in this process.
type served struct {
	stdin   *io.PipeWriter
	answers *json.Decoder
	ended   chan error
	greeting
}

func newServed(t *testing.T) *served {
	questions, stdin := io.Pipe()
	stdout, answers := io.Pipe()
	s := &served{stdin: stdin, answers: json.NewDecoder(stdout), ended: make(chan error, 1)}
	go func() { s.ended <- serve(3, questions, answers) }()
	require.NoError(t, s.answers.Decode(&s.greeting))
	return s
}

func TestServe(t *testing.T) {
	s := newServed(t)
	client, err := pegasus.Open(s.Meta)
	require.NoError(t, err)
	table, err := client.OpenTable(t.Context(), s.Table)
	require.NoError(t, err)
	require.NoError(t, table.Set(t.Context(), []byte("h"), []byte("s"), []byte("v")))
	require.Len(t, client.Snapshot().Tables[0].Partitions, servedPartitions)
	require.NoError(t, client.Close())
	for _, line := range []string{"", "", "slow 10%:20ms", "slow "} {
		_, err := io.WriteString(s.stdin, line+"\n")
		require.NoError(t, err)
		var answer usage
		require.NoError(t, s.answers.Decode(&answer))
		require.Positive(t, float64(answer.CPUSeconds))
		require.Equal(t, number(0), answer.Reads)
	}
	require.NoError(t, s.stdin.Close())
	require.NoError(t, <-s.ended)
}

// TestServeRefuses what it does not understand: a benchmark without the slowness asked for is worthless.
func TestServeRefuses(t *testing.T) {
	s := newServed(t)
	_, err := io.WriteString(s.stdin, "slow down\n")
	require.NoError(t, err)
	require.ErrorContains(t, <-s.ended, `-slow: "down"`)
}

// TestServerFindsFault sends what a client must not send, and wants to be told in the end.
func TestServerFindsFault(t *testing.T) {
	s, err := startServer(1, anywhere)
	require.NoError(t, err)
	conn, err := net.Dial("tcp", s.greeting.Meta[0])
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write(bytes.Repeat([]byte("HTTP"), 100))
	require.NoError(t, err)
	if _, err = io.Copy(io.Discard, conn); err != nil { // until the server hangs up
		require.ErrorContains(t, err, "reset")
	}
	require.ErrorContains(t, s.stop(), "requests that no client may send")
}

// TestServerProcess starts the server as a process of its own.
func TestServerProcess(t *testing.T) {
	s, err := startServer(1, anywhere)
	require.NoError(t, err)
	require.Len(t, s.greeting.Meta, 3)
	first, err := s.cpu()
	require.NoError(t, err)
	second, err := s.cpu()
	require.NoError(t, err)
	require.GreaterOrEqual(t, second, first)
	require.NoError(t, s.stop(), "it ends when its input does")
	require.Empty(t, s.complaints.String())

	_, err = s.cpu()
	require.ErrorContains(t, err, "the server is gone")
}

func TestServerDies(t *testing.T) {
	s, err := startServer(1, anywhere)
	require.NoError(t, err)
	require.NoError(t, s.process.Process.Kill())
	require.Eventually(t, func() bool { _, err := s.cpu(); return err != nil }, time.Minute, time.Millisecond)
	require.ErrorContains(t, s.stop(), "the server ended with")
}

func TestModelName(t *testing.T) {
	require.Equal(t, ", Some CPU @ 2.4: fast", findModel("processor\t: 0\nmodel name\t: Some CPU @ 2.4: fast\nmodel name: other\n"))
	require.Empty(t, findModel("nothing"))
}
