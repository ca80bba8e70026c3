package pegasus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Hedging sets reads from secondaries, see [WithHedgedReads]. The zero value of each field means its
// default.
type Hedging struct {
	// Delay is how long the primary may take before a secondary is asked as well, at most 1 h. Default:
	// as long as the share Quantile of its latest reads took, within MinDelay and MaxDelay; if that is
	// more than twice what it is on a secondary, only as long as there, or twice as long as half of the
	// primary's reads took if that is longer.
	Delay time.Duration
	// Quantile is the share of reads that are not hedged, 0.5 to 0.999. Default 0.95.
	Quantile float64
	// MinDelay is the shortest delay that follows from Quantile, 10 µs to 1 h. Default 1 ms.
	MinDelay time.Duration
	// MaxDelay is the longest delay that follows from Quantile, and the delay while too little is known
	// about a node, MinDelay to 1 h. Default 100 ms, or MinDelay if that is longer.
	MaxDelay time.Duration
	// MaxExtraLoad bounds the reads sent to secondaries, as a share of all reads, 0.001 to 1. Default
	// 0.05. Reads that a secondary is asked for because the primary is away do not count.
	MaxExtraLoad float64
	// Burst is the number of reads that may be hedged at once before MaxExtraLoad counts, 1 to a
	// million. Default 100.
	Burst int
}

// withDefaults returns the settings with defaults filled in, or what is wrong.
func (h Hedging) withDefaults() (Hedging, error) {
	h.Quantile = orDefault(h.Quantile, 0.95)
	h.MinDelay = orDefault(h.MinDelay, time.Millisecond)
	h.MaxDelay = orDefault(h.MaxDelay, max(100*time.Millisecond, h.MinDelay))
	h.MaxExtraLoad = orDefault(h.MaxExtraLoad, 0.05)
	h.Burst = orDefault(h.Burst, 100)
	return h, errors.Join(
		inRange("Hedging.Delay", h.Delay, 0, time.Hour),
		inRange("Hedging.Quantile", h.Quantile, 0.5, 0.999),
		inRange("Hedging.MinDelay", h.MinDelay, 10*time.Microsecond, time.Hour),
		inRange("Hedging.MaxDelay", h.MaxDelay, h.MinDelay, time.Hour),
		inRange("Hedging.MaxExtraLoad", h.MaxExtraLoad, 0.001, 1),
		inRange("Hedging.Burst", h.Burst, 1, 1_000_000),
	)
}

func orDefault[T comparable](value, byDefault T) T {
	var zero T
	if value == zero {
		return byDefault
	}
	return value
}

// delay returns how long to wait for the answer of a partition's primary.
func (h *Hedging) delay(p *meta.Partition) time.Duration {
	if h.Delay > 0 {
		return h.Delay
	}
	usual, known := p.Primary.Latency(h.Quantile)
	if !known {
		return h.MaxDelay
	}
	if other, known := h.fastest(p.Secondaries); known && usual > 2*other {
		usual = min(usual, straggling(p.Primary, other))
	}
	return min(max(usual, h.MinDelay), h.MaxDelay)
}

// fastest returns how long reads usually take on the fastest of the nodes of which that is known.
func (h *Hedging) fastest(nodes []*rpc.Node) (usual time.Duration, known bool) {
	for _, node := range nodes {
		if d, ok := node.Latency(h.Quantile); ok && (!known || d < usual) {
			usual, known = d, true
		}
	}
	return usual, known
}

// straggling returns after what time a read of a node that is slower than another replica's is one of its
// slow ones: when it would usually be over there, but not before twice the time that half of the node's
// own take. Its own quantile cannot tell as soon as more of its answers are slow than the quantile leaves
// out: it is then as long as they take, and hedging would come too late for just these. Nodes that are
// slow as such are spared by the second bound: to hedge each of their reads would use up the
// budget, which then would not be there for the stragglers of others.
func straggling(node *rpc.Node, elsewhere time.Duration) time.Duration {
	half, _ := node.Latency(0.5)
	return max(elsewhere, 2*half)
}

// recentTrouble is for how long a secondary is avoided after a connection to it was lost.
const recentTrouble = 5 * time.Second

// secondary returns a node to hedge with, at random among those that gave no trouble lately, or nil.
func secondary(p *meta.Partition) *rpc.Node {
	if len(p.Secondaries) == 0 {
		return nil
	}
	first := rand.IntN(len(p.Secondaries))
	for i := range p.Secondaries {
		node := p.Secondaries[(first+i)%len(p.Secondaries)]
		if node != p.Primary && !node.Troubled(recentTrouble) {
			return node
		}
	}
	return nil
}

// mayHedge says whether the operation may be answered by a secondary.
func (t *Table) mayHedge(op *operation) bool {
	if t.client.hedging == nil {
		return false
	}
	switch op.request.Method {
	case wire.Get, wire.TTL, wire.MultiGet, wire.BatchGet, wire.SortKeyCount:
		return true
	}
	return false
}

// callSecondary sends a read to a secondary for which there is no primary, as cause says: what no primary
// executes is no extra load. If there is no secondary, or none with a sound answer, it fails for that
// cause.
func (t *Table) callSecondary(ctx context.Context, op *operation, cause error) error {
	node := secondary(op.partition)
	if node == nil || ctx.Err() != nil {
		return cause
	}
	if op.partition.Primary == nil {
		t.routing.Refresh(meta.ReasonNoPrimary) // or reads would go to secondaries for ever
	}
	result, answer := op.request.Result, new(detached)
	op.request.Header.Backup, op.request.Attentive, op.request.Result = true, true, answer
	op.request.Header.TimeoutMillis = wire.TimeoutMillis(time.Until(op.request.Deadline))
	err := node.Call(ctx, &op.request)
	op.request.Header.Backup, op.request.Attentive, op.request.Result = false, false, result
	if err == nil {
		err = answer.into(result)
	}
	op.hedge = hedgeOutcome{node, err == nil}
	if err != nil {
		return &inVainError{cause: cause, secondary: err}
	}
	return nil
}

