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
// as the node answers. Connections of one node may change it at the same time; which one wins does
// not matter.
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

func (p *readPatience) grow() { p.millis.Store(min(2*p.millis.Load(), p.most)) }

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
	reads, all := c.patience.limit(), c.options.SilenceLimit
	switch {
	case silence >= reads/2 && !c.sweep.probed:
		c.askForLife()
	case silence >= all, silence >= reads && !c.writing():
		c.patience.grow()
		c.dieSoon(fmt.Errorf("%w for %v", ErrSilent, silence))
	case silence >= reads && !c.sweep.doubted:
		c.doubt(fmt.Errorf("%w for %v", ErrSilent, silence))
	}
}

// writing says whether a write is in flight. The mutex is held.
func (c *Conn) writing() bool {
	for i := range c.pending.slots {
		if call := c.pending.slots[i].call; call != nil && !call.method.IsRead() {
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
	c.patience.grow()
	c.retireFor(cause)
	var reads []*call
	for i := range c.pending.slots {
		if call := c.pending.slots[i].call; call != nil && call.method.IsRead() {
			c.pending.giveUp(call)
			c.stats.abandoned++
			call.sample(c.latency)
			reads = append(reads, call)
		}
	}
	c.sweep.unanswered = true
	c.running.Go(func() {
		c.onDoubt(cause) // before the callers try again: then they find the new epoch
		for _, read := range reads {
			read.finish(&CallError{Address: c.address, Stage: StageAwaiting, Outcome: retry.InDoubt, Err: cause})
		}
	})
}
