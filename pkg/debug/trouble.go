package debug

import (
	"fmt"
	"time"
)

// Trouble is something that is wrong at the moment of a View.
type Trouble struct {
	// Subject is what it is about: a server, a table, or "client".
	Subject string
	// Text describes it.
	Text string
}

const (
	// silenceIsTrouble is for how long a server may send nothing, although something is expected of it,
	// and waitIsTrouble for how long a request may wait for its answer. Slower servers than that are rare.
	silenceIsTrouble = 500 * time.Millisecond
	waitIsTrouble    = time.Second
)

// troubles finds what is wrong, the most comprehensive first.
func (v *View) troubles() (all []Trouble) {
	all = v.ofClient()
	for i := range v.Tables {
		all = append(all, v.Tables[i].troubles(v.Taken)...)
	}
	for i := range v.Nodes {
		all = append(all, v.Nodes[i].troubles(v.Taken)...)
	}
	return all
}

// found collects troubles with one subject.
type found struct {
	subject string
	all     []Trouble
}

// add adds a trouble if it is one.
func (f *found) add(wrong bool, format string, arguments ...any) {
	if wrong {
		f.all = append(f.all, Trouble{f.subject, fmt.Sprintf(format, arguments...)})
	}
}

func (v *View) ofClient() []Trouble {
	f := found{subject: "client"}
	f.add(!v.Meta.Confirmed, "no meta server has answered as the leader")
	f.add(v.Waiting > 0, "%d requests wait for a place, %d are under way", v.Waiting, v.InFlight)
	f.add(v.RetryCapacity > 0 && v.RetryTokens == 0, "the retry budget is used up: what fails is not repeated")
	f.add(v.HedgeCapacity > 0 && v.HedgeTokens == 0, "the hedge budget is used up: slow reads are not hedged")
	f.add(v.HooksSkipped > 0, "%d calls of hooks were left out, events among them", v.HooksSkipped)
	return f.all
}

func (t *Table) troubles(now time.Time) []Trouble {
	f := found{subject: t.Name}
	f.add(t.WithoutPrimary > 0, "%d of %d partitions have no primary", t.WithoutPrimary, len(t.Partitions))
	f.add(t.Doubtful > 0, "there was trouble with the primaries of %d of %d partitions, and no news since", t.Doubtful, len(t.Partitions))
	f.add(t.LastFailure != "", "the last refresh failed; the routing was confirmed %s: %s", ago(t.FetchedAt, now), t.LastFailure)
	f.add(t.Reads.Limit > 0, "reads are held to %s per second for %s", decimal(t.Reads.Limit), span(t.Reads.Since, now))
	f.add(t.Writes.Limit > 0, "writes are held to %s per second for %s", decimal(t.Writes.Limit), span(t.Writes.Since, now))
	return f.all
}

func (n *Node) troubles(now time.Time) []Trouble {
	f := found{subject: n.Address}
	f.add(n.CircuitOpen, "writes are kept from it for %s, %d so far", span(n.CircuitOpenSince, now), n.CircuitKept)
	f.add(n.Primaries > 0 && n.Connections == 0 && n.LastError != "",
		"no connection to the primary of %d partitions, last trouble %s: %s", n.Primaries, ago(n.LastErrorAt, now), n.LastError)
	silent := n.Silent >= silenceIsTrouble
	f.add(silent, "silent for %s, while %d requests wait", short(n.Silent), n.InFlight)
	f.add(!silent && n.OldestInFlight >= waitIsTrouble, "a request waits for its answer for %s", short(n.OldestInFlight))
	f.add(n.Waiting > 0, "%d requests wait for room in the window, %d are under way", n.Waiting, n.InFlight)
	return f.all
}
