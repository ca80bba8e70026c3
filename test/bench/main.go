package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole command; it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s, err := parseSettings(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	}
	switch {
	case s.serve:
		if err = s.placement.placeServer(); err == nil {
			err = serve(s.servers, stdin, stdout)
		}
	case s.open.on:
		err = runOpenLoop(s, stdout, stderr)
	default:
		err = benchmark(s, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// benchmark runs everything against the cluster of the settings, or one that it starts for the time.
func benchmark(s *settings, stdout, stderr io.Writer) (err error) {
	serverCPU := func() (float64, error) { return notAvailable, nil }
	metas, table := []string{s.meta}, s.table
	if s.meta == "" {
		server, startErr := startServer(s.servers, s.placement)
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, server.stop()) }()
		metas, table, serverCPU = server.greeting.Meta, server.greeting.Table, server.cpu
	}
	if err := s.placement.placeClient(); err != nil {
		return err
	}
	client, err := pegasus.Open(metas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	b, err := openBench(s, client, table)
	if err != nil {
		return err
	}
	b.meter.serverCPU = serverCPU
	report := newReport(s, columns, stdout, stderr)
	if err := report.header(describe(s, client.Snapshot())); err != nil {
		return err
	}
	if err := b.runAll(report); err != nil {
		return err
	}
	targets(report)
	if s.cpuProfile != "" {
		return b.profile(s.cpuProfile)
	}
	return nil
}
