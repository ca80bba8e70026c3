package rpc

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
)

func TestOptionsDefaults(t *testing.T) {
	pool, err := NewPool(Options{})
	require.NoError(t, err)
	require.NoError(t, pool.Close(t.Context()))
	o := pool.options
	require.NotNil(t, o.Dial)
	require.NotNil(t, o.Logger)
	o.Dial, o.Logger = nil, nil
	require.Equal(t, Options{
		DialTimeout: 2 * time.Second, ConnectionsPerNode: 1, Window: 4096, MaxQueuedBytes: 4 << 20,
		MaxResponseBytes: 128 << 20, ReadSilenceLimit: 500 * time.Millisecond, SilenceLimit: 4 * time.Second, SweepInterval: 20 * time.Millisecond, CircuitFailures: 50,
		BackoffMin: 2 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
	}, o)
}

func TestOptionsOutOfRange(t *testing.T) {
	for name, o := range map[string]Options{
		"DialTimeout":        {DialTimeout: -1},
		"ConnectionsPerNode": {ConnectionsPerNode: 65},
		"Window":             {Window: 1 << 16},
		"MaxQueuedBytes":     {MaxQueuedBytes: -1},
		"MaxResponseBytes":   {MaxResponseBytes: 1},
		"SilenceLimit":       {SilenceLimit: time.Millisecond},
		"SweepInterval":      {SweepInterval: time.Hour},
		"BackoffMin":         {BackoffMin: time.Hour, BackoffMax: time.Hour},
		"BackoffMax":         {BackoffMax: 2 * time.Hour},
		"above BackoffMax":   {BackoffMin: time.Second},
	} {
		_, err := NewPool(o)
		require.ErrorContains(t, err, name)
	}
	_, err := NewPool(Options{Window: -1, SweepInterval: -1})
	require.ErrorContains(t, err, "Window")
	require.ErrorContains(t, err, "SweepInterval", "all that is wrong is named at once")
	for _, o := range []Options{
		{Window: 1}, {Window: maxWindow}, {ConnectionsPerNode: 64}, {MaxQueuedBytes: 1},
		{BackoffMin: time.Millisecond, BackoffMax: time.Millisecond},
	} {
		_, err := o.withDefaults()
		require.NoError(t, err)
	}
}

func TestErrorTexts(t *testing.T) {
	refused := &ConnectError{RetryIn: time.Second, Err: io.EOF}
	for want, err := range map[string]error{
		"node n1:1: connecting: cannot connect: EOF":                        &CallError{Address: "n1:1", Err: refused},
		"node n1:1: waiting for admission: too many requests are under way": &CallError{Address: "n1:1", Stage: StageAdmission, Err: ErrBusy},
		"node n1:1: queued: client closed":                                  &CallError{Address: "n1:1", Stage: StageQueued, Err: ErrClosed},
		"node n1:1: awaiting the answer: node is silent": &CallError{
			Address: "n1:1", Stage: StageAwaiting, Outcome: retry.InDoubt, Err: ErrSilent,
		},
		"cannot read the answer: EOF":             &ResultError{Err: io.EOF},
		"server answered ERR_BUSY":                &ServerError{Name: "ERR_BUSY"},
		"protocol violation: EOF":                 protocolViolation(io.EOF),
		"connection retired":                      &errUnusable{ErrRetired},
		"node n1:1: Stage(9): connection retired": &CallError{Address: "n1:1", Stage: 9, Err: ErrRetired},
	} {
		require.EqualError(t, err, want)
	}
}

// Causes are found behind whatever stands before them.
func TestErrorCauses(t *testing.T) {
	refused := &CallError{Err: &ConnectError{Err: fmt.Errorf("dial: %w", io.EOF)}}
	require.ErrorIs(t, refused, ErrConnect)
	require.ErrorIs(t, refused, io.EOF)
	require.ErrorIs(t, &ResultError{Err: io.EOF}, io.EOF)
	violation := protocolViolation(io.EOF)
	require.ErrorIs(t, violation, ErrProtocol)
	require.ErrorIs(t, violation, io.EOF)
	require.False(t, errors.Is(refused, ErrClosed))
}
