package meta

import (
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Source tells how the client came to know a meta server.
type Source uint8

// The sources.
const (
	// Configured addresses were given by the user and stay for ever.
	Configured Source = iota
	// Resolved addresses are what a configured name stood for when it was last resolved, and a leader
	// that it stood for before.
	Resolved
	// Forwarded addresses were named by another meta server as the leader.
	Forwarded
)

// String returns the source as a word.
func (s Source) String() string {
	return [...]string{"configured", "resolved", "forwarded"}[min(s, Forwarded)]
}

// Member is one meta server. Immutable.
type Member struct {
	// Address is "host:port".
	Address string
	// Node is the one node of that address.
	Node *rpc.Node
	// Source tells how the address became known.
	Source Source
	// Name is the configured "host:port" that Address was resolved from; "" unless Source is
	// Resolved.
	Name string
	// NamedAt is the State.Discoveries at which a Forwarded member was last named as the leader; 0 for
	// others.
	NamedAt uint64
}

// State is what the client knows about the meta servers. It is immutable once published: members and
// leader change together, in one new value, so nobody ever sees the one without the other.
type State struct {
	// Epoch orders knowledge about the leader: it grows by one whenever another leader is confirmed.
	Epoch uint64
	// Discoveries counts how often a Forwarded member was named, or turned out to be, the leader.
	Discoveries uint64
	// Members are all known meta servers. There is always at least one.
	Members []Member
	// Leader is the index of the member to ask first. It is always valid.
	Leader int
	// Confirmed is true once a member answered as leader; until then Leader is a guess.
	Confirmed bool
}

// LeaderAddress returns the address of the member to ask first.
func (s *State) LeaderAddress() string { return s.Members[s.Leader].Address }

// index returns the position of the member with that address, or -1.
func (s *State) index(address string) int { return indexOf(s.Members, address) }

// clone returns a copy whose members may be changed.
func (s *State) clone() *State {
	next := *s
	next.Members = slices.Clone(s.Members)
	return &next
}

// The functions below build the next state from the old one, for snapshot.Cell.Update: they are pure
// and return the old state and false if there is nothing to change.

// withForwarded adds the server that another one named as the leader. It does not become the leader
// before it answers as one. If there are more than limit members then, the forwarded one goes that
// was not named for the longest time, unless it is the leader.
func (s *State) withForwarded(address string, node *rpc.Node, limit int) (*State, bool) {
	at := s.index(address)
	if at >= 0 && (s.Members[at].Source != Forwarded || s.Members[at].NamedAt == s.Discoveries) {
		return s, false
	}
	next := s.clone()
	if at < 0 {
		next.add(address, node, limit)
	} else {
		next.Discoveries++
		next.Members[at].NamedAt = next.Discoveries
	}
	return next, true
}

// add appends a member and drops forwarded ones as long as there are more than limit. It is for
// states not yet published.
func (s *State) add(address string, node *rpc.Node, limit int) {
	s.Discoveries++
	s.Members = append(s.Members, Member{Address: address, Node: node, Source: Forwarded, NamedAt: s.Discoveries})
	for len(s.Members) > limit && s.dropStalest() {
	}
}

// dropStalest removes the forwarded member that was not named for the longest time, sparing the
// leader and the newest, and returns false if there is none. It is for states not yet published.
func (s *State) dropStalest() bool {
	stalest := -1
	for i, m := range s.Members {
		if m.Source != Forwarded || i == s.Leader || m.NamedAt == s.Discoveries {
			continue
		}
		if stalest < 0 || m.NamedAt < s.Members[stalest].NamedAt {
			stalest = i
		}
	}
	if stalest < 0 {
		return false
	}
	s.Members = slices.Delete(s.Members, stalest, stalest+1)
	if s.Leader > stalest {
		s.Leader--
	}
	return true
}

// withLeader makes the server at address, which answered a call that began in epoch seen, the
// leader. If another leader was confirmed since, the answer is older knowledge: the server stays or
// becomes a member, but the leader is not moved back. limit is that of withForwarded.
func (s *State) withLeader(address string, node *rpc.Node, seen uint64, limit int) (*State, bool) {
	at := s.index(address)
	if at >= 0 && (s.Confirmed && at == s.Leader || s.Epoch != seen) {
		return s, false
	}
	next := s.clone()
	if at < 0 {
		// It was dropped, or its name resolved to something else, while it was being asked.
		next.add(address, node, limit)
		at = next.index(address)
	}
	if s.Epoch == seen {
		next.Leader, next.Confirmed, next.Epoch = at, true, s.Epoch+1
	}
	return next, true
}

// withResolved replaces the members that name stood for by those it stands for now, of which there
// is at least one. Members known already keep their place. One that several names stand for belongs
// to the last of them that was resolved, so that it stays when another no longer stands for it. A
// confirmed leader that the name no longer stands for stays until the name is resolved under another
// leader.
func (s *State) withResolved(name string, members []Member) (*State, bool) {
	leader := s.LeaderAddress()
	next := *s
	next.Members = make([]Member, 0, len(s.Members)+len(members))
	for _, m := range s.Members {
		stood := m.Name == name || m.Address == name
		stands := indexOf(members, m.Address) >= 0
		switch {
		case stands && m.Source != Configured:
			m.Source, m.Name, m.NamedAt = Resolved, name, 0
		case stood && !stands && (m.Address != leader || !s.Confirmed || m.Address == name):
			continue
		}
		next.Members = append(next.Members, m)
	}
	for _, m := range members {
		if next.index(m.Address) < 0 {
			next.Members = append(next.Members, m)
		}
	}
	next.Leader = next.index(leader)
	if next.Leader < 0 { // it was a guess, or the name itself, asked before it was resolved
		next.Leader, next.Confirmed = next.index(members[0].Address), false
	}
	return &next, !slices.Equal(s.Members, next.Members)
}

// drops says whether a member of old is none of s.
func (s *State) drops(old *State) bool {
	return slices.ContainsFunc(old.Members, func(m Member) bool { return s.index(m.Address) < 0 })
}

func indexOf(members []Member, address string) int {
	return slices.IndexFunc(members, func(m Member) bool { return m.Address == address })
}
