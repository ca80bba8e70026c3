package meta

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/test/onebox"
)

const (
	name      = "meta.example"
	otherName = "other.example"
)

var errNoSuchHost = errors.New("no such host")

// resolver knows what names stand for at the moment.
type resolver struct {
	mu        sync.Mutex
	addresses map[string][]netip.Addr
	lookups   map[string]int
}

func newResolver() *resolver {
	return &resolver{addresses: map[string][]netip.Addr{}, lookups: map[string]int{}}
}

// set changes what a name stands for; nothing means that it cannot be resolved.
func (r *resolver) set(host string, addresses ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addresses[host] = nil
	for _, address := range addresses {
		r.addresses[host] = append(r.addresses[host], netip.MustParseAddr(address))
	}
}

func (r *resolver) Resolve(_ context.Context, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookups[host]++
	if r.addresses[host] == nil {
		return nil, errNoSuchHost
	}
	return r.addresses[host], nil
}

func (r *resolver) count(host string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookups[host]
}

// withNames runs a test in a bubble with a cluster whose meta servers are at 10.0.0.1 to 10.0.0.3, and
// in IPv6 at fd00::1 to fd00::3. Nobody but the resolver knows names.
func withNames(t *testing.T, test func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager)) {
	t.Helper()
	inBubble(t, onebox.Config{}, func(t *testing.T, b *box) {
		dns := newResolver()
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().Is6() {
				ip := netip.AddrFrom4([4]byte{10, 0, 0, at.Addr().As16()[15]})
				address = netip.AddrPortFrom(ip, at.Port()).String()
			}
			return b.DialContext(ctx, network, address)
		}
		test(t, b, dns, func(options Options, seeds ...string) *MetaManager {
			if options.Resolve == nil {
				options.Resolve = dns.Resolve
			}
			return openManager(t, dial, options, seeds...)
		})
	})
}

func TestNameStandsForManyAddresses(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "10.0.0.1", "fd00::2", "10.0.0.3", "10.0.0.1", "::ffff:10.0.0.3")
		m := open(Options{}, name)
		b.query(m)
		s := m.State()
		require.NoError(t, s.check())
		require.Equal(t, []string{"10.0.0.1:34601", "[fd00::2]:34601", "10.0.0.3:34601"}, s.addresses())
		for _, member := range s.Members {
			require.Equal(t, Resolved, member.Source)
			require.Equal(t, "meta.example:34601", member.Name)
		}
		require.Equal(t, 1, dns.count(name))
		for _, node := range b.Metas() {
			require.LessOrEqual(t, node.Accepted(), 1)
		}
	})
}

func TestNameStandsForIPv6Only(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "fd00::1", "fd00::2")
		m := open(Options{}, name+":34601")
		b.query(m)
		require.Equal(t, "[fd00::1]:34601", m.State().LeaderAddress())
	})
}

// All servers have moved. The query that finds none of them at the old addresses asks for the new ones
// before it tries again.
func TestNameIsResolvedAgainWhenNobodyAnswers(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "10.9.9.1", "10.9.9.2")
		m := open(Options{}, name)
		require.ErrorIs(t, b.fails(m, time.Second), ErrNoLeader)
		require.Equal(t, []string{"10.9.9.1:34601", "10.9.9.2:34601"}, m.State().addresses())
		pass(time.Second)
		dns.set(name, "10.0.0.2", "10.0.0.1")
		took := elapsed(func() { b.query(m) })
		require.LessOrEqual(t, took, 10*time.Millisecond, "one pause")
		require.Equal(t, []string{"10.0.0.2:34601", "10.0.0.1:34601"}, m.State().addresses())
		require.Equal(t, "10.0.0.1:34601", m.State().LeaderAddress())
	})
}

// Nobody is asked for names without need, however many queries find nobody.
func TestLookupsAreBounded(t *testing.T) {
	const askers, lasts = 20, 10 * time.Second
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "10.9.9.1")
		m := open(Options{}, name)
		for range askers {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), lasts)
				defer cancel()
				_, _ = m.QueryConfig(ctx, tableName)
			}()
		}
		pass(lasts)
		require.LessOrEqual(t, dns.count(name), 1+int(lasts/backupDelay))
		require.Greater(t, dns.count(name), 10, "but again and again")
	})
}

