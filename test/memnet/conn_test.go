package memnet_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/memnet"
)

func requireBrokenPipe(t testing.TB, err error) {
	t.Helper()
	require.Equal(t, "write", requireOpError(t, err, syscall.EPIPE).Op)
}

func TestWriterWaitsForTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, memnet.New(), address)
		require.Equal(t, memnet.BufferSize, fill(t, client))
		require.Equal(t, memnet.BufferSize, fill(t, server), "each direction has its own buffer")

		writer := start(client.Write, []byte("more"))
		synctest.Wait()
		require.Empty(t, writer)
		_, err := io.ReadFull(server, make([]byte, 3))
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, writer, "three bytes of room are not enough for four")
		_, err = io.ReadFull(server, make([]byte, memnet.BufferSize-3))
		require.NoError(t, err)
		receive(t, server, "more")
		require.Equal(t, result{4, nil}, <-writer)
	})
}

// Two writers: the first one waits for room and the second one for its turn. If
// the second one waited in a mutex, the clock of the bubble would stop.
func TestWaitingWritersLetTimePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, memnet.New(), address)
		fill(t, client)
		first, second := start(client.Write, make([]byte, 1)), start(client.Write, make([]byte, 1))
		time.Sleep(time.Hour)
		require.NoError(t, client.SetWriteDeadline(time.Now().Add(time.Hour)))
		time.Sleep(2 * time.Hour)
		requireTimeout(t, (<-first).err)
		requireTimeout(t, (<-second).err)
		_ = server
	})
}

// Each Write is more than the buffer holds, so that it has to wait in between.
func TestConcurrentWritesAreNotMixed(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		const writers, size = 4, memnet.BufferSize + 1000
		client, server := connect(t, memnet.New(), address)
		var done []<-chan result
		for i := range writers {
			done = append(done, start(client.Write, bytes.Repeat([]byte{byte(i)}, size)))
		}
		got := make([]byte, size)
		for range writers {
			_, err := io.ReadFull(server, got)
			require.NoError(t, err)
			require.Equal(t, bytes.Repeat(got[:1], size), got)
		}
		for _, d := range done {
			require.Equal(t, result{size, nil}, <-d)
		}
	})
}

// Those who wait for their turn learn that the peer is gone from the one whose
// turn it is, when it gives up.
func TestWaitingWritersLearnThatThePeerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, memnet.New(), address)
		fill(t, client)
		var done []<-chan result
		for range 5 {
			done = append(done, start(client.Write, make([]byte, 100)))
		}
		for range 10 { // shuffles the order in which they will be woken
			synctest.Wait()
			receive(t, server, "\x00")
		}
		synctest.Wait()
		require.NoError(t, server.Close())
		for _, d := range done {
			requireBrokenPipe(t, (<-d).err)
		}
	})
}

// A timer may fire between being set and its owner waiting. A wake-up that came
// too early and was lost would leave a reader waiting for ever.
func TestShortDeadlinesAreNotMissed(t *testing.T) {
	client, _ := connect(t, memnet.New(), address)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 2000 {
				_ = client.SetReadDeadline(time.Now().Add(time.Microsecond))
				_, err := client.Read(make([]byte, 1))
				requireTimeout(t, err)
			}
		})
	}
	wg.Wait()
}

func TestOneOfManyClosesSucceeds(t *testing.T) {
	everywhere(t, func(t *testing.T) {
		for range 50 {
			client, _ := connect(t, memnet.New(), address)
			var done []<-chan result
			for range 4 {
				done = append(done, start(func([]byte) (int, error) { return 0, client.Close() }, nil))
			}
			succeeded := 0
			for _, d := range done {
				if err := (<-d).err; err == nil {
					succeeded++
				} else {
					require.ErrorIs(t, err, net.ErrClosed)
				}
			}
			require.Equal(t, 1, succeeded)
		}
	})
}

func TestAddressesAndErrorsLookLikeTCP(t *testing.T) {
	for _, address := range [...]string{address, otherAddress} {
		client, server := connect(t, memnet.New(), address)
		require.Equal(t, address, client.RemoteAddr().String())
		require.Equal(t, address, server.LocalAddr().String())
		require.Equal(t, client.LocalAddr(), server.RemoteAddr())
		require.IsType(t, &net.TCPAddr{}, client.LocalAddr())
		require.IsType(t, &net.TCPAddr{}, client.RemoteAddr())

		require.NoError(t, server.Close())
		_, err := client.Write([]byte("x"))
		described := requireOpError(t, err, syscall.EPIPE)
		require.Equal(t, "tcp", described.Net)
		require.Equal(t, client.LocalAddr(), described.Source)
		require.Equal(t, client.RemoteAddr(), described.Addr)
	}
}

func TestDeadlinesAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connect(t, memnet.New(), address)
		for _, c := range [...]struct {
			name          string
			first, second time.Duration // the second one is set while the call waits
			takes         time.Duration
		}{
			{"kept", time.Minute, time.Minute, time.Minute},
			{"prolonged", time.Minute, time.Hour, time.Hour},
			{"shortened", time.Hour, time.Minute, time.Minute},
			{"now", time.Hour, time.Second, time.Second},
		} {
			elapsed, began := stopwatch(), time.Now()
			require.NoError(t, client.SetReadDeadline(began.Add(c.first)))
			reader := start(client.Read, make([]byte, 1))
			time.Sleep(time.Second)
			require.NoError(t, client.SetReadDeadline(began.Add(c.second)))
			requireTimeout(t, (<-reader).err)
			require.Equal(t, c.takes, elapsed(), c.name)
		}
	})
}

func TestClearedDeadlineNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, memnet.New(), address)
		require.NoError(t, client.SetReadDeadline(time.Now().Add(time.Minute)))
		reader := start(client.Read, make([]byte, 1))
		synctest.Wait()
		require.NoError(t, client.SetReadDeadline(time.Time{}))
		time.Sleep(time.Hour)
		require.Empty(t, reader)
		send(t, server, "x")
		require.Equal(t, result{1, nil}, <-reader)
	})
}
