// Command debugpage shows what a client knows and does, as a web page: it starts a cluster in its own
// process, puts it under load, takes servers away, and serves the page of package debug.
//
//	go run ./docs/examples/debugpage
//	go run ./docs/examples/debugpage -listen 127.0.0.1:8080 -duration 10m
//
// Then open the address that it prints in a browser.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/debug"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

const (
	tableName  = "temp"
	partitions = 8
	callers    = 16
	// pause is how long a caller rests between two operations, so that the page stays quick.
	pause = 5 * time.Millisecond
	// slow is the time from which on an operation is among the events.
	slow = 100 * time.Millisecond
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` of the page; port 0 stands for any that is free")
	duration := flag.Duration("duration", 5*time.Minute, "how long to run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *duration)
	defer cancel()
	if err := run(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string) (err error) {
	cluster, err := onebox.Start(onebox.Config{FailoverDelay: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	if _, err := cluster.CreateTable(tableName, onebox.TableOptions{Partitions: partitions}); err != nil {
		return err
	}
	recorder := debug.NewRecorder(0)
	client, err := pegasus.Open(cluster.MetaAddresses(),
		pegasus.WithHooks(recorder.Hooks()), pegasus.WithHooks(recorder.OperationHooks(slow)),
		pegasus.WithHedgedReads(pegasus.Hedging{}), pegasus.WithAdaptiveRate(pegasus.AdaptiveRate{}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	table, err := client.OpenTable(ctx, tableName)
	if err != nil {
		return err
	}
	var working sync.WaitGroup
	defer working.Wait()
	for caller := range callers {
		working.Go(func() { load(ctx, table, caller) })
	}
	working.Go(func() { disturb(ctx, cluster) })
	return serve(ctx, listen, debug.NewHandler(client, recorder))
}

// serve serves the page until ctx ends.
func serve(ctx context.Context, listen string, page http.Handler) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("the page is at http://%s/\n", listener.Addr())
	server := &http.Server{Handler: page, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// load reads and writes records of its own until ctx ends.
func load(ctx context.Context, table *pegasus.Table, caller int) {
	rest := time.NewTicker(pause)
	defer rest.Stop()
	hashKey := fmt.Appendf(nil, "caller %d", caller)
	for i := 0; ; i++ {
		sortKey := fmt.Appendf(nil, "record %d", i%100)
		switch i % 10 {
		case 0:
			_ = table.Set(ctx, hashKey, sortKey, []byte("value"), pegasus.WithTTL(time.Hour))
		case 1:
			_, _ = table.Incr(ctx, hashKey, []byte("count"), 1)
		case 2:
			_, _ = table.MultiGet(ctx, hashKey, [][]byte{sortKey, []byte("count")}, nil)
		default:
			_, _ = table.Get(ctx, hashKey, sortKey)
		}
		select {
		case <-rest.C:
		case <-ctx.Done():
			return
		}
	}
}

// disturb kills a replica server, and then the meta leader, and brings them back, again and again. Whoever
// has stood in for the replica server is busy for a moment.
func disturb(ctx context.Context, cluster *onebox.Cluster) {
	rest := time.NewTicker(time.Second)
	defer rest.Stop()
	next := func() bool {
		select {
		case <-rest.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for next() {
		replica := cluster.Primary(tableName, 0)
		if replica == nil {
			continue
		}
		replica.Kill()
		if !next() {
			return
		}
		if busy := cluster.Primary(tableName, 0); busy != nil {
			busy.Inject(onebox.Fault{Error: wire.ErrBusy, Times: 1})
		}
		replica.Restart()
		leader := cluster.Leader()
		if leader == nil || !next() {
			continue
		}
		leader.Kill()
		if !next() {
			return
		}
		leader.Restart()
	}
}