// inVainError is the failure of a try that no primary executed, for a cause, nor a secondary that was
// asked in its place.
type inVainError struct{ cause, secondary error }

func (e *inVainError) Error() string { return fmt.Sprintf("%v (secondary: %v)", e.cause, e.secondary) }

func (e *inVainError) Unwrap() error { return e.cause }

// callHedged sends a read to the primary and, if that takes long, to a secondary as well. The first
// answer counts, and the other call is given up. A secondary's answer that makes no sense has ended the
// primary's call as well, which is therefore made once more, on its own.
func (t *Table) callHedged(ctx context.Context, op *operation) error {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	primary := op.partition.Primary
	h := &hedge{client: t.client, partition: op.partition, request: op.request, ctx: both, cancel: cancel}
	timer := time.AfterFunc(t.client.hedging.delay(op.partition), h.start)
	op.request.Attentive = true
	err := primary.Call(both, &op.request)
	op.request.Attentive = false
	timer.Stop()
	var answer []byte
	answer, op.hedge.node = h.end()
	switch {
	case err == nil:
		t.client.hedges.Success()
		return nil
	case answer != nil:
		var reader wire.Reader
		if wire.DecodeDetached(&reader, answer, op.request.Result) == nil {
			t.client.hedges.Success()
			op.hedge.won = true
			return nil
		}
		op.request.Header.TimeoutMillis = wire.TimeoutMillis(time.Until(op.request.Deadline))
		return primary.Call(ctx, &op.request)
	case unreachable(err):
		return t.callSecondary(ctx, op, err)
	}
	return err
}

// hedgeOutcome tells which secondary an attempt has asked, and whether its answer counted.
type hedgeOutcome struct {
	node *rpc.Node // nil: none
	won  bool
}

// unreachable says whether a call failed because its node is away, rather than because of what the
// node said, because there is another primary, or because the caller's time is over.
func unreachable(err error) bool {
	var call *rpc.CallError
	return errors.As(err, &call) && callRow(call) != final && !errors.Is(err, rpc.ErrMoved)
}

// hedge is the second call of a read. The first one's goroutine, which owns the operation, makes it
// and ends it. What a timer may start in between shares nothing with the operation but the arguments,
// of which it makes a copy before the operation can end, since it may outlive it.
type hedge struct {
	client    *Client
	partition *meta.Partition
	ctx       context.Context // of both calls
	cancel    context.CancelFunc

	mu      sync.Mutex
	request rpc.Request // of the second call
	node    *rpc.Node   // that the second call is made to; nil if it is not made
	over    bool        // the first call has ended
	answer  []byte      // the result of the second call, if that came first
}

// start makes the second call if it may. The timer runs it.
func (h *hedge) start() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	node := secondary(h.partition)
	if node == nil || !h.client.hedges.Spend() {
		return
	}
	h.node = node
	request, result := h.request, new(detached)
	request.Times = nil // they are the first call's
	request.Header.Backup, request.Attentive = true, true
	request.Header.TimeoutMillis = wire.TimeoutMillis(time.Until(request.Deadline))
	request.Arguments = encoded(request.Arguments.AppendField(nil, firstArgument))
	request.Result = result
	h.client.pool.Go(func() {
		if node.Call(h.ctx, &request) == nil && result.sound() == nil {
			h.answered(result.bytes)
		}
	})
}

// answered ends the first call, if it still waits, and leaves the second one's result for it.
func (h *hedge) answered(result []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.answer = result
		h.cancel()
	}
}

// end returns the result of the second call, if there is one, and the node that it was made to, if it
// was. Afterwards nobody touches the operation.
func (h *hedge) end() ([]byte, *rpc.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	return h.answer, h.node
}

// firstArgument is the id of the field that the arguments of every RPC are.
const firstArgument = 1

// encoded is the argument field of a request, ready for the wire.
type encoded []byte

// AppendField implements wire.Arguments.
func (e encoded) AppendField(dst []byte, _ int16) []byte { return append(dst, e...) }

// detached is a result that waits to be decoded.
type detached struct{ bytes []byte }

// Decode implements wire.Result.
func (d *detached) Decode(r *wire.Reader) { d.bytes = r.Detach() }

// sound returns nil for a secondary's answer that may count. When its storage has failed, the primary's has
// not.
func (d *detached) sound() error {
	switch status, ok := wire.DetachedStatus(d.bytes); {
	case !ok:
		return &rpc.ResultError{Err: wire.ErrMalformed}
	case status == wire.StatusOK, status == wire.StatusNotFound, status == wire.StatusIncomplete:
		return nil
	default:
		return &StatusError{Status: status}
	}
}

// into decodes a sound answer.
func (d *detached) into(result wire.Result) error {
	if err := d.sound(); err != nil {
		return err
	}
	var reader wire.Reader
	if err := wire.DecodeDetached(&reader, d.bytes, result); err != nil {
		return &rpc.ResultError{Err: err}
	}
	return nil
}

// newBudget returns the tokens of hedged reads.
func (h *Hedging) newBudget() *retry.Budget { return retry.NewBudget(h.Burst, h.MaxExtraLoad) }
