package meta

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// Reason tells why a refresh is asked for.
type Reason string

// The reasons, for logs and statistics.
const (
	// ReasonRefused: a server answered that it does not serve the partition.
	ReasonRefused Reason = "refused"
	// ReasonNoPrimary: the routing names no primary for a partition.
	ReasonNoPrimary Reason = "no primary"
	// ReasonNodeTrouble: a connection to a primary was lost or could not be made.
	ReasonNodeTrouble Reason = "node trouble"
	// ReasonTimeout: an operation ran out of time.
	ReasonTimeout Reason = "timeout"
	// ReasonAge: nobody asked for a long time.
	ReasonAge Reason = "age"
	// ReasonOpened: the table was opened, for which its first routing was asked.
	ReasonOpened Reason = "opened"
	// ReasonConfirm: somebody has to know that the routing is not older than this moment.
	ReasonConfirm Reason = "confirm"
)

// Table keeps the routing of one table current. Requests load it without a lock; one goroutine
// replaces it. All methods are for concurrent use.
type Table struct {
	// questions counts the questions put to meta servers. answered and unanswered are the numbers of the
	// last that ended with and without success. All are first for their alignment.
	questions, answered, unanswered atomic.Uint64

	manager *MetaManager
	name    string
	cell    *snapshot.Cell[*Routing]
	// rounds counts the refreshes that ended, whether or not they brought news, so that a request
	// can wait for the end of one.
	rounds *snapshot.Cell[uint64]
	// asked holds a reason while a refresh is asked for. Its capacity is 1: a reason that waits there
	// covers all that come after it. The goroutine empties it before it asks a meta server, so a
	// reason that comes while the question is under way leads to another one and is never lost.
	asked chan Reason
	// urgent cuts the pause before the next question, because somebody waits in Confirm. Its capacity is
	// 1; what is left in it costs a pause and nothing more.
	urgent  chan struct{}
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	stopped sync.Once
	failure atomic.Error // of the last refresh; nil if it succeeded
	fetched atomic.Time  // when a refresh last succeeded
	rewinds int          // answers in a row that were behind; only keepCurrent's goroutine uses it
}

// OpenTable asks for the routing of a table and keeps it current from then on. Errors are those of
// QueryConfig, and ErrRouting. A partition without a primary is no error.
func (m *MetaManager) OpenTable(ctx context.Context, name string) (*Table, error) {
	answer, err := m.QueryConfig(ctx, name)
	if err != nil {
		return nil, err
	}
	routing, err := newRouting(name, answer, m.pool)
	if err != nil {
		return nil, err
	}
	t := &Table{
		manager: m, name: name,
		cell: snapshot.New(routing), rounds: snapshot.New[uint64](0),
		asked: make(chan Reason, 1), urgent: make(chan struct{}, 1),
	}
	t.ctx, t.cancel = context.WithCancel(m.ctx)
	t.fetched.Store(time.Now())
	if !m.adopt(t) {
		t.cancel()
		return nil, rpc.ErrClosed
	}
	m.announce(ReasonOpened, routing)
	return t, nil
}

// announce tells that a routing was published.
func (m *MetaManager) announce(reason Reason, routing *Routing) {
	m.options.Logger.Info("routing installed", "table", routing.Table, "reason", string(reason),
		"app_id", routing.AppID, "partitions", len(routing.Partitions), "version", routing.Version)
	if installed := m.options.Hooks.RoutingInstalled; installed != nil {
		installed(reason, routing)
	}
}

// adopt starts to keep a table current, and is false if the manager is closed.
func (m *MetaManager) adopt(t *Table) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.tables[t] = struct{}{}
	m.running.Go(t.keepCurrent)
	return true
}

// Name returns the table's name.
func (t *Table) Name() string { return t.name }

// Load returns the current routing: one atomic load. After Close it returns the last one.
func (t *Table) Load() *snapshot.Version[*Routing] { return t.cell.Load() }

// Moved implements rpc.Route: a request has moved when another partition serves its keys, or another node
// that partition. Requests to secondaries may go to any.
func (t *Table) Moved(header *wire.Header, address string) (moved bool, news <-chan struct{}) {
	version := t.cell.Load()
	if header.Backup || t.cell.IsShut() { // there is no news any more, and the channel may be closed
		return false, nil
	}
	_, p := version.Value().Locate(header.PartitionHash)
	return p.GPID != header.GPID || p.Primary == nil || p.Primary.Address() != address, version.Superseded()
}

// Refresh asks for fresh routing without waiting for it. However many ask, one refresh serves all.
func (t *Table) Refresh(reason Reason) {
	select {
	case t.asked <- reason:
	default:
	}
}

