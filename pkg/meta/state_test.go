package meta

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// change makes a state of another; it is one of the functions for snapshot.Cell.Update.
type change func(s *State) (*State, bool)

// apply applies a change, and checks what must hold of any: the old state is as before, to the last
// byte of its memory; the new one is sound; the order of knowledge is kept.
func apply(t require.TestingT, old *State, build change) (next *State, changed bool) {
	before, memory := *old, slices.Clone(old.Members[:cap(old.Members)])
	next, changed = build(old)
	require.Equal(t, before, *old, "published is frozen")
	require.Equal(t, memory, old.Members[:cap(old.Members)], "published is frozen")
	if !changed {
		return old, false
	}
	require.NotSame(t, old, next)
	require.NoError(t, next.check())
	require.NotEqual(t, before, *next, "a change changes something")
	require.GreaterOrEqual(t, next.Epoch, old.Epoch)
	require.LessOrEqual(t, next.Epoch, old.Epoch+1)
	require.GreaterOrEqual(t, next.Discoveries, old.Discoveries)
	for _, m := range old.Members {
		if m.Source == Configured && m.Name == "" && !isSeedName(m.Address) {
			require.GreaterOrEqual(t, next.index(m.Address), 0, "configured addresses stay")
		}
	}
	return next, true
}

// isSeedName says whether the address of a configured member has to be resolved.
func isSeedName(address string) bool {
	s, err := parseSeed(address)
	return err == nil && s.name
}

// nodes is a pool for members of states.
func nodes(t *testing.T) *rpc.Pool { return newPool(t, nil) }

// The states below are written as "a b* c(n) d@3": a is configured, b* is the confirmed leader (b?
// an unconfirmed one), c is what the name n stands for, d was forwarded to and named at 3.
func (s *State) describe() (text string) {
	for i, m := range s.Members {
		if i > 0 {
			text += " "
		}
		text += m.Address
		switch {
		case i == s.Leader && s.Confirmed:
			text += "*"
		case i == s.Leader:
			text += "?"
		}
		switch m.Source {
		case Resolved:
			text += "(" + m.Name + ")"
		case Forwarded:
			text += fmt.Sprint("@", m.NamedAt)
		}
	}
	return text
}

// A step of the tables below: what changes, and the state after it.
type step struct {
	build change
	want  string
}

// steps applies each to the result of the one before it, and checks that what shows no difference
// counts as no change.
func runSteps(t *testing.T, s *State, steps []step) {
	t.Helper()
	for i, step := range steps {
		before := s.describe()
		next, changed := apply(t, s, step.build)
		require.Equal(t, step.want, next.describe(), "step %d", i)
		require.Equal(t, before != step.want, changed, "step %d", i)
		s = next
	}
}

// script builds changes for a pool and a limit of members.
type script struct {
	pool  *rpc.Pool
	limit int
}

func (c script) state(configured ...string) *State {
	s := &State{}
	for _, address := range configured {
		s.Members = append(s.Members, Member{Address: address, Node: c.pool.Node(address)})
	}
	return s
}

func (c script) forward(address string) change {
	return func(s *State) (*State, bool) { return s.withForwarded(address, c.pool.Node(address), c.limit) }
}

// leads is an answer to a question that was asked in epoch seen.
func (c script) leads(address string, seen uint64) change {
	return func(s *State) (*State, bool) { return s.withLeader(address, c.pool.Node(address), seen, c.limit) }
}

func (c script) resolve(name string, addresses ...string) change {
	return func(s *State) (*State, bool) { return s.withResolved(name, c.resolved(name, addresses...)) }
}

func (c script) resolved(name string, addresses ...string) (members []Member) {
	for _, address := range addresses {
		members = append(members, Member{Address: address, Node: c.pool.Node(address), Source: Resolved, Name: name})
	}
	return members
}

