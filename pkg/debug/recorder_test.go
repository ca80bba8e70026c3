package debug_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/debug"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// TestRecorderIsBounded records more than there is room for: the latest stay, the last one first.
func TestRecorderIsBounded(t *testing.T) {
	for _, room := range []int{1, 3, 0} {
		r := debug.NewRecorder(room)
		if room == 0 {
			room = debug.DefaultEvents
		}
		require.Empty(t, r.Events())
		for i := range 2*room + 1 {
			r.Hooks().DialEnd(pegasus.DialEnd{Node: fmt.Sprint("node ", i)})
			events := r.Events()
			require.Len(t, events, min(i+1, room))
			for j, event := range events {
				require.Equal(t, uint64(i+1-j), event.Number)
				require.Equal(t, fmt.Sprint("node ", i-j), event.Subject)
				require.Equal(t, 1, event.Times)
			}
		}
	}
}

// TestRecorderEvents looks at the events of each hook.
func TestRecorderEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, now, ctx := debug.NewRecorder(0), time.Now(), context.Background()
		hooks := r.Hooks()
		attempt := pegasus.Attempt{Operation: "get", Table: "temp", Partition: 3, Node: "a:1", Try: 2}
		trouble := errors.New("no route")
		hooks.DialEnd(pegasus.DialEnd{At: now, Node: "a:1", Took: 1234567 * time.Nanosecond})
		hooks.DialEnd(pegasus.DialEnd{At: now, Node: "a:1", Err: trouble})
		hooks.ConnectionLost(pegasus.ConnectionLost{At: now, Node: "a:1", Cause: trouble})
		hooks.ConnectionLost(pegasus.ConnectionLost{At: now, Node: "a:1", Cause: rpc.ErrRetired})
		hooks.Retry(ctx, pegasus.Retry{Attempt: attempt, Pause: 8 * time.Millisecond, Err: trouble})
		hooks.Hedge(ctx, pegasus.Hedge{Attempt: attempt, Secondary: "b:2", Won: true})
		hooks.Refresh(pegasus.Refresh{At: now, Table: "temp", Reason: "age"})
		hooks.Refresh(pegasus.Refresh{At: now, Table: "temp", Reason: "age", Took: time.Second, Err: trouble})
		circuit := rpc.CircuitChange{At: now, Node: "a:1", State: rpc.CircuitOpen, Since: now, RetryIn: time.Second / 2, Failures: 50, Err: trouble}
		hooks.CircuitChanged(circuit)
		circuit.State = rpc.CircuitHalfOpen
		hooks.CircuitChanged(circuit)
		circuit.State, circuit.Kept = rpc.CircuitClosed, 7
		hooks.CircuitChanged(circuit)
		hooks.RateChanged(pegasus.RateChange{At: now, Table: "temp", Reads: true, Limit: 1234.56, Since: now})
		hooks.RateChanged(pegasus.RateChange{At: now, Table: "temp", Limit: 7, Since: now})
		hooks.RateChanged(pegasus.RateChange{At: now, Table: "temp", Since: now.Add(-time.Minute)})
		hooks.MetaInstalled(pegasus.MetaInstalled{At: now, Event: "meta leader found", State: pegasus.MetaSnapshot{Leader: "m:1", Epoch: 2}})
		hooks.RoutingInstalled(pegasus.RoutingInstalled{
			At: now, Table: "temp", AppID: 2, Version: 3, Partitions: 4, WithoutPrimary: 1, Reason: "refused",
		})
		var got []string
		for _, event := range r.Events() {
			require.Equal(t, now, event.At)
			got = append(got, fmt.Sprintf("%s | %s | %s | %v", event.Kind, event.Subject, event.Text, event.Trouble))
		}
		require.Equal(t, []string{
			"routing | temp | version 3, table number 2, 4 partitions, asked because of: refused; 1 without a primary | true",
			"meta | m:1 | meta leader found: epoch 2, 0 members | false",
			"writes unlimited | temp | after 1m0s | false",
			"writes limited | temp | servers are busy: 7.0 per second | true",
			"reads limited | temp | servers are busy: 1234.6 per second | true",
			"circuit closed | a:1 | writes are sent again; 7 were kept in 0s | false",
			"circuit half-open | a:1 | one write is let through | false",
			"circuit open | a:1 | 50 writes in a row failed, next one in 500ms: no route | true",
			"refresh failed | temp | asked because of age, after 1s: no route | true",
			"hedge | temp | get, partition 3, asked b:2 besides a:1: its answer counted | false",
			"retry | temp | get, partition 3, try 2 failed, next within 8ms: no route | true",
			"connection lost | a:1 | connection retired | false",
			"connection lost | a:1 | no route | true",
			"connect failed | a:1 | no route | true",
			"connected | a:1 | took 1.23ms | false",
		}, got)
	})
}

