package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// The server runs in a process of its own, the same program with -serve, so that its CPU time and its
// garbage are not taken for the client's. It greets with one line of JSON on standard output, answers
// each line on standard input with its CPU time so far, and ends when standard input does: it cannot
// outlive the process that started it. A line that begins with slowCommand first makes a server slow.

// greeting is the first thing the server says.
type greeting struct {
	Meta  []string `json:"meta"`
	Table string   `json:"table"`
}

// usage is the server's answer to any line: what it did so far.
type usage struct {
	CPUSeconds number `json:"cpu_seconds"`
	// Reads is the number of requests for single records that its replica servers received.
	Reads number `json:"reads"`
}

// since returns what was done since an earlier moment.
func (u usage) since(before usage) usage {
	return usage{CPUSeconds: u.CPUSeconds - before.CPUSeconds, Reads: u.Reads - before.Reads}
}

// slowCommand is followed by the slowness of the first replica server from now on.
const slowCommand = "slow "

const (
	servedTable      = "bench"
	servedPartitions = 8
)

// serve is the server's process: a cluster of so many replica servers.
func serve(servers int, in io.Reader, out io.Writer) (err error) {
	cluster, err := onebox.Start(onebox.Config{Replicas: servers, MinReplicas: min(servers, 2)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if _, err := cluster.CreateTable(servedTable, onebox.TableOptions{Partitions: servedPartitions, Replicas: servers}); err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	if err := encoder.Encode(greeting{Meta: cluster.MetaAddresses(), Table: servedTable}); err != nil {
		return err
	}
	if err := answer(cluster, in, encoder); err != nil {
		return err
	}
	if violations := cluster.Violations(); len(violations) > 0 {
		return fmt.Errorf("requests that no client may send:\n%s", strings.Join(violations, "\n"))
	}
	return nil
}

// answer answers the lines that come in until there are no more.
func answer(cluster *onebox.Cluster, in io.Reader, out *json.Encoder) error {
	remedy := func() {}
	questions := bufio.NewScanner(in)
	for questions.Scan() {
		if text, isCommand := strings.CutPrefix(questions.Text(), slowCommand); isCommand {
			slow, err := parseSlowness(text)
			if err != nil {
				return err
			}
			remedy()
			remedy = slow.inject(cluster.Replica(0))
		}
		used := usage{CPUSeconds: number(processCPU())}
		for _, node := range cluster.Replicas() {
			used.Reads += number(node.Requests(wire.Get))
		}
		if err := out.Encode(used); err != nil {
			return err
		}
	}
	return questions.Err()
}

// server is the server's process as seen from the one that started it.
type server struct {
	greeting   greeting
	process    *exec.Cmd
	stdin      io.WriteCloser
	answers    *json.Decoder
	complaints bytes.Buffer // its standard error, to be read when it has ended
}

// startServer starts the process of so many replica servers, there, and waits until it is ready.
func startServer(servers int, where placement) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{process: exec.Command(program, "-serve", "-servers", strconv.Itoa(servers), "-processors", string(where))}
	s.process.Stderr = &s.complaints
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.stdin, err = s.process.StdinPipe(); err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	s.answers = json.NewDecoder(stdout)
	if err := s.answers.Decode(&s.greeting); err != nil {
		return nil, errors.Join(fmt.Errorf("the server does not start: %w", err), s.stop())
	}
	return s, nil
}

// cpu returns the CPU time that the server has used so far, in seconds.
func (s *server) cpu() (float64, error) {
	used, err := s.ask("")
	return float64(used.CPUSeconds), err
}

// used returns what the server has done so far.
func (s *server) used() (usage, error) { return s.ask("") }

// slowDown makes one of the replica servers so slow from now on.
func (s *server) slowDown(slow slowness) error {
	_, err := s.ask(slowCommand + slow.String())
	return err
}

// ask sends a line and returns the answer.
func (s *server) ask(line string) (answer usage, err error) {
	if _, err := io.WriteString(s.stdin, line+"\n"); err != nil {
		return usage{}, fmt.Errorf("the server is gone: %w", err)
	}
	if err := s.answers.Decode(&answer); err != nil {
		return usage{}, fmt.Errorf("the server is gone: %w", err)
	}
	return answer, nil
}

// stop ends the server. It is an error if the server found fault with the client.
func (s *server) stop() error {
	closed := s.stdin.Close()
	if err := s.process.Wait(); err != nil {
		return fmt.Errorf("the server ended with %w: %s", err, bytes.TrimSpace(s.complaints.Bytes()))
	}
	return closed
}