func TestForwardedMembers(t *testing.T) {
	c := script{nodes(t), 5}
	runSteps(t, c.state("a", "b"), []step{
		{c.forward("b"), "a? b"},
		{c.forward("c"), "a? b c@1"},
		{c.forward("c"), "a? b c@1"}, // once is enough
		{c.forward("d"), "a? b c@1 d@2"},
		{c.forward("c"), "a? b c@3 d@2"}, // named again
		{c.forward("a"), "a? b c@3 d@2"},
		{c.forward("e"), "a? b c@3 d@2 e@4"},
		{c.forward("f"), "a? b c@3 e@4 f@5"},  // the limit: who was not named for longest goes
		{c.leads("c", 0), "a b c*@3 e@4 f@5"}, // the leader stays, though it was named longest ago
		{c.forward("g"), "a b c*@3 f@5 g@6"},  //
		{c.leads("g", 1), "a b c@3 f@5 g*@6"}, //
		{c.forward("h"), "a b f@5 g*@6 h@7"},  // dropping one in front moves the leader's index
		{c.leads("x", 2), "a b g@6 h@7 x*@8"}, // dropped meanwhile, or never known
	})
}

func TestLimitBelowTheNumberOfConfigured(t *testing.T) {
	c := script{nodes(t), 1}
	runSteps(t, c.state("a", "b", "c"), []step{
		{c.forward("d"), "a? b c d@1"}, // the newest stays
		{c.forward("e"), "a? b c e@2"},
		{c.leads("e", 0), "a b c e*@2"},
		{c.forward("f"), "a b c e*@2 f@3"}, // and so does the leader
		{c.forward("g"), "a b c e*@2 g@4"},
		{c.leads("h", 0), "a b c e*@2 h@5"}, // an answer of old
		{c.leads("a", 1), "a* b c e@2 h@5"},
		{c.forward("i"), "a* b c i@6"}, // as many as it takes
	})
}

func TestKnowledgeOfTheLeaderHasAnOrder(t *testing.T) {
	c := script{nodes(t), 16}
	runSteps(t, c.state("a", "b", "c"), []step{
		{c.leads("a", 0), "a* b c"}, // the guess was right, which is news
		{c.leads("a", 0), "a* b c"},
		{c.leads("a", 1), "a* b c"},
		{c.leads("b", 0), "a* b c"}, // asked before a was confirmed
		{c.leads("b", 1), "a b* c"},
		{c.leads("a", 1), "a b* c"}, // asked before b was confirmed
		{c.leads("d", 1), "a b* c d@1"},
		{c.leads("d", 1), "a b* c d@1"},
		{c.leads("d", 7), "a b* c d@1"}, // no such epoch yet
		{c.leads("d", 2), "a b c d*@1"},
	})
}

func TestResolvedMembers(t *testing.T) {
	c := script{nodes(t), 16}
	runSteps(t, c.state("n:1", "a"), []step{
		{c.resolve("n:1", "x", "y"), "a x?(n:1) y(n:1)"}, // the name itself goes
		{c.resolve("n:1", "x", "y"), "a x?(n:1) y(n:1)"},
		{c.resolve("n:1", "y", "x"), "a x?(n:1) y(n:1)"}, // order says nothing
		{c.resolve("n:1", "y", "z"), "a y?(n:1) z(n:1)"}, // x was a guess
		{c.leads("z", 0), "a y(n:1) z*(n:1)"},
		{c.resolve("n:1", "y", "w"), "a y(n:1) z*(n:1) w(n:1)"}, // a leader stays
		{c.resolve("n:1", "y", "w"), "a y(n:1) z*(n:1) w(n:1)"},
		{c.leads("w", 1), "a y(n:1) z(n:1) w*(n:1)"},
		{c.resolve("n:1", "y", "w"), "a y(n:1) w*(n:1)"}, // until there is another
		{c.forward("v"), "a y(n:1) w*(n:1) v@1"},
		{c.resolve("n:1", "w", "v", "a"), "a w*(n:1) v(n:1)"}, // configured is better than resolved
		{c.resolve("n:1", "u"), "a w*(n:1) u(n:1)"},
		{c.forward("n:1"), "a w*(n:1) u(n:1) n:1@2"}, // servers may name each other by name
		{c.leads("n:1", 2), "a w(n:1) u(n:1) n:1*@2"},
		{c.resolve("n:1", "u"), "a u?(n:1)"}, // but addresses are better
	})
}