// TestRecorderOperations records operations that fail or take long, and no others.
func TestRecorderOperations(t *testing.T) {
	r, attempt := debug.NewRecorder(0), pegasus.Attempt{Operation: "get", Partition: 3, Node: "a:1", Try: 2}
	require.Nil(t, r.Hooks().OperationEnd, "it costs something")
	ended := r.OperationHooks(time.Second).OperationEnd
	for i, end := range []pegasus.OperationEnd{
		{Took: time.Second - 1},
		{Took: time.Second},
		{Took: time.Millisecond, Err: errors.New("no primary")},
		{Took: time.Millisecond, Err: context.Canceled},
	} {
		end.Attempt = attempt
		end.Table = fmt.Sprint("table ", i)
		ended(t.Context(), end)
		ended(t.Context(), end)
	}
	var got []string
	for _, event := range r.Events() {
		require.Equal(t, 2, event.Times)
		got = append(got, fmt.Sprintf("%s | %s | %s | %v", event.Kind, event.Subject, event.Text, event.Trouble))
	}
	require.Equal(t, []string{
		"failed | table 3 | get, partition 3, a:1, tries: 2, took 1ms: context canceled | false",
		"failed | table 2 | get, partition 3, a:1, tries: 2, took 1ms: no primary | true",
		"slow | table 1 | get, partition 3, a:1, tries: 2, took 1s | true",
	}, got)
}

// TestRecorderKeepsTheBeginning has a server be away for an hour: how that began can still be seen.
func TestRecorderKeepsTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := debug.NewRecorder(0)
		hooks := r.Hooks()
		hooks.ConnectionLost(pegasus.ConnectionLost{At: time.Now(), Node: "a:1", Cause: errors.New("reset")})
		began := r.Events()[0]
		for range 10 * 3600 {
			hooks.DialEnd(pegasus.DialEnd{At: time.Now(), Node: "a:1", Err: errors.New("refused")})
			hooks.Retry(t.Context(), pegasus.Retry{Attempt: pegasus.Attempt{Table: "temp"}})
			hooks.CircuitChanged(rpc.CircuitChange{At: time.Now(), Node: "a:1", State: rpc.CircuitHalfOpen})
			time.Sleep(100 * time.Millisecond)
		}
		events := r.Events()
		require.Len(t, events, 1+3*60)
		require.Equal(t, began, events[len(events)-1])
		for _, event := range events[:len(events)-1] {
			require.Equal(t, 600, event.Times)
			require.Equal(t, time.Minute-100*time.Millisecond, event.LastAt.Sub(event.At))
		}
	})
}

// TestRecorderTellsOfEachEnd has trouble come and go within a minute: what began anew is told anew.
func TestRecorderTellsOfEachEnd(t *testing.T) {
	r := debug.NewRecorder(0)
	hooks, now, trouble := r.Hooks(), time.Now(), errors.New("refused")
	for range 2 {
		for range 2 {
			hooks.DialEnd(pegasus.DialEnd{At: now, Node: "a:1", Err: trouble})
			hooks.CircuitChanged(rpc.CircuitChange{At: now, Node: "a:1", State: rpc.CircuitOpen})
			hooks.RateChanged(pegasus.RateChange{At: now, Table: "temp", Limit: 1})
			hooks.Refresh(pegasus.Refresh{At: now, Table: "temp", Err: trouble})
		}
		hooks.DialEnd(pegasus.DialEnd{At: now, Node: "a:1"})
		hooks.CircuitChanged(rpc.CircuitChange{At: now, Node: "a:1", State: rpc.CircuitClosed})
		hooks.RateChanged(pegasus.RateChange{At: now, Table: "temp"})
		hooks.RoutingInstalled(pegasus.RoutingInstalled{At: now, Table: "temp"})
	}
	var got []string
	for _, event := range r.Events() {
		got = append(got, fmt.Sprint(event.Kind, " ", event.Times))
	}
	once := []string{
		"routing 1", "writes unlimited 1", "circuit closed 1", "connected 1",
		"refresh failed 2", "writes limited 2", "circuit open 2", "connect failed 2",
	}
	require.Equal(t, append(once, once...), got)
}

// TestRecorderCountsRepetitions has the same happen very often: it is told once a minute.
func TestRecorderCountsRepetitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := debug.NewRecorder(0)
		for range 3000 {
			r.Hooks().Retry(context.Background(), pegasus.Retry{Attempt: pegasus.Attempt{Table: "temp"}, Err: pegasus.ErrBusy})
			r.Hooks().Hedge(context.Background(), pegasus.Hedge{Attempt: pegasus.Attempt{Table: "temp"}})
			time.Sleep(60 * time.Millisecond)
		}
		events := r.Events()
		require.Len(t, events, 6)
		for _, event := range events {
			require.Equal(t, 1000, event.Times)
		}
	})
}

// TestRecorderCutsTexts records an error of great length.
func TestRecorderCutsTexts(t *testing.T) {
	r := debug.NewRecorder(1)
	for i := range 4 {
		r.Hooks().DialEnd(pegasus.DialEnd{Node: fmt.Sprint(i), Err: errors.New(strings.Repeat("x", i) + strings.Repeat("é", 1<<16))})
		text := r.Events()[0].Text
		require.Less(t, len(text), 310)
		require.True(t, utf8.ValidString(text))
	}
}

// TestRecorderIsForConcurrentUse records and reads from many goroutines.
func TestRecorderIsForConcurrentUse(t *testing.T) {
	r := debug.NewRecorder(16)
	var working sync.WaitGroup
	for i := range 8 {
		working.Go(func() {
			for j := range 200 {
				r.Hooks().DialEnd(pegasus.DialEnd{Node: fmt.Sprint(i, j)})
				last := r.Events()
				for k := 1; k < len(last); k++ {
					if last[k].Number != last[k-1].Number-1 {
						t.Errorf("event %d follows %d", last[k-1].Number, last[k].Number)
					}
				}
			}
		})
	}
	working.Wait()
	require.Equal(t, uint64(1600), r.Events()[0].Number)
}
