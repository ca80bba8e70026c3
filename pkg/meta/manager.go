package meta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// Options configure a MetaManager. The zero value of each field means its default; NewManager refuses
// negative values.
type Options struct {
	// BackupDelay is how long the leader may take before the other meta servers are asked as well.
	// Default 1/3 s. Shorter finds a new leader sooner and asks more when the leader is slow.
	BackupDelay time.Duration
	// AskTimeout is how long meta servers may take to answer before all of them are asked again. Default
	// 1 s. It bounds neither a query, which goes on until its context ends, nor an answer: one that comes
	// later counts as well, within QueryTimeout.
	AskTimeout time.Duration
	// QueryTimeout bounds a query whose context has no deadline, every query made in the background, and
	// the wait for one meta server's answer. Default 5 s.
	QueryTimeout time.Duration
	// MaxForwards bounds how many forwards one question to one server may follow. Default 4.
	MaxForwards int
	// MaxMembers is the number of meta servers above which forwarded ones that nobody names any more
	// are dropped. Default 16. Configured ones and what their names stand for always stay.
	MaxMembers int
	// RetryPause is the pause after a first round in which no meta server answered as leader. It
	// doubles up to BackupDelay, with jitter. Default 10 ms.
	RetryPause time.Duration
	// ResolveInterval is how old the addresses of configured names may be before a query has them
	// resolved anew in the background. Default 1 min. They are also resolved, before anybody is
	// asked again, when no meta server could be reached and they are older than BackupDelay.
	ResolveInterval time.Duration
	// ResolveTimeout bounds one look-up of a name. Default 2 s.
	ResolveTimeout time.Duration
	// Resolve looks names up. Default: the system's resolver.
	Resolve ResolveFunc
	// RefreshPause is the time from one routing query for a table to the next, up to half of which is
	// left to chance. It doubles up to MaxRefreshPause as long as queries bring nothing new. Default
	// 10 ms.
	RefreshPause time.Duration
	// MaxRefreshPause bounds RefreshPause's growth. Default 1 s.
	MaxRefreshPause time.Duration
	// RefreshInterval is how old a table's routing may be before it is asked for again without
	// anybody's request; up to a fifth of it is left to chance. Default 5 min.
	RefreshInterval time.Duration
	// Logger is told about leaders found and routing changed. Default: nobody.
	Logger *slog.Logger
	// Hooks are called when meta servers were asked, and when something was learned. Default: none.
	Hooks Hooks
}

