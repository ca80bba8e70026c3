package rpc

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

const readLimit = 500 * time.Millisecond

// newPut returns a write. It is answered with an UpdateResponse.
func newPut(key string) *get {
	g := newGet(key)
	g.Method, g.Arguments = wire.Put, &wire.PutRequest{Key: []byte(key)}
	g.Result = &wire.UpdateResponse{}
	return g
}

// Where nothing but reads waits, silence ends the connection as soon as it ends the reads.
func TestSilenceEndsReadsEarly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{ReadSilenceLimit: readLimit})
		serve(t, r.network, silence)
		c := r.start("key")
		c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		requireBetween(t, readLimit, 2*r.pool.options.SweepInterval, c.took)
		require.EqualValues(t, 1, r.node.Epoch())
		synctest.Wait()
		require.Zero(t, r.node.Stats().Connections)
	})
}

// Writes may still be answered when reads are given up. Nothing else enters the connection: later
// calls belong on a new one.
func TestSilenceLeavesWritesWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{ReadSilenceLimit: readLimit})
		p := r.connect()
		old := r.conn()
		read, write := r.start("read"), r.startWith(newPut("write"))
		first, second := p.mustNext(), p.mustNext()
		if first.key == "read" {
			first, second = second, first
		}
		read.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		requireBetween(t, readLimit, 2*r.pool.options.SweepInterval, read.took)
		time.Sleep(10 * r.pool.options.SweepInterval)
		require.False(t, write.ended())
		require.EqualValues(t, 1, r.node.Epoch(), "the node is in trouble, which is told once")
		require.Equal(t, 2*readLimit, r.node.patience.limit())
		require.ErrorIs(t, r.node.Stats().LastError, ErrSilent)

		require.Nil(t, r.node.links[0].live())
		p.write(second.answer()) // late
		p.write(wire.AppendResponse(nil, wire.ErrOK, wire.Put, first.sequence, &wire.UpdateResponse{}))
		require.NoError(t, write.result())
		synctest.Wait()
		require.ErrorIs(t, old.cause, ErrSilent, "that was its last call")
		require.EqualValues(t, 1, r.node.Stats().Late)
	})
}

func TestSilenceEndsWritesInTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{ReadSilenceLimit: readLimit})
		serve(t, r.network, silence)
		write, read := r.startWith(newPut("write")), r.start("read")
		write.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
		requireBetween(t, r.pool.options.SilenceLimit, 2*r.pool.options.SweepInterval, write.took)
		require.ErrorIs(t, read.result(), ErrSilent)
		requireBetween(t, readLimit, 2*r.pool.options.SweepInterval, read.took)
	})
}

// Patience is lost by halves, one for each second in which the node is heard.
func TestPatienceIsLostBySeconds(t *testing.T) {
	options := Options{ReadSilenceLimit: 100 * time.Millisecond, SilenceLimit: time.Second, SweepInterval: 20 * time.Millisecond}
	var patience readPatience
	patience.start(&options)
	patience.grow(patience.limit())
	patience.grow(patience.limit())
	c := &Conn{options: &options, patience: &patience}
	for _, want := range []time.Duration{400 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond} {
		for range 50 {
			require.Equal(t, want, patience.limit())
			c.easePatience()
		}
	}
}

// A read that takes a server long is no silence, since the server gives a sign of life when it is
// asked: once for each half of the limit, and not while it says other things.
func TestSignsOfLife(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{ReadSilenceLimit: readLimit})
		p := r.connect()
		p.probes = true
		c := r.start("key")
		question := p.mustNext()
		began := time.Now()
		for i := range 40 { // ten seconds, more than both limits
			asked := p.mustNext()
			require.Equal(t, probe.Method.Name(), asked.method.Name())
			require.Zero(t, asked.gpid, "servers must not take it for a request to a partition")
			requireBetween(t, time.Duration(i+1)*readLimit/2, time.Duration(2*i+2)*r.pool.options.SweepInterval, time.Since(began))
			p.write(asked.refusal(wire.ErrHandlerNotFound))
		}
		p.write(question.answer())
		c.requireAnswered(t)
		stats := r.node.Stats()
		require.EqualValues(t, 1, stats.Dials)
		require.Zero(t, stats.Unexpected+stats.Late)
		sent := stats.Sent
		for i := range 100 { // nobody asks who hears something all the time
			a := r.start(fmt.Sprint("key ", i))
			time.Sleep(readLimit / 3)
			p.write(p.mustNext().answer())
			a.requireAnswered(t)
		}
		require.EqualValues(t, 100, r.node.Stats().Sent-sent)
	})
}

