package debug

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// DefaultEvents is the number of events that a Recorder keeps by default.
const DefaultEvents = 200

// Event is something that happened in a client.
type Event struct {
	// Number counts the events of a Recorder, from 1.
	Number uint64
	// At is when it happened.
	At time.Time
	// Kind is "connected", "connect failed", "connection lost", "circuit open", "circuit half-open",
	// "circuit closed", "reads limited", "reads unlimited", the same for writes, "retry", "hedge",
	// "refresh failed", "meta" or "routing"; with OperationHooks also "slow" and "failed".
	Kind string
	// Subject is what it is about: a server, or a table.
	Subject string
	// Text describes it.
	Text string
	// Times is how often it happened within a minute, told as one: then At and Text are of the first.
	Times int
	// LastAt is when it happened last.
	LastAt time.Time
	// Trouble tells that it is not part of normal work.
	Trouble bool
}

// maxText bounds the text of an event, in bytes: errors can be of any length.
const maxText = 300

// Recorder keeps the latest events of a client. All methods are for concurrent use.
type Recorder struct {
	mu     sync.Mutex // guards what follows
	events []Event    // a ring: event number n is at (n-1) % cap
	count  uint64     // events ever recorded
}

// NewRecorder returns a Recorder that keeps so many events, or DefaultEvents if that is not positive.
func NewRecorder(events int) *Recorder {
	if events <= 0 {
		events = DefaultEvents
	}
	return &Recorder{events: make([]Event, 0, events)}
}

// Events returns what is kept, the latest first.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := make([]Event, 0, len(r.events))
	for i := range uint64(len(r.events)) {
		events = append(events, r.events[(r.count-1-i)%uint64(len(r.events))])
	}
	return events
}

const (
	// alike is the number of latest events among which one of the same kind and subject is looked for.
	alike = 16
	// alikeFor is for how long they are one event. A server that is away fails a dial ten times a second:
	// what that began with must still be there when somebody comes to look.
	alikeFor = time.Minute
)

// again counts what happened with an event of the same kind and subject, less than a minute old, if there
// is one and none of the kind that ended it came since. So a storm of retries neither drives out all else
// nor costs the texts.
func (r *Recorder) again(kind, subject, end string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	length := uint64(len(r.events))
	for i := range min(alike, length) {
		e := &r.events[(r.count-1-i)%length]
		switch {
		case e.Subject != subject:
		case e.Kind == end:
			return false
		case e.Kind == kind && at.Sub(e.At) < alikeFor:
			e.Times++
			e.LastAt = at
			return true
		}
	}
	return false
}

func (r *Recorder) record(e Event) {
	if len(e.Text) > maxText {
		e.Text = strings.ToValidUTF8(e.Text[:maxText], "") + "…"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	e.Number, e.Times, e.LastAt = r.count, 1, e.At
	if len(r.events) < cap(r.events) {
		r.events = append(r.events, e)
	} else {
		r.events[(r.count-1)%uint64(len(r.events))] = e
	}
}

// Hooks returns the hooks that fill the Recorder, for pegasus.WithHooks. None of them is about single
// tries, so that operations that succeed at once cost nothing.
func (r *Recorder) Hooks() pegasus.Hooks {
	return pegasus.Hooks{
		DialEnd: r.dialled, ConnectionLost: r.lost, CircuitChanged: r.circuitChanged,
		Retry: r.retried, Hedge: r.hedged, RateChanged: r.rateChanged,
		Refresh: r.refreshed, MetaInstalled: r.metaInstalled, RoutingInstalled: r.routingInstalled,
	}
}

// OperationHooks returns hooks, to be given besides those of Hooks, that record operations which failed
// or took as long as slow or longer. They cost each operation a look at the clock.
func (r *Recorder) OperationHooks(slow time.Duration) pegasus.Hooks {
	return pegasus.Hooks{OperationEnd: func(_ context.Context, e pegasus.OperationEnd) {
		if e.Err != nil || e.Took >= slow {
			r.operationEnded(e)
		}
	}}
}

func (r *Recorder) operationEnded(e pegasus.OperationEnd) {
	kind, outcome, now := "slow", "", time.Now()
	if e.Err != nil {
		kind, outcome = "failed", ": "+e.Err.Error()
	}
	if r.again(kind, e.Table, "", now) {
		return
	}
	r.record(Event{
		At: now, Kind: kind, Subject: e.Table, Trouble: !givenUp(e.Err),
		Text: fmt.Sprintf("%s, partition %d, %s, tries: %d, took %s%s", e.Operation, e.Partition, e.Node, e.Try, short(e.Took), outcome),
	})
}

// givenUp tells failures that the application wanted from others.
func givenUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, pegasus.ErrClosed)
}

