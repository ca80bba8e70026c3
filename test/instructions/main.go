// Command instructions performs a given number of operations and ends. By itself that is of no use: the
// script count, beside it, runs it under a program that counts the instructions of a process, once with
// some number of operations and once with twice as many. The difference is what the operations cost,
// without what it costs to start and to connect:
//
//	test/instructions/count
//	test/instructions/count -base v0.1.0
//
// It keeps to what the client has had from its beginning, so that it can be put on top of older versions
// to compare them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "instructions:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	metas     []string
	table     string
	operation operation
	callers   int
	count     int // of operations, of all callers together
}

func parseSettings(args []string, output io.Writer) (*settings, error) {
	flags := flag.NewFlagSet("instructions", flag.ContinueOnError)
	flags.SetOutput(output)
	var s settings
	metas := flags.String("meta", "", "meta servers, `host:port,...`")
	flags.StringVar(&s.table, "table", "", "the table, into which records are written")
	name := flags.String("op", "append_get", "operation: get, append_get or set")
	flags.IntVar(&s.callers, "callers", 1, "number of goroutines, each of which makes one call after the other")
	flags.IntVar(&s.count, "count", 1, "number of operations, rounded down to a multiple of the callers")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s.metas = strings.Split(*metas, ",")
	s.operation = operations[*name]
	switch {
	case s.operation == nil:
		return nil, fmt.Errorf("no operation %q", *name)
	case s.callers < 1 || s.count < s.callers:
		return nil, fmt.Errorf("%d operations for %d callers", s.count, s.callers)
	}
	return &s, nil
}

// operation is one call of the client. It gets memory for a value, and returns it for the next call.
type operation func(ctx context.Context, table *pegasus.Table, r *record, buffer []byte) ([]byte, error)

var operations = map[string]operation{
	"get": func(ctx context.Context, table *pegasus.Table, r *record, _ []byte) ([]byte, error) {
		return table.Get(ctx, r.hashKey, r.sortKey)
	},
	"append_get": func(ctx context.Context, table *pegasus.Table, r *record, buffer []byte) ([]byte, error) {
		return table.AppendGet(ctx, buffer[:0], r.hashKey, r.sortKey)
	},
	"set": func(ctx context.Context, table *pegasus.Table, r *record, buffer []byte) ([]byte, error) {
		return buffer, table.Set(ctx, r.hashKey, r.sortKey, r.value)
	},
}

// run performs the operations that the flags ask for.
func run(args []string, output io.Writer) (err error) {
	s, err := parseSettings(args, output)
	if err != nil {
		return err
	}
	client, err := pegasus.Open(s.metas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	ctx := context.Background()
	table, err := client.OpenTable(ctx, s.table)
	if err != nil {
		return err
	}
	records := newRecords()
	for i := range records {
		if err := table.Set(ctx, records[i].hashKey, records[i].sortKey, records[i].value); err != nil {
			return err
		}
	}
	return s.perform(ctx, table, records)
}

// perform makes the calls.
func (s *settings) perform(ctx context.Context, table *pegasus.Table, records []record) error {
	errs := make([]error, s.callers)
	var running sync.WaitGroup
	for i := range s.callers {
		running.Go(func() {
			buffer := make([]byte, 0, valueSize)
			for n := 0; n < s.count/s.callers && errs[i] == nil; n++ {
				buffer, errs[i] = s.operation(ctx, table, &records[(i+n)%len(records)], buffer)
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// record is one record. Its keys have the lengths that those of test/bench have.
type record struct{ hashKey, sortKey, value []byte }

const (
	recordCount = 64 // a power of two, since callers divide by it
	valueSize   = 100
)

func newRecords() []record {
	records := make([]record, recordCount)
	for i := range records {
		records[i] = record{
			hashKey: fmt.Appendf(nil, "bench-%010d", i),
			sortKey: fmt.Appendf(nil, "sort%04d", i),
			value:   slices.Repeat([]byte("v"), valueSize),
		}
	}
	return records
}
