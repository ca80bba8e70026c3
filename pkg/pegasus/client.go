package pegasus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Client is a client of one cluster. It is meant to live as long as the process; all methods are for
// concurrent use.
type Client struct {
	settings  Settings
	opened    time.Time     // on the clock of this client, see now
	patience  retry.Policy  // Settings.Retry without the budget, which Table.await spends
	gate      *gate         // nil: any number of requests may be under way
	hedging   *Hedging      // nil: off
	hedges    *retry.Budget // of hedged reads
	pool      *rpc.Pool
	manager   *meta.MetaManager
	counters  *counters
	observers *observers // nil: there are no hooks

	mu     sync.Mutex // guards what follows; never held while anything is waited for
	tables map[string]*opening
	closed bool
}

// now is time.Now for measuring: with half the cost, since it asks the system for one clock instead
// of two.
func (c *Client) now() time.Time { return c.in(0) }

// in is now().Add(d), for the cost of now.
func (c *Client) in(d time.Duration) time.Time { return c.opened.Add(time.Since(c.opened) + d) }

// opening is a table that is open or being opened. table and err are set before done is closed.
type opening struct {
	done  chan struct{}
	warm  chan struct{} // closed when the warm-up is over, or there is none
	table *Table
	err   error
}

// Open returns a client of the cluster with the given meta servers. Each element is an address, or a
// comma list of addresses: "ip:port", "[ipv6]:port", "host:port"; without a port, 34601. A host name
// stands for all its addresses, which are looked up again when they no longer work. Open checks
// addresses and options and does no I/O: a cluster that is away is found when it is back.
func Open(metaServers []string, options ...Option) (*Client, error) {
	settings, err := newSettings(options)
	if err != nil {
		return nil, err
	}
	c := &Client{
		settings: settings, opened: time.Now(), patience: settings.Retry,
		counters: newCounters(), tables: make(map[string]*opening),
	}
	c.patience.Budget = nil
	if settings.MaxInFlight > 0 {
		c.gate = &gate{places: make(chan struct{}, settings.MaxInFlight), failFast: settings.FailFast}
	}
	if settings.Hedging != nil {
		c.hedging, c.hedges = settings.Hedging, settings.Hedging.newBudget()
	}
	if len(settings.Hooks) > 0 {
		c.observers = newObservers(settings.Hooks)
		c.counters.timeAll = c.observers.operations
		settings.Connections.Hooks, settings.Directory.Hooks = c.observers.ofConnections(), c.observers.ofDirectory()
	}
	c.pool, err = rpc.NewPool(settings.Connections)
	if err != nil {
		return nil, fmt.Errorf("pegasus: %w", err)
	}
	c.manager, err = meta.NewManager(metaServers, c.pool, settings.Directory)
	if err != nil {
		return nil, fmt.Errorf("pegasus: %w", err)
	}
	return c, nil
}

// Settings returns the settings in effect. Zero fields of Connections and Directory stand for their
// defaults.
func (c *Client) Settings() Settings { return c.settings }

// OpenTable returns the handle of a table. Handles are cached: callers that name the same table share
// one, and a table being opened makes nobody wait who wants another. It fails with ErrNoSuchTable,
// or when no meta server has answered by the end of ctx; the next call tries anew. Partitions that
// have no primary are no reason to fail.
func (c *Client) OpenTable(ctx context.Context, name string) (*Table, error) {
	if err := ctx.Err(); err != nil {
		return nil, openError(name, err)
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var before error // why an earlier opening failed
	for {
		o := c.opening(name)
		if o == nil {
			return nil, openError(name, ErrClosed)
		}
		select {
		case <-o.done:
		case <-ctx.Done():
			return nil, openError(name, c.unanswered(ctx.Err(), before))
		}
		if o.err == nil {
			select {
			case <-o.warm:
			case <-ctx.Done(): // the table is of use all the same
			}
			return o.table, nil
		}
		if !errors.Is(o.err, meta.ErrNoLeader) || ctx.Err() != nil {
			return nil, openError(name, o.err)
		}
		before = o.err // on the client's time, of which perhaps little was left; the caller has more
	}
}

// unanswered is the error of a caller whose time is over, as over says, before an opening is. It
// tells what is known: why an earlier opening failed, or else the trouble with the meta servers.
func (c *Client) unanswered(over, before error) error {
	if before != nil {
		return ended(before, over)
	}
	err := fmt.Errorf("%w: %w", meta.ErrNoLeader, over)
	for _, member := range c.manager.State().Members {
		if trouble := member.Node.Stats().LastError; trouble != nil {
			err = fmt.Errorf("%w; meta %s: %w", err, member.Address, trouble)
		}
	}
	return err
}

// bound gives a context without a deadline the operation timeout.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.settings.OperationTimeout)
}

// opening returns the table's entry, made now if there is none; nil if the client is closed. The
// table is opened in a goroutine of its own, on the client's time: a caller that gives up must not
// fail the others.
func (c *Client) opening(name string) *opening {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	o := c.tables[name]
	if o == nil {
		o = &opening{done: make(chan struct{}), warm: make(chan struct{})}
		c.tables[name] = o
		c.pool.Go(func() { c.open(name, o) }) // it is not closed yet: that comes after c.closed is set
	}
	return o
}

// open opens a table and connects to its primaries. An opening that failed is forgotten, so that the
// next caller tries anew.
func (c *Client) open(name string, o *opening) {
	routing, err := c.manager.OpenTable(context.Background(), name)
	if err != nil {
		o.err = err
		c.forget(name, o)
		close(o.done)
		return
	}
	o.table = &Table{client: c, name: name, routing: routing, guard: c.newGuard(name)}
	o.table.release = func() { c.forget(name, o) }
	close(o.done)
	if c.settings.WarmUp {
		ctx, cancel := c.bound(context.Background())
		o.table.warmUp(ctx)
		cancel()
	}
	close(o.warm)
}

// forget removes a table's entry, unless there is a newer one.
func (c *Client) forget(name string, o *opening) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tables[name] == o {
		delete(c.tables, name)
	}
}

func openError(name string, cause error) error {
	e := &Error{Operation: openTable, Table: name, Partition: -1, Tries: 1, Outcome: NotSent, Err: cause}
	var refusal *meta.ServerError
	if errors.As(cause, &refusal) {
		e.Server, e.Node, e.Outcome = refusal.Name, refusal.Address, Answered
	}
	return e
}

// closeLimit bounds Close. Only foreign code can exhaust it: a dialler, its connections, a resolver.
const closeLimit = 5 * time.Second

// Close fails every operation under way, and every later one, with ErrClosed, closes the connections
// and waits for the client's goroutines, for at most 5 s: it returns an error if some are left. It
// may be called any number of times, from anywhere.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	// 1. Open no more tables.
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	// 2. Stop asking the meta servers; the openings under way, which the pool waits for, end with that.
	// 3. Fail what is in flight, which must not wait for foreign code to let go of 2.
	stopped := make(chan error, 1)
	go func() { stopped <- c.manager.Close(ctx) }()
	if err := errors.Join(c.pool.Close(ctx), <-stopped); err != nil {
		return fmt.Errorf("pegasus: close: %w", err)
	}
	return nil
}

// isClosed says whether Close was called.
func (c *Client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
