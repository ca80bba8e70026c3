package pegasus

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// Settings are what the options of [Open] change. [Client.Settings] returns those in effect.
type Settings struct {
	// OperationTimeout is the time that an operation may take whose context has no deadline.
	OperationTimeout time.Duration
	// TryTimeout is the time that one try of an operation may take; 0: as long as the operation.
	TryTimeout time.Duration
	// MaxWriteBytes is the largest body of a write request, in bytes.
	MaxWriteBytes int
	// RetryDoubtfulWrites allows to repeat a Set, Del, MultiSet or MultiDel whose outcome is in doubt, and
	// what batches and DelRange make of them.
	RetryDoubtfulWrites bool
	// WarmUp has OpenTable connect to every primary of the table before it returns.
	WarmUp bool
	// Retry says how often, and with what pauses, operations are repeated.
	Retry retry.Policy
	// Hedging sets reads from secondaries; nil: there are none.
	Hedging *Hedging
	// MaxInFlight bounds the requests that the client has under way; 0: no bound but that of each
	// connection.
	MaxInFlight int
	// FailFast has operations fail with ErrOverloaded rather than wait for a place.
	FailFast bool
	// AdaptiveRate slows the client down for tables that answer ERR_BUSY; nil: it does not.
	AdaptiveRate *AdaptiveRate
	// Connections are the settings of connections to all servers.
	Connections rpc.Options
	// Directory are the settings of the search for meta leaders and routing.
	Directory meta.Options
	// Logger is told about leaders, routing and connections, never about single operations.
	Logger *slog.Logger
	// Hooks are called when something happens.
	Hooks []Hooks
}

// Option changes one setting of a client.
type Option func(*Settings)

// Defaults of the settings that are not those of other packages.
const (
	// DefaultOperationTimeout is the default of WithOperationTimeout.
	DefaultOperationTimeout = 5 * time.Second
	// DefaultMaxWriteBytes is the default of WithMaxWriteBytes, and that of servers.
	DefaultMaxWriteBytes = 1 << 20
	// DefaultRetryTokens is the number of retries that a client may make in a burst: more than
	// connections have calls in flight by default, so that the loss of one cannot use them up. Tries
	// that reached no server cost none.
	DefaultRetryTokens = 10_000
	// DefaultRetryRatio is the share of retries among successful operations that can last.
	DefaultRetryRatio = 0.1
)

// WithOperationTimeout sets the time, 1 ms to a day, that an operation may take if its context has no
// deadline. Default 5 s. Shorter gives up on failovers that would have ended well; longer holds more callers
// while a partition is away.
func WithOperationTimeout(d time.Duration) Option {
	return func(s *Settings) { s.OperationTimeout = d }
}

// WithTryTimeout sets the time, 10 ms to a day, that one try may take of an operation that can be
// repeated: when it is over, the operation is tried again, perhaps elsewhere. It helps where servers
// drop single requests without a word, which some do when they start, when a table is denied to
// clients, or when requests have queued for too long; servers that are silent altogether are found out
// by rpc.Options.ReadSilenceLimit. Default 0: a try takes as long as the operation. Shorter than what
// the slowest requests take, it only adds load.
func WithTryTimeout(d time.Duration) Option { return func(s *Settings) { s.TryTimeout = d } }

// WithMaxWriteBytes sets the largest body of a write request in bytes, 1 KiB to 1 GiB; larger writes
// fail with ErrTooLarge before anything is sent. Default 1 MiB, like the servers' own limit
// max_allowed_write_size, which it should follow.
func WithMaxWriteBytes(n int) Option { return func(s *Settings) { s.MaxWriteBytes = n } }

// WithRetryDoubtfulWrites says whether a Set, Del, MultiSet or MultiDel, also as a part of a BatchSet,
// BatchDel or DelRange, is repeated when its connection was lost and it may have been executed. Default
// true: repeating them comes to the same, unless the record was written again before both were executed,
// which undoes that later write: by another client in between, or by this one after the repetition if
// the server comes to the first only then. Operations that would be applied twice, such as increments,
// are never repeated.
func WithRetryDoubtfulWrites(allow bool) Option {
	return func(s *Settings) { s.RetryDoubtfulWrites = allow }
}

// WithRetry sets how often and with what pauses operations are repeated. Default: as often as time
// and the client's budget allow, see DefaultRetryTokens and DefaultRetryRatio, with pauses from 8 ms
// to 1 s. A policy without a budget removes that brake. Policy.RetryBusy makes throttled operations
// wait instead of failing with ErrBusy.
func WithRetry(policy retry.Policy) Option { return func(s *Settings) { s.Retry = policy } }

