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
	// Kind is "connected", "connect failed", "connection lost", "retry", "hedge", "refresh failed",
	// "meta" or "routing".
	Kind string
	// Subject is what it is about: a server, or a table.
	Subject string
	// Text describes it.
	Text string
	// Times is how often it happened within a second, told as one: then At and Text are of the first.
	Times int
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

// alike is the number of latest events among which one of the same kind and subject is looked for.
const alike = 8

// again counts what happened with an event of the same kind and subject, less than a second old, if there
// is one. So a storm of retries neither drives out all else nor costs the texts.
func (r *Recorder) again(kind, subject string, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	length := uint64(len(r.events))
	for i := range min(alike, length) {
		e := &r.events[(r.count-1-i)%length]
		if e.Kind == kind && e.Subject == subject && at.Sub(e.At) < time.Second {
			e.Times++
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
	e.Number, e.Times = r.count, 1
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
		DialEnd: r.dialled, ConnectionLost: r.lost, Retry: r.retried, Hedge: r.hedged,
		Refresh: r.refreshed, MetaInstalled: r.metaInstalled, RoutingInstalled: r.routingInstalled,
	}
}

func (r *Recorder) dialled(e pegasus.DialEnd) {
	if e.Err != nil {
		if !r.again("connect failed", e.Node, e.At) {
			r.record(Event{At: e.At, Kind: "connect failed", Subject: e.Node, Text: e.Err.Error(), Trouble: true})
		}
		return
	}
	r.record(Event{At: e.At, Kind: "connected", Subject: e.Node, Text: "took " + short(e.Took)})
}

func (r *Recorder) lost(e pegasus.ConnectionLost) {
	r.record(Event{At: e.At, Kind: "connection lost", Subject: e.Node, Text: text(e.Cause), Trouble: !errors.Is(e.Cause, rpc.ErrRetired) && !errors.Is(e.Cause, rpc.ErrClosed)})
}

func (r *Recorder) retried(_ context.Context, e pegasus.Retry) {
	now := time.Now()
	if r.again("retry", e.Table, now) {
		return
	}
	r.record(Event{
		At: now, Kind: "retry", Subject: e.Table, Trouble: true,
		Text: fmt.Sprintf("%s, partition %d, try %d failed, next within %s: %v", e.Operation, e.Partition, e.Try, short(e.Pause), e.Err),
	})
}

func (r *Recorder) hedged(_ context.Context, e pegasus.Hedge) {
	now := time.Now()
	if r.again("hedge", e.Table, now) {
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
	if e.Err != nil { // the others either bring news, of which there is an event, or nothing
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
