package pegasus_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// An answer that the client does not know fails its own request only: others on the same connection,
// sent before and after it, get theirs.
func TestDefect03UnknownAnswers(t *testing.T) {
	for name, fault := range map[string]onebox.Fault{
		"error name":  {Error: "ERR_OF_NEXT_YEAR"},
		"sequence id": {WrongSequence: true},
		"late":        {Delay: 2 * time.Second},
		"twice":       {Duplicate: true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				b.set("key", "value")
				primary := b.Primary(tableName, 0)
				primary.Inject(onebox.Fault{Delay: 100 * time.Millisecond, Times: 3})
				fault.Times = 1
				primary.Inject(fault)
				var waiting []func()
				for range 3 {
					waiting = append(waiting, b.inBackground(func() { b.holds("key", "value") }))
				}
				_, err := b.table.Get(b.within(time.Second), []byte("another"), nil)
				require.Error(t, err)
				for range 3 {
					b.holds("key", "value")
				}
				for _, wait := range waiting {
					wait()
				}
				pass(5 * time.Second)
				b.holds("key", "value")
				require.Equal(t, 1, primary.Accepted(), "the connection was given up")
			})
		})
	}
}

// A connection that speaks nonsense is given up at once, and the operations on it are repeated.
func TestDefect03And04Nonsense(t *testing.T) {
	for name, fault := range map[string]onebox.Fault{
		"name of another answer": {WrongName: "RPC_DETECT_HOTKEY"},
		"garbage":                {Garbage: []byte(strings.Repeat("garbage", 100))},
		"length of 2 GiB":        {HugeLength: true},
		"half an answer":         {Truncate: 20},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
				b.set("key", "value")
				fault.Times = 1
				b.Primary(tableName, 0).Inject(fault)
				took := elapsed(func() {
					wait := b.inBackground(func() { b.holds("key", "value") })
					b.holds("key", "value")
					wait()
				})
				require.Less(t, took, 100*time.Millisecond)
				require.Equal(t, 2, b.Primary(tableName, 0).Accepted())
			})
		})
	}
}

// An answer that comes byte by byte, slower than any pause a client might take for its end, is put
// together, and so is what comes after it.
func TestDefect29SlowAnswer(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		value := strings.Repeat("value ", 50)
		b.set("key", value)
		b.network.SetChunk(b.Replica(0).Address(), 1)
		b.holds("key", value)
		b.network.SetChunk(b.Replica(0).Address(), 0)
		b.Primary(tableName, 0).Inject(onebox.Fault{Delay: 400 * time.Millisecond, Chunk: 1})
		for range 3 {
			b.holds("key", value)
		}
		require.Equal(t, 1, b.Replica(0).Accepted())
	})
}

// unhashable is a context of a type that cannot be the key of a map.
type unhashable struct {
	context.Context
	_ []int
}

func TestDefect19UnhashableContext(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		ctx := unhashable{Context: t.Context()}
		for name, o := range operations {
			require.NotPanics(t, func() { err := o.run(ctx, b.table); present(t, err) }, name)
		}
		b.injectAll(onebox.Fault{Error: wire.ErrInvalidState, Times: 1})
		_, err := b.table.Get(ctx, []byte("key"), nil)
		present(t, err)
		b.table.Close()
		_, err = b.client.OpenTable(ctx, tableName)
		require.NoError(t, err)
	})
}

// A context without a deadline, or with one, that is cancelled in the middle ends the operation at
// once, wherever it is.
func TestCancellation(t *testing.T) {
	for name, hinder := range map[string]func(b *box){
		"waiting for the answer":   func(b *box) { b.Replica(0).Pause() },
		"waiting for a primary":    func(b *box) { b.withoutPrimary(0) },
		"waiting between tries":    func(b *box) { b.injectAll(onebox.Fault{Error: wire.ErrSplitting}) },
		"waiting for fresh news":   func(b *box) { b.injectAll(onebox.Fault{Error: wire.ErrInvalidState}) },
		"waiting for a connection": func(b *box) { b.injectAll(onebox.Fault{CloseBefore: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, onebox.Config{FailoverDelay: time.Hour}, single, func(t *testing.T, b *box) {
				hinder(b)
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				for _, operation := range []func(context.Context, *pegasus.Table) error{get, set} {
					running.Go(func() {
						err := operation(ctx, b.table)
						require.ErrorIs(t, err, context.Canceled)
						require.NotErrorIs(t, err, context.DeadlineExceeded)
						require.NotErrorIs(t, err, pegasus.ErrClosed)
						require.False(t, failed(t, err).Timeout())
					})
				}
				pass(300 * time.Millisecond)
				cancel()
				require.Zero(t, elapsed(running.Wait))
			})
		})
	}
}

// A scan whose server closed the connection failed with an error for which errors.Is(err, io.EOF) was
// true, so that who tested for the end of a scan in that way took half of the records for all of them.
func TestLostConnectionIsNoEndOfAScan(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		b.set("key", "value")
		scanner, err := b.table.NewScanner([]byte("key"), nil, nil, nil)
		require.NoError(t, err)
		defer scanner.Close()
		remove := b.Primary(tableName, 0).Inject(onebox.Fault{CloseAfter: true})
		_, err = scanner.Next(b.within(time.Second))
		require.Error(t, err)
		require.NotErrorIs(t, err, io.EOF)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		remove()
		record, err := scanner.Next(b.within(time.Second))
		require.NoError(t, err)
		require.Equal(t, "value", string(record.Value))
	})
}
