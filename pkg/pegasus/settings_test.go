package pegasus_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
)

// noIO fails the test if anybody connects.
func noIO(t testing.TB) pegasus.Option {
	return pegasus.WithDialer(func(context.Context, string, string) (net.Conn, error) {
		t.Error("somebody connects")
		return nil, errors.New("no I/O")
	})
}

func TestOpenChecksSettings(t *testing.T) {
	for name, option := range map[string]pegasus.Option{
		"operation timeout 0":         pegasus.WithOperationTimeout(0),
		"negative operation timeout":  pegasus.WithOperationTimeout(-time.Second),
		"operation timeout in ns":     pegasus.WithOperationTimeout(5000),
		"operation timeout of a week": pegasus.WithOperationTimeout(7 * 24 * time.Hour),
		"no writes":                   pegasus.WithMaxWriteBytes(0),
		"negative writes":             pegasus.WithMaxWriteBytes(-1),
		"tiny writes":                 pegasus.WithMaxWriteBytes(1023),
		"huge writes":                 pegasus.WithMaxWriteBytes(1<<30 + 1),
		"negative attempts":           pegasus.WithRetry(retry.Policy{MaxAttempts: -1}),
		"broken budget":               pegasus.WithRetry(retry.Policy{Budget: retry.NewBudget(0, 0)}),
		"negative window":             pegasus.WithConnections(rpc.Options{Window: -1}),
		"too many connections":        pegasus.WithConnections(rpc.Options{ConnectionsPerNode: 65}),
		"negative query timeout":      pegasus.WithDirectory(meta.Options{QueryTimeout: -1}),
	} {
		client, err := pegasus.Open([]string{"10.0.0.1"}, noIO(t), option)
		require.Error(t, err, name)
		require.Nil(t, client)
	}
	_, err := pegasus.Open([]string{"10.0.0.1"}, pegasus.WithOperationTimeout(0), pegasus.WithMaxWriteBytes(1))
	require.EqualError(t, err, "pegasus: OperationTimeout is 0s, want 1ms to 24h0m0s\n"+
		"pegasus: MaxWriteBytes is 1, want 1024 to 1073741824", "all of them at once")
}

func TestOpenChecksAddresses(t *testing.T) {
	for _, metas := range [][]string{
		nil, {}, {""}, {","}, {"10.0.0.1,"}, {"10.0.0.1:0"}, {"10.0.0.1:65536"}, {"10.0.0.1:port"}, {"10.0.0.256"},
		{"host name"}, {"10.0.0.1:34601:34602"}, {"[::1"}, {"good.example", "b@d.example"},
	} {
		client, err := pegasus.Open(metas, noIO(t))
		require.ErrorIs(t, err, meta.ErrAddress, "%q", metas)
		require.Nil(t, client)
	}
	for metas, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:34601", "10.0.0.1:1": "10.0.0.1:1", "[::1]:1": "[::1]:1", "::1": "[::1]:34601",
		"host": "host:34601", "a.example:1,b.example": "a.example:1", " 10.0.0.1 , 10.0.0.2 ": "10.0.0.1:34601",
	} {
		client := openClient(t, []string{metas}, noIO(t))
		require.Equal(t, want, client.Snapshot().Meta.Leader)
	}
}

func TestSettings(t *testing.T) {
	defaults := openClient(t, []string{"10.0.0.1"}, nil).Settings()
	require.Equal(t, 5*time.Second, defaults.OperationTimeout)
	require.Equal(t, 1<<20, defaults.MaxWriteBytes)
	require.True(t, defaults.RetryDoubtfulWrites)
	require.True(t, defaults.WarmUp)
	require.NotNil(t, defaults.Retry.Budget)
	require.Nil(t, defaults.Logger)
	another := openClient(t, []string{"10.0.0.1"}).Settings()
	require.NotSame(t, defaults.Retry.Budget, another.Retry.Budget, "budgets are the client's")

	logger, own := slog.New(slog.DiscardHandler), slog.New(slog.DiscardHandler)
	policy := retry.Policy{MaxAttempts: 3, RetryBusy: true}
	got := openClient(t, []string{"10.0.0.1"},
		pegasus.WithOperationTimeout(time.Second), pegasus.WithMaxWriteBytes(1<<10), pegasus.WithRetryDoubtfulWrites(false),
		pegasus.WithRetry(policy), pegasus.WithoutWarmUp(), pegasus.WithLogger(logger),
		pegasus.WithConnections(rpc.Options{Window: 7, Logger: own}), noIO(t), pegasus.WithDirectory(meta.Options{MaxForwards: 2}),
	).Settings()
	require.NotNil(t, got.Connections.Dial)
	got.Connections.Dial = nil
	require.Equal(t, pegasus.Settings{
		OperationTimeout: time.Second, MaxWriteBytes: 1 << 10, Retry: policy, Logger: logger,
		Connections: rpc.Options{Window: 7, Logger: own}, Directory: meta.Options{MaxForwards: 2, Logger: logger},
	}, got)
}

// Clients have nothing in common with each other, or with the process they are in.
func TestDefect40NothingIsGlobal(t *testing.T) {
	for range 2 {
		openClient(t, []string{"10.0.0.1"}, pegasus.WithLogger(slog.New(slog.DiscardHandler)))
	}
	for _, path := range []string{"/", "/metrics", "/debug/vars"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+path, nil)
		require.NoError(t, err)
		_, pattern := http.DefaultServeMux.Handler(request)
		require.Empty(t, pattern)
	}
}
