package meta

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

const (
	backupDelay = time.Second / 3
	askTimeout  = time.Second
)

// maybe stands for the number of requests to a server that would be asked if nobody else were faster.
const maybe = -1

// What a query does about the servers that it asks first: m.State().Leader is meta 0 in the beginning,
// the configured ones are 0 to 2. Time is virtual, so what waits for nothing takes none.
func TestQueryFindsTheLeader(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(b *box) (leader *onebox.Node)
		takes   time.Duration
		asked   []int // times per server, those added included
	}{
		"leader first": {
			prepare: func(b *box) *onebox.Node { return b.Meta(0) },
			asked:   []int{1, 0, 0},
		},
		"first is dead": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Kill()
				return b.Meta(1)
			},
			asked: []int{0, 1, maybe},
		},
		"first two are dead": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Kill()
				b.Meta(1).Kill()
				return b.Meta(2)
			},
			asked: []int{0, 0, 1},
		},
		"first is silent": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{DropRequest: true})
				return b.Meta(1)
			},
			takes: backupDelay,
			asked: []int{1, 1, maybe},
		},
		"first is paused": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Pause()
				return b.Meta(2)
			},
			takes: backupDelay,
			asked: []int{0, maybe, 1},
		},
		"first cannot be reached": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Blackhole(true)
				return b.Meta(2)
			},
			takes: backupDelay,
			asked: []int{0, maybe, 1},
		},
		"first hangs up": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{CloseBefore: true})
				return b.Meta(1)
			},
			asked: []int{1, 1, maybe},
		},
		"first talks nonsense": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{Garbage: []byte("HTTP/1.1 400 Bad Request\r\n\r\n")})
				return b.Meta(1)
			},
			asked: []int{1, 1, maybe},
		},
		"first is starting and does not know the request": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{Error: wire.ErrHandlerNotFound})
				return b.Meta(1)
			},
			asked: []int{1, 1, maybe},
		},
		"first answers without a result": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{OKWithoutBody: true})
				return b.Meta(1)
			},
			asked: []int{1, 1, maybe},
		},
		"first forwards to a configured server": {
			prepare: func(b *box) *onebox.Node { return b.Meta(2) },
			asked:   []int{1, 0, 1},
		},
		"first forwards to an unknown server": {
			prepare: func(b *box) *onebox.Node { return b.AddMeta() },
			asked:   []int{1, 0, 0, 1},
		},
		"first does not know whom to forward to": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{ForwardNowhere: true})
				return b.Meta(2)
			},
			asked: []int{1, maybe, 1},
		},
		"first forwards to itself": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{ForwardTo: b.Meta(0).Address()})
				return b.Meta(2)
			},
			asked: []int{1, maybe, 1},
		},
		"first forwards to a dead server": {
			prepare: func(b *box) *onebox.Node {
				b.Meta(0).Inject(onebox.Fault{ForwardTo: "10.9.9.9:34601"})
				return b.Meta(1)
			},
			asked: []int{1, 1, maybe},
		},
		"forwards over four servers": {
			prepare: func(b *box) *onebox.Node { return b.chain(4) },
			asked:   []int{1, 0, 0, 1, 1, 1, 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{ElectionDelay: time.Hour}, func(t *testing.T, b *box) {
				m := b.open(Options{})
				leader := test.prepare(b)
				b.ElectLeader(leader.Index())
				require.Equal(t, test.takes, elapsed(func() { b.query(m) }))
				synctest.Wait()
				before := b.asked()
				require.Len(t, before, len(test.asked))
				for i, times := range test.asked {
					require.True(t, times == before[i] || times == maybe && before[i] <= 1, "asked %v", before)
				}
				b.requireLeader(m, leader)
				known := b.MetaAddresses()
				for i, times := range test.asked[3:] {
					require.NotZero(t, times)
					known = append(known, b.Meta(3+i).Address())
				}
				require.Subset(t, m.State().addresses(), known)

				require.Zero(t, elapsed(func() { b.query(m) }))
				before[leader.Index()]++
				require.Equal(t, before, b.asked(), "from then on nobody else is asked")
			})
		})
	}
}

