package hostile

import (
	"context"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
)

// streams are what a server sends for ever, one piece every millisecond.
var streams = map[string][]byte{
	"answers nobody waits for": wire.AppendResponse(nil, wire.ErrOK, wire.Get, 123456, &wire.GetResponse{Value: make([]byte, 1000)}),
	"a frame that never ends":  binary.BigEndian.AppendUint32(nil, maxResponse),
	"a frame too large":        binary.BigEndian.AppendUint32(nil, maxResponse+1),
	"noise":                    []byte("GET / HTTP/1.1\r\nHost: pegasus\r\n\r\n"),
	"zeros":                    make([]byte, 1000),
}

// TestEndlessStream has a client whose only meta server sends without end, whatever it is asked. Its
// callers get an error in time all the same, and it closes at once.
func TestEndlessStream(t *testing.T) {
	for name, piece := range streams {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := memnet.New()
				l := newLiar(t, network, liarAddress)
				l.sends(func(int32) []byte { return piece })
				l.pours = piece
				client, err := pegasus.Open([]string{liarAddress}, pegasus.WithDialer(network.DialContext))
				require.NoError(t, err)
				before := inUse()
				for range 3 {
					ctx, cancel := context.WithTimeout(context.Background(), within)
					began := time.Now()
					_, err = client.OpenTable(ctx, tableName)
					require.Error(t, err)
					require.LessOrEqual(t, time.Since(began), within+time.Millisecond)
					cancel()
				}
				require.LessOrEqual(t, inUse(), before+mostKept)
				began := time.Now()
				require.NoError(t, client.Close())
				require.Less(t, time.Since(began), 100*time.Millisecond)
			})
		})
	}
}
