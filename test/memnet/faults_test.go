package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/memnet"
)

// delay is the latency that the tests set: 30 ms one way.
const delay = 30 * time.Millisecond

func isOneOf(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

func TestLatencyIsOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.SetLatency(address, delay)
		l := listen(t, n, address)
		accepted := make(chan time.Duration, 1)
		elapsed := stopwatch()
		go func() {
			accept(t, l)
			accepted <- elapsed()
		}()
		dial(t, n, address)
		require.Equal(t, 2*delay, elapsed(), "a dial takes a round trip")
		require.Equal(t, delay, <-accepted)
	})
}

func TestLatencyDelaysBothDirections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.SetLatency(address, delay) // of a connection that is open
		elapsed := stopwatch()
		send(t, client, "request")
		require.Zero(t, elapsed(), "sending takes no time")
		requireNothing(t, server, delay-1)
		receive(t, server, "request")
		require.Equal(t, delay, elapsed())
		send(t, server, "answer")
		receive(t, client, "answer")
		require.Equal(t, 2*delay, elapsed())

		n.SetLatency(client.LocalAddr().String(), 2*delay)
		send(t, client, "latencies of both ends")
		receive(t, server, "latencies of both ends")
		require.Equal(t, 5*delay, elapsed())

		n.SetLatency(address, -delay)
		send(t, client, "less than none is none")
		receive(t, server, "less than none is none")
		require.Equal(t, 7*delay, elapsed())
	})
}

func TestLatencyIsPipelined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.SetLatency(address, delay)
		elapsed := stopwatch()
		for range 10 {
			send(t, client, "x")
			time.Sleep(time.Millisecond)
		}
		receive(t, server, "x")
		require.Equal(t, delay, elapsed())
		receive(t, server, "xxxxxxxxx")
		require.Equal(t, delay+9*time.Millisecond, elapsed())
	})
}

func TestBytesOnTheirWayUseTheBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, _ := connect(t, n, address)
		n.SetLatency(address, delay)
		require.Equal(t, memnet.BufferSize, fill(t, client))
	})
}

func TestLowerLatencyDoesNotReorder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.SetLatency(address, delay)
		elapsed := stopwatch()
		send(t, client, "first,")
		n.SetLatency(address, 0)
		send(t, client, "second")
		require.NoError(t, client.Close())
		receive(t, server, "first,second")
		require.Equal(t, delay, elapsed())
		_, err := server.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
	})
}

func TestRefusalTakesARoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.SetLatency(address, delay)
		elapsed := stopwatch()
		_, err := n.DialContext(t.Context(), "tcp", address)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.Equal(t, 2*delay, elapsed())
	})
}

// The news of a Close travel like all else: until they arrive, the other side
// writes in good faith.
func TestCloseTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.SetLatency(address, delay)
		elapsed := stopwatch()
		require.NoError(t, client.Close())
		send(t, server, "in good faith")
		full := start(server.Write, make([]byte, 2*memnet.BufferSize))
		_, err := server.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.Equal(t, delay, elapsed())
		requireBrokenPipe(t, (<-full).err)
		_, err = server.Write([]byte("x"))
		requireBrokenPipe(t, err)
		require.Equal(t, delay, elapsed())
	})
}

// Close has two pieces of news for the peer: nothing more to read, and no use
// in writing. Whoever has got the first one must not be able to write, even if
// the second one is late; here it is behind bytes of a time of higher latency.
func TestEndOfStreamMeansBrokenPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.SetLatency(address, delay)
		send(t, client, "slow")
		n.SetLatency(address, 0)
		elapsed := stopwatch()
		require.NoError(t, server.Close())
		full := start(client.Write, make([]byte, 2*memnet.BufferSize))
		synctest.Wait()
		require.Empty(t, full, "the client has not heard of it")

		_, err := client.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = client.Write([]byte("x"))
		requireBrokenPipe(t, err)
		requireBrokenPipe(t, (<-full).err)
		require.Zero(t, elapsed())
	})
}

func TestDialGivenUpInFlightLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		n.SetLatency(address, delay)
		l := listen(t, n, address)
		c, err := n.DialContext(within(t, delay*3/2), "tcp", address)
		require.Nil(t, c)
		requireOpError(t, err, context.DeadlineExceeded)
		require.Zero(t, n.Open(address))
		require.Equal(t, 1, n.Dials(address))

		elapsed := stopwatch()
		_, err = accept(t, l).Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		require.Equal(t, delay, elapsed())
	})
}