// chain adds so many servers. Meta 0 forwards to the first, and each to the next but the last, which
// it returns.
func (b *box) chain(length int) (last *onebox.Node) {
	last = b.Meta(0)
	for range length {
		next := b.AddMeta()
		last.Inject(onebox.Fault{ForwardTo: next.Address()})
		last = next
	}
	return last
}

// A forward too many is not followed in the same round. The next round begins with what was learned.
func TestForwardsAreBounded(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		leader := b.chain(3)
		b.ElectLeader(leader.Index())
		m := b.open(Options{MaxForwards: 2, RetryPause: 100 * time.Millisecond}, b.Meta(0).Address())
		done := make(chan error)
		start := time.Now()
		go func() {
			_, err := m.QueryConfig(t.Context(), tableName)
			done <- err
		}()
		pass(50*time.Millisecond - 1) // the shortest pause
		require.Equal(t, []int{1, 0, 0, 1, 1, 0}, b.asked())
		require.NoError(t, <-done)
		took := time.Since(start)
		require.GreaterOrEqual(t, took, 50*time.Millisecond)
		require.LessOrEqual(t, took, 100*time.Millisecond)
		b.requireLeader(m, leader)
	})
}

// The first good answer ends a round, and the calls that still wait are cancelled before the query
// returns; the connection of the slow server stays in use.
func TestFirstAnswerCancelsTheRest(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		for _, member := range m.State().Members {
			require.NoError(t, member.Node.Connect(t.Context()))
		}
		b.query(m)
		b.Meta(0).Inject(onebox.Fault{Times: 1, DropRequest: true})
		b.ElectLeader(1)
		synctest.Wait()
		before := goroutines()
		require.Equal(t, backupDelay, elapsed(func() { b.query(m) }))
		slow := m.pool.Node(b.Meta(0).Address()).Stats()
		require.Zero(t, slow.InFlight)
		require.EqualValues(t, 1, slow.Abandoned)
		require.Equal(t, 1, slow.Connections)
		synctest.Wait()
		require.Equal(t, before, goroutines())
		require.Equal(t, []int{2, 1}, b.asked()[:2])
	})
}

// goroutines returns how many this bubble has.
func goroutines() (count int) {
	for _, line := range strings.Split(stacks(), "\n") {
		if strings.HasPrefix(line, "goroutine ") && strings.Contains(line, "synctest bubble") {
			count++
		}
	}
	return count
}

func TestLoadingLeaderIsAskedAgain(t *testing.T) {
	const loading = 5 * time.Second
	inBubble(t, onebox.Config{ElectionDelay: -1, NotActiveDelay: loading}, func(t *testing.T, b *box) {
		m := b.open(Options{QueryTimeout: time.Minute})
		b.Meta(0).Kill()
		took := elapsed(func() { b.query(m) })
		require.GreaterOrEqual(t, took, loading)
		require.LessOrEqual(t, took, loading+backupDelay)
		b.requireLeader(m, b.Meta(1))
		require.LessOrEqual(t, b.Meta(1).Requests(wire.QueryConfig), roundsWithin(took))
	})
}

// roundsWithin returns the largest number of rounds that a query may make in some time: pauses double
// from 10 ms to a third of a second, and may be half of that.
func roundsWithin(d time.Duration) int {
	rounds := 1
	for pause := 10 * time.Millisecond; d > 0; pause = min(2*pause, backupDelay) {
		d -= pause / 2
		rounds++
	}
	return rounds
}

func TestNoLeaderForAWhile(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		m := b.open(Options{})
		b.ElectLeader(-1)
		go func() {
			pass(2 * time.Second)
			b.ElectLeader(1)
		}()
		took := elapsed(func() { b.query(m) })
		require.GreaterOrEqual(t, took, 2*time.Second)
		require.LessOrEqual(t, took, 2*time.Second+backupDelay)
		b.requireLeader(m, b.Meta(1))
	})
}