func (r *Recorder) dialled(e pegasus.DialEnd) {
	if e.Err != nil {
		if !r.again("connect failed", e.Node, "connected", e.At) {
			r.record(Event{At: e.At, Kind: "connect failed", Subject: e.Node, Text: e.Err.Error(), Trouble: true})
		}
		return
	}
	r.record(Event{At: e.At, Kind: "connected", Subject: e.Node, Text: "took " + short(e.Took)})
}

func (r *Recorder) lost(e pegasus.ConnectionLost) {
	r.record(Event{At: e.At, Kind: "connection lost", Subject: e.Node, Text: text(e.Cause), Trouble: !errors.Is(e.Cause, rpc.ErrRetired) && !errors.Is(e.Cause, rpc.ErrClosed)})
}

func (r *Recorder) circuitChanged(e rpc.CircuitChange) {
	event := Event{At: e.At, Subject: e.Node, Kind: "circuit " + string(e.State)}
	switch {
	case e.State == rpc.CircuitClosed:
		event.Text = fmt.Sprintf("writes are sent again; %d were kept in %s", e.Kept, short(e.At.Sub(e.Since)))
	case r.again(event.Kind, e.Node, "circuit closed", e.At): // it goes on
		return
	case e.State == rpc.CircuitHalfOpen:
		event.Text = "one write is let through"
	default:
		event.Trouble = true
		event.Text = fmt.Sprintf("%d writes in a row failed, next one in %s: %v", e.Failures, short(e.RetryIn), e.Err)
	}
	r.record(event)
}

func (r *Recorder) rateChanged(e pegasus.RateChange) {
	requests := "writes"
	if e.Reads {
		requests = "reads"
	}
	free, limited := requests+" unlimited", requests+" limited"
	switch {
	case e.Limit == 0:
		r.record(Event{At: e.At, Kind: free, Subject: e.Table, Text: "after " + short(e.At.Sub(e.Since))})
	case !r.again(limited, e.Table, free, e.At):
		r.record(Event{
			At: e.At, Kind: limited, Subject: e.Table, Trouble: true,
			Text: fmt.Sprintf("servers are busy: %s per second", decimal(e.Limit)),
		})
	}
}

func (r *Recorder) retried(_ context.Context, e pegasus.Retry) {
	now := time.Now()
	if r.again("retry", e.Table, "", now) {
		return
	}
	r.record(Event{
		At: now, Kind: "retry", Subject: e.Table, Trouble: true,
		Text: fmt.Sprintf("%s, partition %d, try %d failed, next within %s: %v", e.Operation, e.Partition, e.Try, short(e.Pause), e.Err),
	})
}

func (r *Recorder) hedged(_ context.Context, e pegasus.Hedge) {
	now := time.Now()
	if r.again("hedge", e.Table, "", now) {
		return
	}
	outcome := "the primary's answer counted"
	if e.Won {
		outcome = "its answer counted"
	}
	r.record(Event{
		At: now, Kind: "hedge", Subject: e.Table,
		Text: fmt.Sprintf("%s, partition %d, asked %s besides %s: %s", e.Operation, e.Partition, e.Secondary, e.Node, outcome),
	})
}

func (r *Recorder) refreshed(e pegasus.Refresh) {
	// The others either bring news, of which there is an event, or nothing.
	if e.Err != nil && !r.again("refresh failed", e.Table, "routing", e.At) {
		r.record(Event{
			At: e.At, Kind: "refresh failed", Subject: e.Table, Trouble: true,
			Text: fmt.Sprintf("asked because of %s, after %s: %v", e.Reason, short(e.Took), e.Err),
		})
	}
}

func (r *Recorder) metaInstalled(e pegasus.MetaInstalled) {
	r.record(Event{
		At: e.At, Kind: "meta", Subject: e.State.Leader,
		Text: fmt.Sprintf("%s: epoch %d, %d members", e.Event, e.State.Epoch, len(e.State.Members)),
	})
}

func (r *Recorder) routingInstalled(e pegasus.RoutingInstalled) {
	text := fmt.Sprintf("version %d, table number %d, %d partitions, asked because of: %s", e.Version, e.AppID, e.Partitions, e.Reason)
	if e.WithoutPrimary > 0 {
		text += fmt.Sprintf("; %d without a primary", e.WithoutPrimary)
	}
	r.record(Event{At: e.At, Kind: "routing", Subject: e.Table, Text: text, Trouble: e.WithoutPrimary > 0})
}
