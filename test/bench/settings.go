package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are what the flags say.
type settings struct {
	meta, table string
	callers     []int
	operations  []operation
	duration    time.Duration
	warmUp      time.Duration
	rounds      int
	records     int
	valueSize   int
	scanRecords int
	servers     int
	deadline    time.Duration
	placement   placement
	json        bool
	cpuProfile  string
	serve       bool
	open        openSettings
}

// Limits of the flags. As many requests as the client's default window must fit, and a request must
// stay so small that the floor, which does not read while it writes, cannot block the server.
const (
	maxCallers   = 4096
	maxRecords   = 1_000_000
	maxValueSize = 64 << 10
	maxServers   = 16
	maxScanned   = 100_000_000
)

// quickDuration is the length of a slice with -quick.
const quickDuration = 100 * time.Millisecond

// quickScanRecords is the number of records in a scan with -quick.
const quickScanRecords = 20_000

// parseSettings reads the flags. Asked for help, it prints it to output and returns flag.ErrHelp.
func parseSettings(args []string, output io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are for the caller
	flags.StringVar(&s.meta, "meta", "", "meta servers `host:port,...` of another cluster; without it, one is started")
	flags.StringVar(&s.table, "table", "", "the other cluster's table, into which records are written")
	callers := flags.String("callers", "1,16,64,256", "numbers of callers, a comma `list`")
	operations := flags.String("ops", allNames(), "operations, a comma `list`")
	flags.DurationVar(&s.duration, "duration", time.Second, "length of a slice")
	flags.IntVar(&s.rounds, "rounds", 3, "slices of each kind")
	flags.IntVar(&s.records, "records", 10_000, "number of records")
	flags.IntVar(&s.valueSize, "value-size", 100, "size of values in bytes")
	flags.IntVar(&s.scanRecords, "scan-records", 1_000_000, "records in the table, at least, when it is scanned")
	flags.IntVar(&s.servers, "servers", 1, "replica servers of the cluster that is started")
	processors := flags.String("processors", "", "where the two processes run, apart on a processor for each or together on one, with GOMAXPROCS=1; without it, anywhere (Linux)")
	flags.DurationVar(&s.deadline, "deadline", 0, "give each operation a context of its own with this timeout; 0 means none")
	quick := flags.Bool("quick", false, "run everything once for a moment, to see that it works")
	flags.BoolVar(&s.json, "json", false, "print JSON lines, and everything else to standard error")
	flags.StringVar(&s.cpuProfile, "cpuprofile", "", "afterwards run the operations, without the floor, once more and write their CPU profile to this `file`")
	flags.BoolVar(&s.serve, "serve", false, "be the server; used by the command itself")
	s.open.define(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(output, "usage: go run ./test/bench [flags]")
			flags.SetOutput(output)
			flags.PrintDefaults()
		}
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *quick {
		shorten(s, given)
	}
	if s.open.on && !given["servers"] {
		s.servers = openServers
	}
	s.warmUp, s.placement = s.duration/5, placement(*processors)
	var err error
	if s.callers, err = parseCallers(*callers); err != nil {
		return nil, err
	}
	if s.operations, err = parseOperations(*operations); err != nil {
		return nil, err
	}
	if err := s.open.parse(); err != nil {
		return nil, err
	}
	return s, errors.Join(s.check(), s.placement.check(), s.open.check(s))
}

// shorten applies -quick, except where another flag says otherwise.
func shorten(s *settings, given map[string]bool) {
	if !given["duration"] {
		s.duration = quickDuration
	}
	if !given["rounds"] {
		s.rounds = 1
	}
	if !given["scan-records"] {
		s.scanRecords = quickScanRecords
	}
}

func parseCallers(list string) ([]int, error) {
	var callers []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > maxCallers {
			return nil, fmt.Errorf("-callers: %q is not a number from 1 to %d", text, maxCallers)
		}
		if !slices.Contains(callers, n) {
			callers = append(callers, n)
		}
	}
	return callers, nil
}

// parseOperations returns the operations named, in the order in which they are always run.
func parseOperations(list string) ([]operation, error) {
	names := strings.Split(list, ",")
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		known := func(op operation) bool { return op.name == names[i] }
		if !slices.ContainsFunc(allOperations, known) {
			return nil, fmt.Errorf("-ops: unknown operation %q", names[i])
		}
	}
	unwanted := func(op operation) bool { return !slices.Contains(names, op.name) }
	return slices.DeleteFunc(slices.Clone(allOperations), unwanted), nil
}

func (s *settings) check() error {
	switch {
	case (s.meta == "") != (s.table == ""):
		return errors.New("-meta and -table go together")
	case s.meta != "" && s.placement != anywhere:
		return errors.New("-processors is for the cluster that is started, not for that of -meta")
	case s.duration < time.Millisecond || s.duration > time.Hour:
		return fmt.Errorf("-duration: %v is not from 1ms to 1h", s.duration)
	case s.rounds < 1 || s.rounds > 1000:
		return fmt.Errorf("-rounds: %d is not from 1 to 1000", s.rounds)
	case s.records < slices.Max(s.callers) || s.records > maxRecords:
		return fmt.Errorf("-records: %d is not from the number of callers to %d", s.records, maxRecords)
	case s.valueSize < 0 || s.valueSize > maxValueSize:
		return fmt.Errorf("-value-size: %d is not from 0 to %d", s.valueSize, maxValueSize)
	case s.scanRecords < 0 || s.scanRecords > maxScanned:
		return fmt.Errorf("-scan-records: %d is not from 0 to %d", s.scanRecords, maxScanned)
	case s.servers < 1 || s.servers > maxServers:
		return fmt.Errorf("-servers: %d is not from 1 to %d", s.servers, maxServers)
	case s.deadline < 0:
		return fmt.Errorf("-deadline: %v is negative", s.deadline)
	}
	return nil
}

// allNames are the names of all operations, as -ops takes them.
func allNames() string {
	names := make([]string, len(allOperations))
	for i, op := range allOperations {
		names[i] = op.name
	}
	return strings.Join(names, ",")
}
