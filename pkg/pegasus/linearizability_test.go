package pegasus_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/test/onebox"
)

// access is one operation on a record of the history, and what it brought: reads bring the value, ""
// for none, and writes leave it.
type access struct {
	key   string
	write bool
	value string
}

// register is a record that is read and written, one operation at a time.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := make(map[string][]porcupine.Operation)
		for _, operation := range history {
			key := operation.Input.(access).key
			byKey[key] = append(byKey[key], operation)
		}
		var parts [][]porcupine.Operation
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		a := input.(access)
		if a.write {
			return true, a.value
		}
		return a.value == state, state
	},
}

// history is what several callers did to the same records, in the order in which it began and ended.
type history struct {
	t     testing.TB
	table *pegasus.Table
	done  *progress

	mu         sync.Mutex
	clock      int64
	operations []porcupine.Operation
}

func (h *history) now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock++
	return h.clock
}

// access makes an operation and adds it to the history: not if it certainly had no effect, and
// without an end if it may have one yet.
func (h *history) access(caller int, a access) {
	called := h.now()
	err := h.perform(&a)
	returned := h.now()
	defer h.done.made()
	if err != nil {
		if !a.write || failed(h.t, err).Outcome != pegasus.InDoubt {
			return
		}
		returned = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, porcupine.Operation{ClientId: caller, Input: a, Call: called, Return: returned})
}

func (h *history) perform(a *access) error {
	ctx, key := h.t.Context(), []byte(a.key)
	switch {
	case a.write && a.value == "":
		return h.table.Del(ctx, key, nil)
	case a.write:
		return h.table.Set(ctx, key, nil, []byte(a.value))
	}
	value, err := h.table.Get(ctx, key, nil)
	if errors.Is(err, pegasus.ErrNotFound) {
		err = nil
	}
	a.value = string(value)
	return err
}

// work makes so many operations on a few records.
func (h *history) work(caller, count int) {
	for i := range count {
		a := access{key: fmt.Sprint("record ", rand.IntN(3))}
		switch rand.IntN(8) {
		case 0:
			a.write = true
		case 1, 2, 3:
			a.write, a.value = true, fmt.Sprintf("caller %d operation %d", caller, i)
		}
		h.access(caller, a)
	}
}

// TestLinearizability has callers share records while the cluster is disturbed, and checks that what
// they saw can be explained by records that change in one moment each. Writes in doubt are not
// repeated here: that would be two moments.
func TestLinearizability(t *testing.T) {
	const callers, count = 4, 75
	b := newBox(t, onebox.Config{FailoverDelay: 10 * time.Millisecond, ElectionDelay: 5 * time.Millisecond},
		onebox.TableOptions{Partitions: 2}, pegasus.WithRetryDoubtfulWrites(false),
		pegasus.WithConnections(rpc.Options{SilenceLimit: 50 * time.Millisecond, SweepInterval: 5 * time.Millisecond}))
	h := &history{t: t, table: b.table, done: newProgress()}
	var working, disturbing sync.WaitGroup
	for caller := range callers {
		working.Go(func() { h.work(caller, count) })
	}
	disturbing.Go(func() {
		for _, disturb := range unrest {
			disturb(b)
			h.done.await(callers * count / 2 / len(unrest))
		}
	})
	working.Wait()
	close(h.done.over)
	disturbing.Wait()
	require.Equal(t, porcupine.Ok, porcupine.CheckOperationsTimeout(register, h.operations, time.Minute))
	require.Greater(t, len(h.operations), callers*count/2)
}

// unrest are disturbances for clusters on a real network, in this order.
var unrest = []func(b *box){
	func(b *box) { b.Replica(0).Kill() },
	func(b *box) { b.injectAll(onebox.Fault{CloseAfter: true, Times: 1}) },
	func(b *box) { b.Leader().Kill() },
	func(b *box) { b.Replica(0).Restart() },
	func(b *box) { b.Replica(1).Kill(); b.Replica(1).Restart() },
	func(b *box) { b.injectAll(onebox.Fault{CloseBefore: true, Times: 1}) },
	func(b *box) { _ = b.MovePrimary(tableName, 0, 2) },
	func(b *box) { b.Replica(2).Pause() },
	func(b *box) { b.Replica(2).Resume() },
	func(b *box) { b.restartMetas(); _ = b.MovePrimary(tableName, 1, 0) },
	func(b *box) { b.injectAll(onebox.Fault{Truncate: 9, Times: 1}) },
}

func (b *box) restartMetas() {
	for _, node := range b.Metas() {
		node.Restart()
	}
}

// TestAcknowledgedWritesStay does the same under a load whose every operation must end well, and
// whose every acknowledged write must be there in the end.
func TestAcknowledgedWritesStay(t *testing.T) {
	b := newBox(t, onebox.Config{FailoverDelay: 10 * time.Millisecond, ElectionDelay: 5 * time.Millisecond},
		onebox.TableOptions{Partitions: 4}, pegasus.WithOperationTimeout(30*time.Second),
		pegasus.WithConnections(rpc.Options{SilenceLimit: 50 * time.Millisecond, SweepInterval: 5 * time.Millisecond}))
	load := startLoad(t, b.table, 8, 10, 0)
	for _, disturb := range unrest {
		load.done.await(30)
		disturb(b)
	}
	load.stop()
}
