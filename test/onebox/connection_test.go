package onebox_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// pipelined returns puts of so many values of the given size, gets of them, and the replies to these.
func pipelined(b *box, count, size int) (puts, gets, replies []byte) {
	for i := range count {
		key := rawKey(fmt.Sprint("key", i), "s")
		header := b.header(key)
		header.TimeoutMillis = 1000
		value := bytes.Repeat([]byte{byte(i)}, size)
		encode := wire.AppendRequestV1
		if i%2 == 0 {
			encode = wire.AppendRequestV0
		}
		puts = encode(puts, &header, wire.Put, int32(i), &wire.PutRequest{Key: key, Value: value})
		gets = encode(gets, &header, wire.Get, int32(i), wire.Blob(key))
		server := []byte(b.Primary(tableName, 0).Address())
		replies = wire.AppendResponse(replies, wire.ErrOK, wire.Get, int32(i),
			&wire.GetResponse{Value: value, Origin: wire.Origin{GPID: header.GPID, Server: server}})
	}
	return puts, gets, replies
}

// writePieces writes data in pieces of the given size.
func writePieces(conn net.Conn, data []byte, size int) error {
	for len(data) > 0 {
		n, err := conn.Write(data[:min(size, len(data))])
		if err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// Requests arrive cut in any way, and may exceed the buffers, one alone or many together.
func TestRequestsInPieces(t *testing.T) {
	for _, test := range []struct{ count, size, piece int }{
		{10, 10, 1}, {50, 1000, 77}, {3000, 200, 1 << 20}, {3, 500_000, 8191},
	} {
		t.Run(fmt.Sprintf("%+v", test), func(t *testing.T) {
			onBothNetworks(t, func(t *testing.T, config onebox.Config) {
				b := newBox(t, config, onebox.TableOptions{Partitions: 1})
				c := b.primary(rawKey("a", "b"))
				puts, gets, replies := pipelined(b, test.count, test.size)
				written := make(chan error, 1)
				go func() { written <- writePieces(c.conn, puts, test.piece) }()
				for i := range test.count {
					got, err := c.receive(nil)
					require.NoError(t, err)
					require.EqualValues(t, i, got.Sequence)
				}
				require.NoError(t, <-written)

				go func() { written <- writePieces(c.conn, gets, test.piece) }()
				got := make([]byte, len(replies))
				_, err := io.ReadFull(c.conn, got)
				require.NoError(t, err)
				require.True(t, bytes.Equal(replies, got))
				require.NoError(t, <-written)
			})
		})
	}
}

// The old form of a message begin has no version: length, name, type, sequence id.
func TestOldMessageBegin(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	b.put(c, key, "v")
	request := edited(b, 1, wire.Get, wire.Blob(key), key, nil, nil)
	begin := 53
	name := len(wire.Get.Name())
	old := append([]byte{}, request[:begin]...)
	old = append(old, request[begin+4:begin+8+name]...) // length and name
	old = append(old, 1)                                // type
	old = append(old, request[begin+8+name:]...)        // sequence id and arguments
	old[15] -= 3
	c.write(old)
	var result wire.GetResponse
	got, err := c.receive(&result)
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Sequence)
	require.Equal(t, "v", string(result.Value))
}

func TestOversizedFrameIsCutOff(t *testing.T) {
	b := newRudeBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	c := b.primary(key)
	request := edited(b, 0, wire.Get, wire.Blob(key), key, nil, func(frame []byte) []byte {
		frame[16] = 0x10 // 256 MiB
		return frame
	})
	c.write(request)
	b.get(b.primary(key), key) // memory is not set aside for what only was announced
	require.Error(t, writePieces(c.conn, make([]byte, 64<<20), 1<<20))
	within(t, func() bool { return len(b.Violations()) == 1 }, "the frame is reported")
}

// A connection that reads no replies does not stop others.
func TestSlowReader(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{Partitions: 1})
	key := rawKey("a", "b")
	b.put(b.primary(key), key, string(make([]byte, 1<<19)))
	lazy := b.primary(key)
	for range 64 {
		lazy.send(b.header(key), wire.Get, wire.Blob(key))
	}
	for range 10 {
		b.put(b.primary(key), key, "v")
	}
}