func TestBlackholeHoldsWhatIsSent(t *testing.T) {
	for name, latency := range map[string]time.Duration{"perfect": 0, "latency": delay} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				client, server := connect(t, n, address)
				n.SetLatency(address, latency)
				send(t, client, "arrived,")
				time.Sleep(latency)
				n.Blackhole(address, true)
				receive(t, server, "arrived,")
				send(t, client, "held,")
				time.Sleep(time.Minute)
				send(t, client, "held as well")
				send(t, server, "both directions")
				require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Hour)))
				clientReads := start(client.Read, make([]byte, 1))
				requireNothing(t, server, time.Hour)
				requireTimeout(t, (<-clientReads).err)
				require.NoError(t, client.SetReadDeadline(time.Time{}))

				elapsed := stopwatch()
				n.Blackhole(address, false)
				receive(t, server, "held,held as well")
				receive(t, client, "both directions")
				require.Equal(t, latency, elapsed())
			})
		})
	}
}

// What was on its way when the hole opened is lost with the rest, and sent
// again; what would have arrived at the same instant has arrived.
func TestBlackholeCatchesWhatIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.SetLatency(address, delay)
		send(t, client, "arrived,")
		time.Sleep(time.Millisecond)
		send(t, client, "in flight")
		time.Sleep(delay - time.Millisecond)
		n.Blackhole(address, true)
		receive(t, server, "arrived,")
		requireNothing(t, server, time.Hour)
		n.Blackhole(address, true) // once more makes no difference
		elapsed := stopwatch()
		n.Blackhole(address, false)
		receive(t, server, "in flight")
		require.Equal(t, delay, elapsed())
	})
}

func TestBlackholeWakesReadersWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.Blackhole(address, true)
		require.Equal(t, memnet.BufferSize, fill(t, client), "writes succeed until the buffer is full")
		reader := start(func(b []byte) (int, error) { return io.ReadFull(server, b) }, make([]byte, memnet.BufferSize+1))
		writer := start(client.Write, []byte("x"))
		time.Sleep(time.Hour)
		require.Empty(t, reader)
		require.Empty(t, writer)
		n.Blackhole(address, false)
		require.Equal(t, result{1, nil}, <-writer)
		require.Equal(t, result{memnet.BufferSize + 1, nil}, <-reader)
	})
}

func TestBlackholeHoldsTheNewsOfClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.Blackhole(address, true)
		send(t, server, "last words")
		require.NoError(t, server.Close())
		requireNothing(t, client, time.Hour)
		send(t, client, "in good faith")
		require.Equal(t, 1, n.Open(address))
		n.Blackhole(address, false)
		receive(t, client, "last words")
		_, err := client.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
		_, err = client.Write([]byte("x"))
		requireBrokenPipe(t, err)
	})
}

// The network remembers a connection that only one end has closed: the other
// end has yet to hear of it.
func TestBlackholeEndsForTheEndThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		n.Blackhole(address, true)
		send(t, client, "last words")
		require.NoError(t, client.Close())
		requireNothing(t, server, time.Hour)
		n.Blackhole(address, false)
		receive(t, server, "last words")
		_, err := server.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err)
	})
}

func TestBlackholeSwallowsDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		listen(t, n, address)
		n.Blackhole(address, true)
		elapsed := stopwatch()
		_, err := n.DialContext(within(t, time.Minute), "tcp", address)
		described := requireOpError(t, err, context.DeadlineExceeded)
		require.True(t, described.Timeout())
		require.Equal(t, time.Minute, elapsed())
		require.Zero(t, n.Dials(address))

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		_, err = n.DialContext(ctx, "tcp", address)
		requireOpError(t, err, context.Canceled)
		require.Equal(t, 2*time.Minute, elapsed())
	})
}

