package rpc

import (
	"fmt"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// probe is an RPC that no server knows. Each answers at once that it does not, from its network layer
// and whatever its storage is doing (docs/protocol.md, dispatch): a sign of life.
var probe = &Request{
	Method: wire.NewMethod("RPC_BRIDLE_SIGN_OF_LIFE"), Header: wire.Header{TimeoutMillis: 1000},
	Arguments: wire.Int64(0),
}

// readPatience is the limit for silence while reads wait, of one node. It doubles whenever the node was
// given up for it, up to four times Options.ReadSilenceLimit, since the node may be slow rather than
// gone, and nothing would ever be answered by a node that always takes a little longer. It goes back
// as the node answers.
//
// Several connections of a node mostly find out together that it is silent. Each keeps to the limit that
// there was when it asked for a sign of life, and doubles that one, so that the first of them does not
// make the others wait longer. Which one wins otherwise does not matter.
type readPatience struct {
	millis      atomic.Uint32
	least, most uint32
}

func (p *readPatience) start(o *Options) {
	least := min(o.ReadSilenceLimit, o.SilenceLimit)
	p.least, p.most = uint32(least.Milliseconds()), uint32(min(4*least, o.SilenceLimit).Milliseconds())
	p.millis.Store(p.least)
}

func (p *readPatience) limit() time.Duration {
	return time.Duration(p.millis.Load()) * time.Millisecond
}

// grow doubles the limit that was exceeded.
func (p *readPatience) grow(limit time.Duration) {
	p.millis.Store(max(p.millis.Load(), min(2*uint32(limit.Milliseconds()), p.most)))
}

func (p *readPatience) ease() { p.millis.Store(max(p.millis.Load()/2, p.least)) }

// easePatience is called by each sweep that finds that bytes came. After a second of these the node
// deserves no more than half of the patience it had.
func (c *Conn) easePatience() {
	if c.sweep.steady++; time.Duration(c.sweep.steady)*c.options.SweepInterval >= time.Second {
		c.sweep.steady = 0
		c.patience.ease()
	}
}

// checkSilence does what is due when the node has sent nothing for a while, although something is
// expected: first it asks for a sign of life, then it gives up the reads, then the connection. Nobody
// is given up who was not asked, even if sweeps are further apart than that. The mutex is held.
func (c *Conn) checkSilence() {
	silence := time.Duration(c.sweep.tick-c.sweep.progress) * c.options.SweepInterval
	if !c.sweep.probed {
		if limit := c.patience.limit(); silence >= limit/2 {
			c.sweep.limit = limit
			c.askForLife()
		}
		return
	}
	switch reads, all := c.sweep.limit, c.options.SilenceLimit; {
	case silence >= all, silence >= reads && !c.writing():
		c.patience.grow(reads)
		c.dieSoon(fmt.Errorf("%w for %v", ErrSilent, silence))
	case silence >= reads && !c.sweep.doubted:
		c.patience.grow(reads)
		c.doubt(fmt.Errorf("%w for %v", ErrSilent, silence))
	}
}

// writing says whether a write is in flight. The mutex is held.
func (c *Conn) writing() bool {
	for i := range c.pending.slots {
		if call := c.pending.slots[i].call; call != nil && !call.request.Method.IsRead() {
			return true
		}
	}
	return false
}

// askForLife queues the probe. Its answer goes to nobody, but it is an answer. The mutex is held.
func (c *Conn) askForLife() {
	c.sweep.probed = true
	c.appendFrame(probe, onewaySequence)
	if c.writerIdle {
		c.writerIdle = false
		c.kickWriter()
	}
}

// doubt gives up the reads on a silent node and lets no further calls in. Writes go on waiting: theirs
// is the last chance to hear what became of them. The mutex is held.
func (c *Conn) doubt(cause error) {
	c.sweep.doubted = true
	c.retireFor(cause)
	var reads []*call
	for i := range c.pending.slots {
		if call := c.pending.slots[i].call; call != nil && call.request.Method.IsRead() {
			c.pending.giveUp(call)
			c.stats.abandoned++
			call.sample(c.latency)
			reads = append(reads, call)
		}
	}
	c.running.Go(func() {
		c.onDoubt(cause) // before the callers try again: then they find the new epoch
		for _, read := range reads {
			read.finish(&CallError{Address: c.address, Stage: StageAwaiting, Outcome: retry.InDoubt, Err: cause})
		}
	})
}
