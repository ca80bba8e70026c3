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

	"github.com/bridle-kv/bridle/test/onebox"
)

// The server runs in a process of its own, the same program with -serve, so that its CPU time and its
// garbage are not taken for the client's. It greets with one line of JSON on standard output, answers
// each line on standard input with its CPU time so far, and ends when standard input does: it cannot
// outlive the process that started it.

// greeting is the first thing the server says.
type greeting struct {
	Meta  []string `json:"meta"`
	Table string   `json:"table"`
}

// usage is the server's answer to any line.
type usage struct {
	CPUSeconds number `json:"cpu_seconds"`
}

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
	questions := bufio.NewScanner(in)
	for questions.Scan() {
		if err := encoder.Encode(usage{CPUSeconds: number(processCPU())}); err != nil {
			return err
		}
	}
	if violations := cluster.Violations(); len(violations) > 0 {
		return fmt.Errorf("requests that no client may send:\n%s", strings.Join(violations, "\n"))
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

// startServer starts the process of so many replica servers and waits until it is ready.
func startServer(servers int) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{process: exec.Command(program, "-serve", "-servers", strconv.Itoa(servers))}
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
	if _, err := io.WriteString(s.stdin, "\n"); err != nil {
		return 0, fmt.Errorf("the server is gone: %w", err)
	}
	var answer usage
	if err := s.answers.Decode(&answer); err != nil {
		return 0, fmt.Errorf("the server is gone: %w", err)
	}
	return float64(answer.CPUSeconds), nil
}

// stop ends the server. It is an error if the server found fault with the client.
func (s *server) stop() error {
	closed := s.stdin.Close()
	if err := s.process.Wait(); err != nil {
		return fmt.Errorf("the server ended with %w: %s", err, bytes.TrimSpace(s.complaints.Bytes()))
	}
	return closed
}
