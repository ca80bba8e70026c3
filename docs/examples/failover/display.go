package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// display shows the progress on one line that it overwrites, and events on lines of their own. Into
// a file it writes a line a second instead.
type display struct {
	client *pegasus.Client
	load   *load
	began  time.Time
	live   bool

	mu    sync.Mutex // guards what follows
	out   io.Writer
	line  int // length of the progress line that stands there now
	total *hdrhistogram.Histogram
}

func newDisplay(client *pegasus.Client, l *load, out *os.File) *display {
	d := &display{client: client, load: l, began: time.Now(), out: out, total: newTimes()}
	if info, err := out.Stat(); err == nil {
		d.live = info.Mode()&os.ModeCharDevice != 0
	}
	return d
}

// follow shows the progress until ctx ends.
func (d *display) follow(ctx context.Context) {
	interval := time.Second
	if d.live {
		interval = 200 * time.Millisecond
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case now := <-tick.C:
			d.progress(now.Sub(last))
			last = now
		case <-ctx.Done():
			return
		}
	}
}

// progress shows what happened in the given time.
func (d *display) progress(passed time.Duration) {
	times := d.load.takeTimes()
	meta := d.client.Snapshot().Meta
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total.Merge(times)
	text := fmt.Sprintf("%5.1f s  %7.0f ops/s  p50 %s  p99 %s  errors %d  meta leader %s, epoch %d",
		time.Since(d.began).Seconds(), float64(times.TotalCount())/passed.Seconds(),
		millis(times, 50), millis(times, 99), d.load.failures.Load(), meta.Leader, meta.Epoch)
	if !d.live {
		fmt.Fprintln(d.out, text)
		return
	}
	fmt.Fprintf(d.out, "\r%-*s", d.line, text)
	d.line = len(text)
}

// event shows that something happened.
func (d *display) event(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := fmt.Sprintf("%5.1f s  ** %s", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
	if d.line > 0 {
		text = fmt.Sprintf("\r%-*s", d.line, text)
		d.line = 0
	}
	fmt.Fprintln(d.out, text)
}

// summary shows what came of it all.
func (d *display) summary() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total.Merge(d.load.takeTimes())
	state := d.client.Snapshot()
	var requests, dials uint64
	for _, node := range state.Nodes {
		requests += node.Sent
		dials += node.Dials
	}
	verdict := "every operation succeeded, every acknowledged write was kept"
	if !d.load.flawless() {
		verdict = "FAILED"
	}
	fmt.Fprintf(d.out, "%s\n\n", strings.Repeat(" ", d.line))
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	rows := []struct {
		name  string
		value any
	}{
		{"operations", d.total.TotalCount()},
		{"writes acknowledged", d.load.written.Load()},
		{"failed operations", d.load.failures.Load()},
		{"lost writes", d.load.lost.Load()},
		{"p50 / p99 / p99.9", millis(d.total, 50) + " / " + millis(d.total, 99) + " / " + millis(d.total, 99.9)},
		{"slowest", fmt.Sprintf("%.2f ms", float64(d.total.Max())/1000)},
		{"requests sent", requests},
		{"connections dialled", dials},
		{"meta leader, epoch", fmt.Sprintf("%s, %d", state.Meta.Leader, state.Meta.Epoch)},
		{"verdict", verdict},
	}
	for _, row := range rows {
		fmt.Fprintf(table, "%s\t%v\n", row.name, row.value)
	}
	_ = table.Flush()
	for _, example := range d.load.examples {
		fmt.Fprintln(d.out, "  "+example)
	}
}

func millis(times *hdrhistogram.Histogram, percentile float64) string {
	return fmt.Sprintf("%.2f ms", float64(times.ValueAtPercentile(percentile))/1000)
}
