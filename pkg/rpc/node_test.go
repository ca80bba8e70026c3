package rpc

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

func TestNodeSpreadsCallsOverItsConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const connections = 4
		r := newRig(t, Options{ConnectionsPerNode: connections})
		s := listen(t, r.network)
		require.NoError(t, r.node.Connect(t.Context()))
		require.NoError(t, r.node.Connect(t.Context()), "there is nothing left to do")
		require.Equal(t, connections, r.network.Dials(address))
		var mu sync.Mutex
		served := make(map[*peer]int)
		peers := make([]*peer, connections)
		for i := range peers {
			peers[i] = s.accept()
			go func() {
				for a, ok := peers[i].next(); ok; a, ok = peers[i].next() {
					mu.Lock()
					served[peers[i]]++
					mu.Unlock()
					peers[i].write(a.answer())
				}
			}()
		}
		for i := range 400 {
			r.call(fmt.Sprint("key ", i))
		}
		require.Equal(t, connections, r.node.Stats().Connections)
		require.EqualValues(t, 400, r.node.Stats().Received)
		for _, p := range peers {
			require.Greater(t, served[p], 400/connections/2)
		}

		// One is lost: the others go on, and it comes back when a call needs it.
		peers[2].close()
		synctest.Wait()
		require.Equal(t, connections-1, r.node.Stats().Connections)
		require.EqualValues(t, 400, r.node.Stats().Received, "its counters stay")
		s.run(echo)
		for i := range 100 {
			r.call(fmt.Sprint("key ", i))
		}
		require.Equal(t, connections, r.node.Stats().Connections)
		require.Equal(t, connections+1, r.network.Dials(address))
	})
}

func TestNodeConnectFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		requireCallError(t, r.node.Connect(t.Context()), StageConnecting, retry.NotSent, ErrConnect)
	})
}

// Retire lets what is in flight finish, closes the connection then, and the next call makes a new one.
func TestNodeRetire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		s := listen(t, r.network)
		r.node.Retire() // nothing to retire
		first, second := r.start("first"), r.start("second")
		p := s.accept()
		a, b := p.mustNext(), p.mustNext()
		r.node.Retire()
		r.node.Retire()
		synctest.Wait()
		require.False(t, first.ended() || second.ended())
		stats := r.node.Stats()
		require.Equal(t, 1, stats.Connections)
		require.Equal(t, 2, stats.InFlight)
		require.EqualValues(t, 2, stats.Sent, "counters never fall")

		third := r.start("third") // it does not touch the old connection
		q := s.accept()
		q.write(q.mustNext().answer())
		third.requireAnswered(t)

		p.write(a.answer())
		synctest.Wait()
		require.NotEqual(t, first.ended(), second.ended())
		p.write(b.answer())
		first.requireAnswered(t)
		second.requireAnswered(t)
		p.ended()
		synctest.Wait()
		stats = r.node.Stats()
		require.Equal(t, 1, stats.Connections)
		require.EqualValues(t, 3, stats.Sent)
		require.EqualValues(t, 3, stats.Received)
		require.Zero(t, stats.Epoch, "nobody has reason to doubt the node")
		require.NoError(t, stats.LastError)
	})
}

// An idle connection is closed at once. So is one whose last call is cancelled, or out of time.
func TestNodeRetireEndsWithTheLastCall(t *testing.T) {
	for name, end := range map[string]func(c *background){
		"idle":        nil,
		"cancelled":   func(c *background) { c.cancel() },
		"out of time": func(*background) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{})
				p := r.connect()
				if end != nil {
					c := r.startWith(withDeadline("key", 100*time.Millisecond))
					p.mustNext()
					r.node.Retire()
					end(c)
					require.Error(t, c.result())
				} else {
					r.node.Retire()
				}
				began := time.Now()
				p.ended()
				require.Zero(t, time.Since(began), "it was left to the silence limit")
				synctest.Wait()
				require.Zero(t, r.node.Stats().Connections)
				require.Nil(t, r.conn())
				require.Zero(t, r.node.Epoch())
			})
		})
	}
}

// A retired connection whose calls are never answered does not live for ever either.
func TestNodeRetireOfASilentConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		c := r.start("key")
		p.mustNext()
		r.node.Retire()
		c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrSilent)
	})
}