// Servers that answer, if only that they know no leader, are no reason to doubt their addresses.
func TestServersThatAnswerNeedNoLookup(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "10.0.0.1", "10.0.0.2")
		m := open(Options{}, name)
		b.query(m)
		b.ElectLeader(-1)
		require.ErrorIs(t, b.fails(m, 5*time.Second), ErrNoLeader)
		b.Meta(0).Inject(onebox.Fault{ForwardTo: b.Meta(1).Address()})
		b.Meta(1).Inject(onebox.Fault{ForwardTo: b.Meta(0).Address()})
		require.ErrorIs(t, b.fails(m, 5*time.Second), ErrNoLeader)
		require.Equal(t, 1, dns.count(name))
	})
}

func TestNamesAreResolvedAtIntervals(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "10.0.0.1")
		m := open(Options{ResolveInterval: time.Hour}, name)
		b.query(m)
		dns.set(name, "10.0.0.1", "10.0.0.2")
		pass(time.Hour - time.Second)
		b.query(m)
		synctest.Wait()
		require.Equal(t, 1, dns.count(name))
		pass(time.Second)
		require.Zero(t, elapsed(func() { b.query(m) }), "which does not wait for the look-up")
		synctest.Wait()
		require.Equal(t, 2, dns.count(name))
		require.Equal(t, []string{"10.0.0.1:34601", "10.0.0.2:34601"}, m.State().addresses())
		require.True(t, m.State().Confirmed)
		pass(10 * time.Hour)
		require.Equal(t, 2, dns.count(name), "nobody asks, nobody looks up")
	})
}

func TestOneBadNameAmongGoodOnes(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "10.0.0.2")
		m := open(Options{}, otherName+","+name+",10.0.0.3")
		b.query(m)
		synctest.Wait()
		b.requireLeader(m, b.Meta(0))
		require.Subset(t, m.State().addresses(), []string{"other.example:34601", "10.0.0.2:34601", "10.0.0.3:34601"})
		require.NotContains(t, m.State().addresses(), "meta.example:34601")
	})
}

func TestNameThatFailsKeepsItsAddresses(t *testing.T) {
	for failure, set := range map[string]func(dns *resolver){
		"error":   func(dns *resolver) { dns.set(name) },
		"nothing": func(dns *resolver) { dns.addresses[name] = []netip.Addr{} },
		"invalid": func(dns *resolver) { dns.addresses[name] = []netip.Addr{{}} },
	} {
		t.Run(failure, func(t *testing.T) {
			withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
				dns.set(name, "10.0.0.1", "10.0.0.2")
				m := open(Options{}, name)
				b.query(m)
				before := m.State()
				set(dns)
				pass(time.Hour)
				b.query(m)
				synctest.Wait()
				require.Equal(t, 2, dns.count(name))
				require.Same(t, before, m.State())
			})
		})
	}
}

// A leader whose address the name lost is asked until there is another one, and forgotten then.
func TestLeaderOutlivesItsName(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, dns *resolver, open func(Options, ...string) *MetaManager) {
		dns.set(name, "10.0.0.1", "10.0.0.2")
		m := open(Options{}, name)
		b.query(m)
		dns.set(name, "10.0.0.2", "10.0.0.3")
		look := func() {
			pass(time.Minute)
			b.query(m)
			synctest.Wait()
			require.NoError(t, m.State().check())
		}
		for range 3 {
			look()
			require.Equal(t, []string{"10.0.0.1:34601", "10.0.0.2:34601", "10.0.0.3:34601"}, m.State().addresses())
			b.requireLeader(m, b.Meta(0))
		}
		b.ElectLeader(2)
		b.query(m)
		b.requireLeader(m, b.Meta(2))
		require.Equal(t, 1, b.Meta(0).Connections())
		look()
		require.Equal(t, []string{"10.0.0.2:34601", "10.0.0.3:34601"}, m.State().addresses())
		b.requireLeader(m, b.Meta(2))
		require.Zero(t, b.Meta(0).Connections(), "nobody needs it any more")
	})
}

// A look-up that takes long ends at ResolveTimeout, and does not hold up a query whose time is over.
func TestSlowResolver(t *testing.T) {
	withNames(t, func(t *testing.T, b *box, _ *resolver, open func(Options, ...string) *MetaManager) {
		var lookups atomic.Int64
		m := open(Options{Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			lookups.Inc()
			<-ctx.Done()
			return nil, ctx.Err()
		}}, name)
		require.Equal(t, time.Second, elapsed(func() {
			require.ErrorIs(t, b.fails(m, time.Second), context.DeadlineExceeded)
		}))
		require.EqualValues(t, 1, lookups.Load())
		pass(time.Second)
		requireNotRunning(t, ").resolveAll(")
	})
}
