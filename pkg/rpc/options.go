package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"
)

// DialFunc opens a connection to address, "host:port". It must honour ctx. net.Dialer.DialContext is
// one; others lead through a proxy, translate addresses, or stay in memory.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Options configure a Pool. The zero value of each field means its default; NewPool refuses values that are
// out of range.
type Options struct {
	// Dial opens connections. Default: TCP.
	Dial DialFunc
	// DialTimeout bounds one dial, 1 ms to 1 h. Default 2 s.
	DialTimeout time.Duration
	// ConnectionsPerNode is the number of connections to each node, 1 to 64. Default 1, which carries
	// hundreds of thousands of requests per second; more help where one TCP stream is the bottleneck.
	// Each costs two goroutines and 64 KiB for reading, besides what is in flight.
	ConnectionsPerNode int
	// Window is the number of requests in flight per connection, 1 to 65535. Default 4096. Callers
	// beyond it wait. Smaller: less memory when a node stalls, earlier back-pressure.
	Window int
	// MaxQueuedBytes bounds the requests that wait for the writer of one connection, 1 byte to 1 GiB: a
	// caller waits while there are more. Default 4 MiB. A single request may be larger, and up to 16
	// callers that waited are let in together before it shows how much they bring.
	MaxQueuedBytes int
	// MaxResponseBytes is the largest answer accepted, 1 KiB to 2 GiB less one byte; a larger one
	// costs the connection, and fails its call with ErrResponseTooLarge, or ErrProtocol if its length is
	// beyond belief. Default 128 MiB. Memory grows with the bytes that arrive, not with the length
	// announced.
	MaxResponseBytes int
	// ReadSilenceLimit is how long a node may send nothing at all while reads wait, before these are
	// given up, to be repeated elsewhere, and no further requests enter the connection, 10 ms to 1 h.
	// Default 500 ms, or SilenceLimit if that is less. When half of it has passed, the client asks the
	// node for a sign of life that costs it nothing, so one read that takes a server long does not count
	// as silence.
	// Shorter: faster away from a node that is gone, but connections are given up for a few lost packets.
	ReadSilenceLimit time.Duration
	// SilenceLimit is how long a node may send nothing at all while requests wait, before the
	// connection is given up with all of them, 10 ms to 1 h. Default 4 s. Writes wait that
	// long because they are in doubt afterwards, and because while its node is silent a partition cannot
	// be written anyway, until the cluster has noticed as well.
	SilenceLimit time.Duration
	// SweepInterval is how often a busy connection looks for calls out of time and for silence, 1 ms to
	// 1 min. Default 20 ms. It is also the precision of both.
	SweepInterval time.Duration
	// CircuitFailures is the number of writes in a row, over a second at least, that must fail without an
	// answer, or for the node's disk, before further ones are kept from the node: they fail at once with
	// ErrCircuitOpen, but for a probe every half second, later every 2 s. At most a million. Default 50;
	// negative: never.
	CircuitFailures int
	// BackoffMin is the pause after a first failed dial, 1 ms to 1 min and not above BackoffMax, to which
	// it doubles, with jitter. Default 2 ms.
	BackoffMin time.Duration
	// BackoffMax is the longest pause between dials that fail at once, as on a host that runs but
	// whose server does not, 1 ms to 1 h. Dials that time out may be ten times as far apart. Default
	// 100 ms, so that a restarted node is found at once.
	BackoffMax time.Duration
	// Logger is told about connections made and lost. Default: nobody.
	Logger *slog.Logger
	// Hooks are called when connections are made and lost. Default: none.
	Hooks Hooks
}

// Limits of the options.
const (
	maxWindow             = 1<<16 - 1
	maxConnectionsPerNode = 64
	slowBackoffFactor     = 10
)

// withDefaults returns the options with defaults filled in, or an error that names what is wrong.
func (o Options) withDefaults() (Options, error) {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	err := errors.Join(
		fill("DialTimeout", &o.DialTimeout, 2*time.Second, time.Millisecond, time.Hour),
		fill("ConnectionsPerNode", &o.ConnectionsPerNode, 1, 1, maxConnectionsPerNode),
		fill("Window", &o.Window, 4096, 1, maxWindow),
		fill("MaxQueuedBytes", &o.MaxQueuedBytes, 4<<20, 1, 1<<30),
		fill("MaxResponseBytes", &o.MaxResponseBytes, 128<<20, 1<<10, 1<<31-1),
		fill("SilenceLimit", &o.SilenceLimit, 4*time.Second, 10*time.Millisecond, time.Hour),
		fill("ReadSilenceLimit", &o.ReadSilenceLimit, min(500*time.Millisecond, o.SilenceLimit), 10*time.Millisecond, time.Hour),
		fill("SweepInterval", &o.SweepInterval, 20*time.Millisecond, time.Millisecond, time.Minute),
		fill("CircuitFailures", &o.CircuitFailures, 50, math.MinInt32, 1_000_000),
		fill("BackoffMin", &o.BackoffMin, 2*time.Millisecond, time.Millisecond, time.Minute),
		fill("BackoffMax", &o.BackoffMax, 100*time.Millisecond, time.Millisecond, time.Hour),
	)
	if err == nil && o.BackoffMin > o.BackoffMax {
		err = fmt.Errorf("rpc: BackoffMin %v above BackoffMax %v", o.BackoffMin, o.BackoffMax)
	}
	return o, err
}

func fill[T int | time.Duration](name string, value *T, byDefault, least, most T) error {
	if *value == 0 {
		*value = byDefault
	}
	if *value < least || *value > most {
		return fmt.Errorf("rpc: %s is %v, want %v to %v", name, *value, least, most)
	}
	return nil
}