// WithHedgedReads lets secondaries answer a read when the primary takes long, cannot be reached, or
// does not exist. It concerns Get, AppendGet, TTL, Exist, MultiGet in all its forms, BatchGet and
// SortKeyCount, never scans and writes. Default: primaries only.
//
// The price is that such an answer may be stale. A secondary learns that a write is committed from the
// next write, so the last acknowledged write of a partition can stay invisible on it for as long as
// its group check takes, 100 s by default; while it cannot reach its primary, for longer. So a client
// may not see its own writes, and a later read may return an older value than an earlier one. Counters
// and conditions are not affected: they are evaluated by the primary.
func WithHedgedReads(hedging Hedging) Option { return func(s *Settings) { s.Hedging = &hedging } }

// WithMaxInFlight bounds the requests that the client has under way, over all its connections, 0 to a
// million; operations beyond wait for a place, for as long as their context lets them. Default 0: no
// bound but rpc.Options.Window for each connection. A bound keeps an application from filling its
// memory with operations that wait for a slow cluster; it costs a channel's send and receive per
// request. A hedged read takes one place, also while a secondary is asked besides.
func WithMaxInFlight(n int) Option { return func(s *Settings) { s.MaxInFlight = n } }

// WithFailFast has operations that find no place, in a connection's window or within MaxInFlight, or that
// an adaptive rate would hold back, fail at once: with ErrOverloaded, or ErrBusy. Default: they wait.
func WithFailFast() Option { return func(s *Settings) { s.FailFast = true } }

// WithAdaptiveRate holds requests back when servers answer ERR_BUSY: reads and writes of each table
// apart. Default: off, every ERR_BUSY is the caller's to deal with. With it, the rate falls by a factor
// with each second in which servers were busy, and recovers slowly; requests wait for their turn, or
// fail with an ErrBusy at once if that comes after their deadline.
func WithAdaptiveRate(rate AdaptiveRate) Option { return func(s *Settings) { s.AdaptiveRate = &rate } }

// WithoutWarmUp has OpenTable return as soon as it knows the routing. Default: it first connects to
// every primary, so that the first operations need not wait for that.
func WithoutWarmUp() Option { return func(s *Settings) { s.WarmUp = false } }

// WithConnections sets the options of connections: window, sizes, dialler, time limits. Default: the
// defaults of rpc.Options.
func WithConnections(options rpc.Options) Option {
	return func(s *Settings) { s.Connections = options }
}

// WithDialer sets how connections are opened, for proxies, address translation, or networks in
// memory. Default: TCP. It replaces the Dial of WithConnections if it comes after it.
func WithDialer(dial rpc.DialFunc) Option { return func(s *Settings) { s.Connections.Dial = dial } }

// WithDirectory sets the options of the search for meta leaders and routing. Default: the defaults
// of meta.Options.
func WithDirectory(options meta.Options) Option { return func(s *Settings) { s.Directory = options } }

// WithLogger has leaders found, routing installed and connections made or lost logged. Default:
// silence. It costs nothing per operation.
func WithLogger(logger *slog.Logger) Option { return func(s *Settings) { s.Logger = logger } }

// newSettings applies the options to the defaults and checks the result as far as this package
// knows; the layers below check theirs.
func newSettings(options []Option) (Settings, error) {
	s := Settings{
		OperationTimeout:    DefaultOperationTimeout,
		MaxWriteBytes:       DefaultMaxWriteBytes,
		RetryDoubtfulWrites: true,
		WarmUp:              true,
		Retry:               retry.Policy{Budget: retry.NewBudget(DefaultRetryTokens, DefaultRetryRatio)},
	}
	for _, option := range options {
		if option != nil {
			option(&s)
		}
	}
	if s.Logger != nil {
		if s.Connections.Logger == nil {
			s.Connections.Logger = s.Logger
		}
		if s.Directory.Logger == nil {
			s.Directory.Logger = s.Logger
		}
	}
	var wrong error
	if s.Hedging != nil {
		var hedging Hedging
		hedging, wrong = s.Hedging.withDefaults()
		s.Hedging = &hedging
	}
	if s.AdaptiveRate != nil {
		rate, err := s.AdaptiveRate.withDefaults()
		s.AdaptiveRate, wrong = &rate, errors.Join(wrong, err)
	}
	return s, errors.Join(
		wrong,
		s.checkTryTimeout(),
		inRange("MaxInFlight", s.MaxInFlight, 0, 1_000_000),
		inRange("OperationTimeout", s.OperationTimeout, time.Millisecond, 24*time.Hour),
		inRange("MaxWriteBytes", s.MaxWriteBytes, 1<<10, 1<<30),
		s.Retry.Validate(),
	)
}

func (s *Settings) checkTryTimeout() error {
	if s.TryTimeout == 0 {
		return nil
	}
	return inRange("TryTimeout", s.TryTimeout, 10*time.Millisecond, 24*time.Hour)
}

func inRange[T int | float64 | time.Duration](name string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("pegasus: %s is %v, want %v to %v", name, value, least, most)
	}
	return nil
}