func (o Options) withDefaults() (Options, error) {
	if o.Resolve == nil {
		o.Resolve = resolveWithSystem
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	err := errors.Join(
		fill("BackupDelay", &o.BackupDelay, time.Second/3),
		fill("AskTimeout", &o.AskTimeout, time.Second),
		fill("QueryTimeout", &o.QueryTimeout, 5*time.Second),
		fill("MaxForwards", &o.MaxForwards, 4),
		fill("MaxMembers", &o.MaxMembers, 16),
		fill("RetryPause", &o.RetryPause, 10*time.Millisecond),
		fill("ResolveInterval", &o.ResolveInterval, time.Minute),
		fill("ResolveTimeout", &o.ResolveTimeout, 2*time.Second),
		fill("RefreshPause", &o.RefreshPause, 10*time.Millisecond),
		fill("MaxRefreshPause", &o.MaxRefreshPause, time.Second),
		fill("RefreshInterval", &o.RefreshInterval, 5*time.Minute),
	)
	return o, err
}

func fill[T int | time.Duration](name string, value *T, byDefault T) error {
	if *value == 0 {
		*value = byDefault
	}
	if *value < 0 {
		return fmt.Errorf("meta: %s is negative: %v", name, *value)
	}
	return nil
}

// MetaManager knows the meta servers of one cluster and puts questions to their leader. All methods
// are for concurrent use.
//
// The state is loaded without a lock and replaced only through the cell's Update. The mutex below
// guards nothing but bookkeeping that no request needs.
type MetaManager struct {
	pool    *rpc.Pool
	options Options
	names   []seed // the configured addresses that have to be resolved
	state   *snapshot.Cell[*State]

	ctx     context.Context // ends with Close; work in the background runs on it
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex // guards what follows
	closed     bool
	tables     map[*Table]struct{} // open ones
	resolvedAt time.Time
	resolving  chan struct{} // closed when the look-up under way ends; nil if none is
}

// NewManager returns a MetaManager for the given meta servers, each "host:port", or a comma list of
// such; see DefaultPort. The connections are those of pool, which the caller closes after the
// manager. It does no I/O: addresses are checked for their form only, with ErrAddress.
func NewManager(metaServers []string, pool *rpc.Pool, options Options) (*MetaManager, error) {
	seeds, err := parseSeeds(metaServers)
	if err != nil {
		return nil, err
	}
	options, err = options.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &MetaManager{
		pool: pool, options: options,
		names: slices.DeleteFunc(slices.Clone(seeds), func(sd seed) bool { return !sd.name }),
		state: snapshot.New(initialState(seeds, pool)),
		ctx:   ctx, cancel: cancel,
		tables: make(map[*Table]struct{}),
	}
	return m, nil
}

// State returns what is known about the meta servers now.
func (m *MetaManager) State() *State { return m.state.Load().Value() }

// QueryConfig asks the meta leader for the routing of a table. It tries, through changes of the
// leader, until ctx ends. Errors: ErrNoSuchTable and other refusals of the leader as *ServerError,
// *NoLeaderError when no leader answered in time, rpc.ErrClosed after Close.
func (m *MetaManager) QueryConfig(ctx context.Context, table string) (*wire.QueryConfigResponse, error) {
	var answer *wire.QueryConfigResponse
	err := m.metaCall(ctx, func() question { return &configQuestion{table: table, answer: &answer} })
	if err != nil {
		return nil, fmt.Errorf("query routing of table %q: %w", table, err)
	}
	return answer, nil
}

// configQuestion asks for the routing of a table.
type configQuestion struct {
	table    string
	response wire.QueryConfigResponse
	answer   **wire.QueryConfigResponse // where an accepted response goes
}

func (q *configQuestion) request() *rpc.Request {
	return &rpc.Request{
		Method:    wire.QueryConfig,
		Arguments: &wire.QueryConfigRequest{Table: q.table},
		Result:    &q.response,
	}
}

func (q *configQuestion) verdict() wire.ErrorName { return q.response.Error }

func (q *configQuestion) accept() { *q.answer = &q.response }

func (q *configQuestion) leader() string {
	if len(q.response.Partitions) == 0 {
		return ""
	}
	return nodeAddress(q.response.Partitions[0].Primary, q.response.Partitions[0].PrimaryName)
}

// Close ends every query and refresh with rpc.ErrClosed and waits for the manager's goroutines, or
// until ctx is done, whose error it returns then. It may be called more than once.
func (m *MetaManager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	tables := slices.Collect(maps.Keys(m.tables))
	m.mu.Unlock()
	m.cancel()
	m.state.Shut()
	for _, t := range tables {
		t.Close()
	}
	done := make(chan struct{})
	go func() {
		m.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startResolving starts a look-up of all configured names in the background, unless one is under way
// or the last one is younger than age. It returns a channel that closes when the one under way ends,
// or nil if there is none to wait for.
func (m *MetaManager) startResolving(age time.Duration) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.names) == 0 || m.closed {
		return nil
	}
	if m.resolving == nil && time.Since(m.resolvedAt) >= age {
		done := make(chan struct{})
		m.resolving = done
		m.running.Go(func() {
			m.resolveAll()
			m.mu.Lock()
			m.resolving, m.resolvedAt = nil, time.Now()
			m.mu.Unlock()
			close(done)
		})
	}
	return m.resolving
}

// resolveAll looks up the names side by side. One that cannot be resolved changes nothing: what it
// stood for before stays, and so does every other address.
func (m *MetaManager) resolveAll() {
	var lookups sync.WaitGroup
	for _, sd := range m.names {
		lookups.Go(func() {
			members, err := m.resolve(m.ctx, sd)
			if err != nil {
				m.options.Logger.Warn("cannot resolve a meta server", "name", sd.String(), "error", err)
				return
			}
			m.install("meta server name resolved", func(old *State) (*State, bool) {
				return old.withResolved(sd.String(), members)
			})
		})
	}
	lookups.Wait()
}

// jitter returns a duration between half of d and d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// retireUnused closes the connections to nodes that neither the meta state nor any table's routing
// mentions. A request that still holds an older snapshot connects again.
func (m *MetaManager) retireUnused() {
	nodes := m.pool.Nodes() // first, so that it has none that is used only from now on
	m.mu.Lock()
	tables := slices.Collect(maps.Keys(m.tables))
	m.mu.Unlock()
	used := make(map[*rpc.Node]bool)
	for _, member := range m.State().Members {
		used[member.Node] = true
	}
	for _, t := range tables {
		for _, p := range t.Load().Value().Partitions {
			used[p.Primary] = true
			for _, secondary := range p.Secondaries {
				used[secondary] = true
			}
		}
	}
	for _, node := range nodes {
		if !used[node] {
			node.Retire()
		}
	}
}