// Callers that wait for admission move from a retired connection to the next one, but not for ever.
func TestNodeRetireMovesWaitingCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		s := listen(t, r.network)
		calls := r.startInOrder(4)
		var peers []*peer
		for range maxTurns {
			peers = append(peers, s.accept())
			r.node.Retire()
			synctest.Wait()
		}
		// Each connection had room for one, which one is not said. Who was turned away by all of them
		// gives up.
		for _, p := range peers {
			p.write(p.mustNext().answer())
			p.ended()
		}
		turnedAway := 0
		for _, c := range calls {
			if c.result() == nil {
				c.requireAnswered(t)
				continue
			}
			c.requireFailed(t, StageConnecting, retry.NotSent, ErrRetired)
			turnedAway++
		}
		require.Equal(t, 1, turnedAway)
	})
}

// A connection whose every slot waits for answers that never came retires itself.
func TestNodeReplacesAWornOutConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 2})
		s := listen(t, r.network)
		kept := r.start("kept")
		p := s.accept()
		a := p.mustNext()
		worn := r.conn()
		worn.mu.Lock()
		require.Equal(t, 0, kept.slotOn(worn))
		worn.pending.slots = append(worn.pending.slots, slot{abandoned: 1}) // out of service
		worn.mu.Unlock()

		fresh := r.start("fresh")
		q := s.accept()
		q.write(q.mustNext().answer())
		fresh.requireAnswered(t)
		require.False(t, kept.ended())
		p.write(a.answer())
		kept.requireAnswered(t)
		p.ended()
	})
}

// slotOn finds the slot of the only call in flight.
func (b *background) slotOn(c *Conn) int {
	for i := range c.pending.slots {
		if pending := c.pending.slots[i].call; pending != nil && pending.request.Result == b.Result {
			return i
		}
	}
	return -1
}

// clearScanner is a one-way request.
func clearScanner(id int64) *Request {
	context := wire.Int64(id)
	return &Request{Method: wire.ClearScanner, Header: wire.Header{TimeoutMillis: 1}, Arguments: &context}
}

// A one-way request leaves nothing behind, and what a server answers nevertheless is ignored.
func TestNodeSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		requireCallError(t, r.node.Send(clearScanner(1)), StageConnecting, retry.NotSent, ErrConnect)
		require.Zero(t, r.node.Stats().Dials, "it never connects")

		p := r.connect()
		require.NoError(t, r.node.Send(clearScanner(5)))
		a := p.mustNext()
		require.Equal(t, wire.ClearScanner.Name(), a.method.Name())
		require.Equal(t, onewaySequence, a.sequence)
		stats := r.node.Stats()
		require.Zero(t, stats.InFlight)
		require.EqualValues(t, 1, stats.Sent)
		require.False(t, r.conn().sweep.armed, "no answer is awaited")

		p.write(a.refusal(wire.ErrObjectNotFound))
		c := r.start("key")
		p.write(p.mustNext().answer())
		c.requireAnswered(t)
		stats = r.node.Stats()
		require.Zero(t, stats.Unexpected, "such an answer is no news")
		require.EqualValues(t, 2, stats.Received)
		require.Zero(t, stats.Epoch)
	})
}

// It never waits: on a connection without room it is dropped.
func TestNodeSendWithoutRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{Window: 1})
		p := r.connect()
		c := r.start("key")
		a := p.mustNext()
		requireCallError(t, r.node.Send(clearScanner(5)), StageAdmission, retry.NotSent, ErrBusy)
		p.write(a.answer())
		c.requireAnswered(t)
		require.NoError(t, r.node.Send(clearScanner(5)))
		require.Equal(t, wire.ClearScanner.Name(), p.mustNext().method.Name())
	})
}

// Counters of connections that are no more stay counted.
func TestNodeStatsOutliveConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		var last NodeStats
		for round := uint64(1); round <= 5; round++ {
			s := serve(t, r.network, func(p *peer) {
				a, _ := p.next()
				p.write(a.answer())
				p.next()
			})
			r.call("answered")
			require.ErrorIs(t, r.start("lost").result(), io.ErrUnexpectedEOF)
			s.stop()
			stats := r.node.Stats()
			require.Equal(t, address, stats.Address)
			require.Equal(t, 2*round, stats.Sent)
			require.Equal(t, round, stats.Received)
			require.Equal(t, round, stats.Dials)
			require.EqualValues(t, round, stats.Epoch)
			require.Greater(t, stats.Flushes, last.Flushes)
			require.ErrorIs(t, stats.LastError, io.ErrUnexpectedEOF)
			last = stats
		}
	})
}
