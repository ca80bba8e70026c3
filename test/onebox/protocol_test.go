package onebox_test

import (
	"encoding/binary"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// The frames of docs/protocol.md, frames, byte by byte: key "h" "s" of partition 2.3, value "v".
const (
	getHeaderV0 = "54484654 00000000 00000030 00000000 00000029 00000000 00000002 00000003 000003e8 00003de1 1122334455667788"
	getHeaderV1 = "54484654 00000001 00000025 00000029 08000100000002 08000200000003 080003000003e8 0a00041122334455667788 02000500 00"
	getBody     = "80010001 00000011 5250435f525244425f525244425f474554 00000001 0c 0001 00000004 00016873 00"
	notFound    = "0000003d 00000014 4552525f4f424a4543545f4e4f545f464f554e44 80010002 00000015 5250435f525244425f525244425f4745545f41434b 00000001"
	// success is cut before the server, which is "h:1" there.
	successSize = 0x5b
	success     = "00000006 4552525f4f4b 80010002 00000015 5250435f525244425f525244425f4745545f41434b 00000001" +
		"0c0000 080001 00000000 0c0002 00000001 76 080003 00000002 080004 00000003 0b0006"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return data
}

func TestFramesOfTheReference(t *testing.T) {
	// The partition hash there is made up, which is a violation.
	b := newRudeBox(t, onebox.Config{Replicas: 4}, onebox.TableOptions{Partitions: 1})
	_, err := b.CreateTable("two", onebox.TableOptions{Partitions: 4})
	require.NoError(t, err)
	node := b.Primary("two", 3)
	_, err = b.exchange(node, wire.Put, &wire.PutRequest{Key: rawKey("h", "s"), Value: []byte("v")}, wire.Header{
		GPID: wire.GPID{AppID: 2, PartitionIndex: 3}, PartitionHash: wire.KeyHash([]byte("h"), nil),
	})
	require.NoError(t, err)

	server := node.Address()
	found := binary.BigEndian.AppendUint32(nil, uint32(successSize+len(server)-len("h:1")))
	found = append(found, unhex(t, success)...)
	found = binary.BigEndian.AppendUint32(found, uint32(len(server)))
	found = append(append(found, server...), 0, 0)
	absent := b.Replica((node.Index() + 3) % 4)
	for header, version := range map[string]string{getHeaderV0: "v0", getHeaderV1: "v1"} {
		for at, want := range map[*onebox.Node][]byte{node: found, absent: unhex(t, notFound)} {
			c := dial(t, b.Cluster, at)
			c.write(unhex(t, header+getBody))
			got := make([]byte, len(want))
			_, err := io.ReadFull(c.conn, got)
			require.NoError(t, err)
			require.Equal(t, want, got, version)
		}
	}
}

// exchange sends one request with the given header.
func (b *box) exchange(node *onebox.Node, method *wire.Method, in wire.Arguments, header wire.Header) (answer, error) {
	b.t.Helper()
	c := dial(b.t, b.Cluster, node)
	c.send(header, method, in)
	return c.receive(nil)
}

// Names are significant up to 47 bytes, in requests and with "_ACK" in replies.
func TestLongNamesAreCut(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	c := dial(t, b.Cluster, b.Meta(0))
	name := "RPC_LONG_" + strings.Repeat("X", 51)
	header := wire.Header{TimeoutMillis: 1000}
	request := wire.AppendRequestV0(nil, &header, wire.NewMethod(""), -7, wire.Blob(nil))
	const lengthAt = 48 + 4
	request = append(request[:lengthAt+4:lengthAt+4], append([]byte(name), request[lengthAt+4:]...)...)
	binary.BigEndian.PutUint32(request[lengthAt:], uint32(len(name)))
	binary.BigEndian.PutUint32(request[16:], uint32(len(request)-48))
	c.write(request)
	got, err := c.receive(nil)
	require.NoError(t, err)
	require.Equal(t, wire.ErrHandlerNotFound, got.Error)
	require.Equal(t, name[:47], got.Name, "no room for _ACK")
	require.EqualValues(t, -7, got.Sequence)
}