// AwaitNews asks for fresh routing and waits for the pause, and then until a refresh has ended, but
// for no longer than most in all; 0 stands for the pause and Options.BackupDelay: should the meta servers be
// out of reach, the old routing may still do. A routing newer than seen ends the wait at once. It
// returns ctx's error if that ends first, rpc.ErrClosed after Close, and otherwise nil: the routing
// may still be the same.
func (t *Table) AwaitNews(ctx context.Context, seen *snapshot.Version[*Routing], reason Reason, pause, most time.Duration) error {
	if most == 0 {
		most = pause + t.manager.options.BackupDelay
	}
	refreshed := t.rounds.Load().Superseded()
	t.Refresh(reason)
	if err := retry.Sleep(ctx, min(pause, most), seen.Superseded()); err != nil {
		return err
	}
	if pause < most {
		limit := time.NewTimer(most - pause)
		defer limit.Stop()
		select {
		case <-seen.Superseded():
		case <-refreshed:
		case <-limit.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if t.ctx.Err() != nil { // the first thing that Close does, and what the refresh under way ends with
		return rpc.ErrClosed
	}
	return nil
}

// Close ends the refreshes, and the connections that no other table needs as soon as the requests on
// them are done. It does not wait for the refresh under way; MetaManager.Close does.
func (t *Table) Close() {
	t.stopped.Do(func() {
		t.cancel()
		t.cell.Shut()
		t.rounds.Shut()
		m := t.manager
		m.mu.Lock()
		delete(m.tables, t)
		closing := m.closed // then the pool closes them all
		m.mu.Unlock()
		if !closing {
			m.retireUnused()
		}
	})
}

// LastFailure returns why the last refresh failed, or nil if it did not.
func (t *Table) LastFailure() error { return t.failure.Load() }

// Refreshes returns how often a meta server was asked for fresh routing, the question under way included.
func (t *Table) Refreshes() uint64 { return t.questions.Load() }

// FetchedAt returns when a meta server was last asked with success.
func (t *Table) FetchedAt() time.Time { return t.fetched.Load() }

// keepCurrent is the only goroutine that installs routings of this table.
func (t *Table) keepCurrent() {
	options := &t.manager.options
	pause := options.RefreshPause
	age := time.NewTimer(aging(options.RefreshInterval))
	defer age.Stop()
	for {
		reason := ReasonAge
		select {
		case reason = <-t.asked:
		case <-age.C:
		case <-t.ctx.Done():
			return
		}
		started := time.Now()
		if t.refresh(reason) {
			pause = options.RefreshPause
		} else {
			pause = min(2*pause, options.MaxRefreshPause)
		}
		age.Reset(aging(options.RefreshInterval))
		// The least distance between two questions. Reasons that come meanwhile wait in the channel.
		if retry.Sleep(t.ctx, time.Until(started.Add(jitter(pause))), t.urgent) != nil {
			return
		}
	}
}

// aging returns a time up to a fifth shorter than the interval, so that the tables of many clients do
// not age in step.
func aging(interval time.Duration) time.Duration { return interval - rand.N(interval/5+1) }

// maxRewinds is the number of answers in a row whose older partitions are not believed. After that
// the meta server's state may really have been set back, and it is believed.
const maxRewinds = 3

// refresh asks for the routing once, installs what is newer, and says whether anything was.
func (t *Table) refresh(reason Reason) (news bool) {
	m := t.manager
	ctx, cancel := context.WithTimeout(t.ctx, m.options.QueryTimeout)
	defer cancel()
	question, started := t.questions.Inc(), time.Now()
	answer, err := m.QueryConfig(ctx, t.name)
	var fresh *Routing
	if err == nil {
		fresh, err = newRouting(t.name, answer, m.pool)
	}
	t.failure.Store(err)
	if err == nil {
		t.fetched.Store(time.Now())
		news = t.install(fresh, reason)
		t.answered.Store(question)
	} else if t.unanswered.Store(question); t.ctx.Err() == nil {
		m.options.Logger.Warn("routing refresh failed", "table", t.name, "reason", string(reason), "error", err)
	}
	t.rounds.Update(func(ended uint64) (uint64, bool) { return ended + 1, true })
	if refreshed := m.options.Hooks.Refreshed; refreshed != nil {
		refreshed(Refresh{Table: t.name, Reason: reason, Took: time.Since(started), News: news, Err: err})
	}
	return news
}

// install says whether fresh had news. Trust restored is none: requests to a dead node destroy it
// again and again, and must not keep the refreshes from becoming rarer.
func (t *Table) install(fresh *Routing, reason Reason) (news bool) {
	older := false
	version, installed := t.cell.Update(func(old *Routing) (next *Routing, changed bool) {
		next, older, news = old.succeededBy(fresh, t.rewinds >= maxRewinds)
		return next, news || !old.trusted()
	})
	news = news && installed // nothing is, once the table is closed
	if older {
		t.rewinds++
	} else {
		t.rewinds = 0
	}
	if news {
		t.manager.retireUnused()
		t.manager.announce(reason, version.Value())
	}
	return news
}