// Only who finds the writer idle wakes it. A writer that woke for nothing would take itself for idle
// although somebody else is doing its work.
func TestSignsOfLifeDoNotDisturbWhoWrites(t *testing.T) {
	for _, idle := range []bool{true, false} {
		c := &Conn{kick: make(chan struct{}, 1), writerIdle: idle}
		c.askForLife()
		require.NotEmpty(t, c.out)
		require.Equal(t, idle, len(c.kick) == 1)
		require.False(t, c.writerIdle)
	}
}

// The longer limit is the shorter one if that is how it was set.
func TestReadSilenceLimitIsAtMostTheOther(t *testing.T) {
	options, err := Options{SilenceLimit: 100 * time.Millisecond}.withDefaults()
	require.NoError(t, err)
	require.Equal(t, 100*time.Millisecond, options.ReadSilenceLimit)
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{SilenceLimit: 100 * time.Millisecond, ReadSilenceLimit: time.Second})
		serve(t, r.network, silence)
		c := r.start("key")
		require.ErrorIs(t, c.result(), ErrSilent)
		requireBetween(t, 100*time.Millisecond, 2*r.pool.options.SweepInterval, c.took)
	})
}

// A node that takes longer than the limit is given more time, until it keeps up.
func TestPatienceWithASlowNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const delay = 3 * readLimit / 2
		r := newRig(t, Options{ReadSilenceLimit: readLimit})
		s := serve(t, r.network, func(p *peer) {
			p.probes = true
			for a, ok := p.next(); ok; a, ok = p.next() {
				time.Sleep(delay)
				p.write(a.answer())
			}
		})
		c := r.start("key")
		require.ErrorIs(t, c.result(), ErrSilent)
		time.Sleep(time.Second) // the pause after a connection that was good for nothing
		r.call("key")
		require.Equal(t, 2*readLimit, r.node.patience.limit())
		s.stop()
		synctest.Wait()
		serve(t, r.network, echo)
		for range 60 {
			r.call("key")
			time.Sleep(r.pool.options.SweepInterval)
		}
		require.Equal(t, readLimit, r.node.patience.limit())
	})
}

func TestPatienceHasAnEnd(t *testing.T) {
	for limit, most := range map[time.Duration]time.Duration{readLimit: 4 * readLimit, 3 * time.Second: 4 * time.Second, time.Hour: 4 * time.Second} {
		options, err := Options{ReadSilenceLimit: limit}.withDefaults()
		require.NoError(t, err)
		var p readPatience
		p.start(&options)
		for range 10 {
			p.grow(p.limit())
		}
		require.Equal(t, most, p.limit())
		for range 10 {
			p.ease()
		}
		require.Equal(t, min(limit, 4*time.Second), p.limit())
	}
}

// Bytes are signs of life even if they do not yet make a frame.
func TestSilenceIsNotAnAnswerInPieces(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{ReadSilenceLimit: readLimit})
		p := r.connect()
		c := r.start("key")
		for _, b := range p.mustNext().answer() {
			time.Sleep(readLimit / 2)
			p.write([]byte{b})
		}
		c.requireAnswered(t)
	})
}