// Two names that stand for the same server do not take it away from each other.
func TestSharedAddresses(t *testing.T) {
	c := script{nodes(t), 16}
	runSteps(t, c.state("n:1", "m:1"), []step{
		{c.resolve("n:1", "x"), "m:1 x?(n:1)"},
		{c.resolve("m:1", "x"), "x?(m:1)"},
		{c.resolve("n:1", "y"), "x?(m:1) y(n:1)"},
		{c.resolve("n:1", "x"), "x?(n:1)"},
		{c.resolve("m:1", "z"), "x?(n:1) z(m:1)"},
	})
}

// Whatever happens in whatever order, the rules hold.
func TestStateModel(t *testing.T) {
	pool := nodes(t)
	seedNames := []string{"n:1", "m:1"}
	rapid.Check(t, func(t *rapid.T) {
		address := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "n:1"})
		c := script{pool, rapid.IntRange(1, 8).Draw(t, "limit")}
		s := c.state("a", "b", "n:1", "m:1")
		// bounded must hold when a member was added; its leader then is spared, as is the newest.
		bounded := func(next *State, leader string) {
			for i, m := range next.Members {
				spared := i == next.Leader || m.Address == leader || m.NamedAt == next.Discoveries
				require.False(t, len(next.Members) > c.limit && m.Source == Forwarded && !spared, "too many: %s", next.describe())
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"forward": func(t *rapid.T) {
				named := address.Draw(t, "address")
				leader, confirmed := s.LeaderAddress(), s.Confirmed
				known := s.index(named) >= 0
				s, _ = apply(t, s, c.forward(named))
				require.GreaterOrEqual(t, s.index(named), 0, "a discovery is not lost")
				require.Equal(t, leader, s.LeaderAddress(), "named is not leading")
				require.Equal(t, confirmed, s.Confirmed)
				if !known {
					bounded(s, leader)
				}
			},
			"lead": func(t *rapid.T) {
				answered := address.Draw(t, "address")
				seen := s.Epoch - min(s.Epoch, rapid.SampledFrom([]uint64{0, 0, 1, 2}).Draw(t, "age"))
				leader, current, known := s.LeaderAddress(), seen == s.Epoch, s.index(answered) >= 0
				s, _ = apply(t, s, c.leads(answered, seen))
				require.GreaterOrEqual(t, s.index(answered), 0, "whoever answered is a member")
				if current {
					require.Equal(t, answered, s.LeaderAddress())
					require.True(t, s.Confirmed)
				} else {
					require.Equal(t, leader, s.LeaderAddress(), "old knowledge does not move the leader")
				}
				if !known {
					bounded(s, leader)
				}
			},
			"resolve": func(t *rapid.T) {
				stands := map[string][]string{}
				for _, name := range rapid.Permutation(seedNames).Draw(t, "names") {
					if rapid.Float64().Draw(t, "luck") < 0.2 {
						continue // it could not be resolved this time
					}
					stands[name] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "d", "e", "p", "q", "r"}), 1, 3, rapid.ID).Draw(t, name)
					leader, confirmed := s.LeaderAddress(), s.Confirmed
					s, _ = apply(t, s, c.resolve(name, stands[name]...))
					require.Less(t, s.index(name), 0, "addresses are better than the name")
					if confirmed && leader != name {
						require.Equal(t, leader, s.LeaderAddress())
					}
				}
				for _, addresses := range stands {
					require.Subset(t, s.addresses(), addresses, "what names stand for is known")
				}
				for _, m := range s.Members {
					if stood, ok := stands[m.Name]; ok && m.Address != s.LeaderAddress() {
						require.Contains(t, stood, m.Address, "what a name stood for before goes")
					}
				}
			},
		})
	})
}