// The hole opens while the request, or the answer, of a dial is on its way.
// When it is gone, what was lost is sent again.
func TestBlackholeOpensDuringDial(t *testing.T) {
	for name, test := range map[string]struct {
		opens, takes time.Duration
		dials        int
	}{
		"request": {delay / 2, time.Hour + 2*delay, 0},
		"answer":  {delay * 3 / 2, time.Hour + delay, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New()
				n.SetLatency(address, delay)
				listen(t, n, address)
				time.AfterFunc(test.opens, func() { n.Blackhole(address, true) })
				time.AfterFunc(time.Hour-1, func() {
					require.Equal(t, test.dials, n.Dials(address))
				})
				time.AfterFunc(time.Hour, func() { n.Blackhole(address, false) })
				elapsed := stopwatch()
				dial(t, n, address)
				require.Equal(t, test.takes, elapsed())
			})
		})
	}
}

func TestBlackholeOfOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		l := listen(t, n, address)
		lost, lostServer := dial(t, n, address), accept(t, l)
		well, wellServer := dial(t, n, address), accept(t, l)
		n.Blackhole(lost.LocalAddr().String(), true)
		send(t, lost, "lost")
		send(t, well, "well")
		receive(t, wellServer, "well")
		requireNothing(t, lostServer, time.Hour)

		// A hole at the other end as well: both have to end.
		n.Blackhole(address, true)
		n.Blackhole(lost.LocalAddr().String(), false)
		requireNothing(t, lostServer, time.Hour)
		n.Blackhole(address, false)
		receive(t, lostServer, "lost")
	})
}

func TestResetBreaksBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		client, server := connect(t, n, address)
		elsewhere, elsewhereServer := connect(t, n, otherAddress)
		n.SetLatency(address, delay)
		n.Blackhole(address, true)
		var pending []<-chan result
		for _, c := range [...]net.Conn{client, server} {
			fill(t, c)
			pending = append(pending, start(c.Read, make([]byte, 1)), start(c.Write, make([]byte, 1)))
		}
		synctest.Wait()
		elapsed := stopwatch()
		n.Reset(address)
		for _, p := range pending {
			requireOpError(t, (<-p).err, syscall.ECONNRESET)
		}
		require.Zero(t, elapsed(), "neither latency nor black hole hold it up")
		for _, call := range [...]func([]byte) (int, error){client.Read, client.Write, server.Read, server.Write} {
			_, err := call(make([]byte, 1))
			requireOpError(t, err, syscall.ECONNRESET)
		}
		send(t, elsewhere, "not concerned")
		receive(t, elsewhereServer, "not concerned")

		require.Equal(t, 1, n.Open(address))
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
		require.Zero(t, n.Open(address))
		_, err := client.Read(make([]byte, 1))
		requireOpError(t, err, net.ErrClosed)
	})
}

func TestResetDropsWhatWasNotRead(t *testing.T) {
	n := memnet.New()
	l := listen(t, n, address)
	client := dial(t, n, address)
	send(t, client, "lost")
	n.Reset(client.LocalAddr().String()) // the address of the other end
	_, err := accept(t, l).Read(make([]byte, 4))
	requireOpError(t, err, syscall.ECONNRESET)

	client, server := dial(t, n, address), accept(t, l)
	send(t, client, "a new connection")
	receive(t, server, "a new connection")
}

func TestRefuse(t *testing.T) {
	n := memnet.New()
	l := listen(t, n, address)
	client := dial(t, n, address)
	n.Refuse(address, true)
	_, err := n.DialContext(t.Context(), "tcp", address)
	requireOpError(t, err, syscall.ECONNREFUSED)
	server := accept(t, l)
	send(t, client, "not concerned")
	receive(t, server, "not concerned")
	n.Refuse(address, false)
	dial(t, n, address)
}

func TestChunkLimitsReads(t *testing.T) {
	n := memnet.New()
	n.SetChunk(address, 3)
	client, server := connect(t, n, address)
	read := func(c net.Conn, size int) int {
		got, err := c.Read(make([]byte, size))
		require.NoError(t, err)
		return got
	}
	send(t, client, "0123456789")
	send(t, server, "0123456789")
	require.Equal(t, 3, read(server, 8))
	require.Equal(t, 3, read(client, 8), "at both ends")
	require.Equal(t, 2, read(client, 2))

	for _, c := range [...]struct{ client, server, want int }{
		{1, 3, 1}, {3, 1, 1}, {2, 0, 2}, {-1, 2, 2}, {0, -1, 4},
	} {
		n.SetChunk(client.LocalAddr().String(), c.client)
		n.SetChunk(address, c.server)
		require.Equal(t, c.want, read(server, 4), "%+v", c)
		send(t, client, "0123456789"[:c.want])
	}
}