// The sweep stays awake for a while after a lone caller, when nothing is expected. That time does not
// count as silence of the call that comes next.
func TestSilenceOfALoneCallerBeginsWithItsCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const interval = 100 * time.Millisecond
		r, p := loneRig(t, Options{SilenceLimit: 2 * interval, SweepInterval: interval})
		time.Sleep(2*interval - time.Millisecond)
		c := r.start("key")
		a := p.mustNext()
		time.Sleep(2*interval - 10*time.Millisecond)
		p.write(a.answer())
		c.requireAnswered(t)
	})
}

// A node is asked for a sign of life before it is given up, whatever the limits.
func TestNobodyIsGivenUpUnasked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{SilenceLimit: 10 * time.Millisecond, SweepInterval: time.Second})
		p := r.connect()
		p.probes = true
		c := r.start("key")
		question := p.mustNext()
		for range 5 {
			p.write(p.mustNext().refusal(wire.ErrHandlerNotFound))
		}
		p.write(question.answer())
		c.requireAnswered(t)
	})
}

// Several connections to a node that falls silent find out each for itself, and grow the node's
// patience together by as much as one would: none waits longer because another was faster.
func TestPatienceOfSeveralConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{ReadSilenceLimit: readLimit, ConnectionsPerNode: 4})
		serve(t, r.network, silence)
		require.NoError(t, r.node.Connect(t.Context()))
		var running sync.WaitGroup
		for i := range r.node.links {
			conn := r.node.links[i].conn.Load()
			running.Go(func() {
				time.Sleep(time.Duration(i) * 3 * time.Millisecond)
				began := time.Now()
				requireCallError(t, conn.do(t.Context(), &newGet("key").Request), StageAwaiting, retry.InDoubt, ErrSilent)
				requireBetween(t, readLimit, 2*r.pool.options.SweepInterval, time.Since(began))
			})
		}
		running.Wait()
		require.Equal(t, 2*readLimit, r.node.patience.limit())
	})
}

// A frame that announced more than it brings swallows the answers after it. The connection ends when
// that has gone on for long, whether callers wait for long or not.
func TestSilenceOfAFrameThatNeverEnds(t *testing.T) {
	for name, patience := range map[string]time.Duration{"patient": time.Hour, "impatient": 100 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{ReadSilenceLimit: readLimit})
				serve(t, r.network, func(p *peer) {
					p.probes = true
					p.write(sized(1 << 20))
					echo(p)
				})
				began := time.Now()
				for r.node.Epoch() == 0 {
					c := r.startWith(withDeadline("key", patience))
					require.Error(t, c.result())
					require.Less(t, time.Since(began), time.Minute)
				}
				limit := frameLimit * r.pool.options.SilenceLimit
				requireBetween(t, limit, time.Second, time.Since(began))
				require.ErrorIs(t, r.node.Stats().LastError, ErrSilent)
			})
		})
	}
}

// A frame may take eight times the limit to come, however slowly, 32 s by default. One that takes longer
// is the end of the connection: the bytes that still come are no signs of life any more.
func TestTimeOfAFrame(t *testing.T) {
	for _, limit := range []time.Duration{time.Second, 4 * time.Second} {
		for name, takes := range map[string]time.Duration{
			"just in time": 8*limit - 100*time.Millisecond, "too long": time.Hour,
		} {
			t.Run(fmt.Sprint(name, " ", limit), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, Options{ReadSilenceLimit: readLimit, SilenceLimit: limit})
					p := r.connect()
					c := r.start("key")
					frame := p.mustNext().answerWith(make([]byte, 1000))
					for began := time.Now(); time.Since(began) < takes && !c.ended(); time.Sleep(readLimit / 5) {
						p.write(frame[:1])
						frame = frame[1:]
					}
					p.write(frame)
					if takes < 8*limit {
						require.NoError(t, c.result())
						require.Len(t, c.value, 1000)
						require.Zero(t, r.node.Epoch())
						return
					}
					c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
					requireBetween(t, 8*limit, readLimit+3*r.pool.options.SweepInterval, c.took)
					require.EqualValues(t, 1, r.node.Epoch())
				})
			})
		}
	}
}