// After the leader's death the followers go on naming it until there is another one, which at first
// has to load its state.
func TestFollowersNameADeadLeader(t *testing.T) {
	for name, test := range map[string]struct {
		stop   func(*onebox.Node)
		within time.Duration // after the election
	}{
		"killed": {(*onebox.Node).Kill, backupDelay},
		"paused": {(*onebox.Node).Pause, askTimeout + 2*backupDelay},
		"unreachable": {func(node *onebox.Node) { node.Blackhole(true) },
			askTimeout + 2*backupDelay},
	} {
		t.Run(name, func(t *testing.T) {
			const election, loading = 2 * time.Second, 20 * time.Millisecond
			inBubble(t, onebox.Config{ElectionDelay: election, NotActiveDelay: loading}, func(t *testing.T, b *box) {
				m := b.open(Options{})
				b.query(m)
				test.stop(b.Meta(0))
				took := elapsed(func() { b.query(m) })
				require.GreaterOrEqual(t, took, election+loading)
				require.LessOrEqual(t, took, election+loading+test.within)
				b.requireLeader(m, b.Meta(1))
			})
		})
	}
}

// Two servers that name each other, or that both claim to be a leader who is still loading, cost a
// bounded number of requests, also when many queries suffer from them side by side.
func TestServersThatTakeTurns(t *testing.T) {
	const askers, lasts = 20, 10 * time.Second
	for name, fault := range map[string]func(other *onebox.Node) onebox.Fault{
		"forward to each other": func(other *onebox.Node) onebox.Fault { return onebox.Fault{ForwardTo: other.Address()} },
		"forward to dead servers": func(other *onebox.Node) onebox.Fault {
			return onebox.Fault{ForwardTo: strings.Replace(other.Address(), "10.0.", "10.9.", 1)}
		},
		"claim to lead": func(*onebox.Node) onebox.Fault { return onebox.Fault{MetaError: wire.ErrServiceNotActive} },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{Metas: 2}, func(t *testing.T, b *box) {
				b.Meta(0).Inject(fault(b.Meta(1)))
				b.Meta(1).Inject(fault(b.Meta(0)))
				m := b.open(Options{})
				for range askers - 1 {
					go func() {
						ctx, cancel := context.WithTimeout(t.Context(), lasts)
						defer cancel()
						_, _ = m.QueryConfig(ctx, tableName)
					}()
				}
				var err error
				require.Equal(t, lasts, elapsed(func() { _, err = m.QueryConfig(within(t, lasts), tableName) }))
				synctest.Wait()
				require.ErrorIs(t, err, ErrNoLeader)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, m.State().check())
				for _, times := range b.asked() {
					require.LessOrEqual(t, times, askers*roundsWithin(lasts))
				}
				for _, node := range b.Metas() {
					require.ErrorContains(t, err, node.Address(), "both tell why they were of no use")
				}
			})
		})
	}
}

// within returns a context that ends then.
func within(t *testing.T, timeout time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}

// A query that waits between two rounds does not wait for long once another one has found the leader.
func TestNewsEndThePauseBetweenRounds(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		const long = time.Hour
		m := b.open(Options{RetryPause: long, BackupDelay: long, AskTimeout: long, QueryTimeout: 3 * long})
		b.ElectLeader(-1)
		done := make(chan time.Duration)
		go func() {
			done <- elapsed(func() {
				_, err := m.QueryConfig(t.Context(), tableName)
				assert.NoError(t, err)
			})
		}()
		pass(long / 4)
		b.ElectLeader(1)
		b.query(m)
		require.Equal(t, long/2, <-done, "the half of the pause that nothing ends")
	})
}

// The same if the news came while the query was still asking others in vain.
func TestNewsDuringARoundEndThePause(t *testing.T) {
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		const long = 2 * time.Second // not so long that the connection is given up
		m := b.open(Options{RetryPause: 2 * long, BackupDelay: 2 * long, AskTimeout: long, QueryTimeout: time.Hour})
		b.Meta(0).Inject(onebox.Fault{Times: 1, DropRequest: true})
		done := make(chan time.Duration)
		go func() {
			done <- elapsed(func() {
				_, err := m.QueryConfig(t.Context(), tableName)
				assert.NoError(t, err)
			})
		}()
		pass(long / 4)
		b.ElectLeader(1)
		_, err := m.QueryConfig(t.Context(), tableName)
		require.NoError(t, err)
		b.ElectLeader(-1)
		pass(long)
		b.ElectLeader(1)
		require.InDelta(t, long+long, <-done, float64(50*time.Millisecond), "the round and half of the pause")
	})
}
