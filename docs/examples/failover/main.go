// Failover shows a cluster losing its meta leader and a primary under load, without an error
// reaching the caller.
//
//	go run ./docs/examples/failover
//
// It starts a cluster in this process, puts load on it from many goroutines, and takes servers away
// and gives them back while it goes on. It ends with a summary, and with exit status 1 if any
// operation failed or any acknowledged write was lost. With -meta it puts the same load on another
// cluster, whose servers it leaves alone.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/test/onebox"
)

// partitions is the number of partitions of the table made here.
const partitions = 8

// settings are the command's flags.
type settings struct {
	meta      string
	table     string
	duration  time.Duration
	callers   int
	keys      int
	valueSize int
	readShare float64
}

func main() {
	var s settings
	flag.StringVar(&s.meta, "meta", "", "meta servers of another cluster, host:port,...; empty: start one here")
	flag.StringVar(&s.table, "table", "failover", "table to use; with -meta it must exist")
	flag.DurationVar(&s.duration, "duration", 12*time.Second, "length of the load")
	flag.IntVar(&s.callers, "callers", 64, "goroutines that call")
	flag.IntVar(&s.keys, "keys", 100, "records of each caller")
	flag.IntVar(&s.valueSize, "value-size", 100, "bytes per value, at least 16")
	flag.Float64Var(&s.readShare, "read-share", 0.9, "share of operations that read, 0 to 1")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := s.check(); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(2)
	}
	ok, err := run(ctx, s)
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func (s settings) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case s.duration <= 0, s.callers < 1, s.keys < 1:
		return fmt.Errorf("-duration, -callers and -keys must be positive")
	case s.valueSize < 16 || s.valueSize > 1<<19:
		return fmt.Errorf("-value-size must be 16 to %d", 1<<19)
	case s.readShare < 0 || s.readShare > 1:
		return fmt.Errorf("-read-share must be 0 to 1")
	}
	return nil
}

// run does everything, and says whether every operation succeeded and every write was kept.
func run(ctx context.Context, s settings) (ok bool, err error) {
	var cluster *onebox.Cluster
	metas := []string{s.meta}
	if s.meta == "" {
		cluster, err = onebox.Start(onebox.Config{FailoverDelay: 500 * time.Millisecond, ElectionDelay: 300 * time.Millisecond})
		if err != nil {
			return false, err
		}
		defer func() { err = firstError(err, cluster.Close()) }()
		if _, err := cluster.CreateTable(s.table, onebox.TableOptions{Partitions: partitions}); err != nil {
			return false, err
		}
		metas = cluster.MetaAddresses()
	}
	client, err := pegasus.Open(metas)
	if err != nil {
		return false, err
	}
	defer func() { err = firstError(err, client.Close()) }()
	table, err := client.OpenTable(ctx, s.table)
	if err != nil {
		return false, err
	}
	fmt.Printf("%d callers, %.0f %% reads, values of %d bytes, table %q at %s\n",
		s.callers, 100*s.readShare, s.valueSize, s.table, strings.Join(metas, ","))

	l := newLoad(s, table)
	loading, cancel := context.WithTimeout(ctx, s.duration)
	defer cancel()
	show := newDisplay(client, l, os.Stdout)
	if cluster != nil {
		l.background.Go(func() { disturb(loading, cluster, s, show.event) })
	}
	l.background.Go(func() { show.follow(loading) })
	l.run(loading)
	if ctx.Err() == nil {
		show.event("load ended; reading every record back")
		l.verify(ctx)
	}
	show.summary()
	return l.flawless(), nil
}

func firstError(first, second error) error {
	if first != nil {
		return first
	}
	return second
}
