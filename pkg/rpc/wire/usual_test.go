package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// decodeGeneral decodes as GetResponse.Decode does for bytes that are not as usual.
func decodeGeneral(data []byte) (GetResponse, Reader) {
	var m GetResponse
	r := NewReader(data)
	for c := readStruct(&r); c.more(); {
		m.fields(&c)
	}
	return m, r
}

// requireSameAsGeneral checks that the short cut, if it is taken, changes nothing.
func requireSameAsGeneral(t require.TestingT, data []byte) (taken bool) {
	var m GetResponse
	r := NewReader(data)
	taken = m.decodeUsual(&r)
	if !taken {
		require.Equal(t, NewReader(data), r)
		require.Zero(t, m)
		return false
	}
	want, reference := decodeGeneral(data)
	require.NoError(t, reference.err)
	require.Equal(t, reference.offset, r.offset)
	require.Equal(t, reference.field, r.field)
	require.Equal(t, want.Status, m.Status)
	require.True(t, bytes.Equal(want.Value, m.Value))
	require.Equal(t, want.Origin.GPID, m.Origin.GPID)
	require.True(t, bytes.Equal(want.Origin.Server, m.Origin.Server))
	require.Equal(t, len(m.Value), cap(m.Value))
	return true
}

func usualBytes(m *GetResponse) []byte {
	return m.AppendField(nil, 0)[fieldHeaderSize:]
}

func TestUsualGetResponse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := usualBytes(&GetResponse{
			Status: Status(rapid.Int32().Draw(t, "status")),
			Value:  rapid.SliceOf(rapid.Byte()).Draw(t, "value"),
			Origin: Origin{
				GPID:   GPID{AppID: rapid.Int32().Draw(t, "app"), PartitionIndex: rapid.Int32().Draw(t, "index")},
				Server: []byte(rapid.String().Draw(t, "server")),
			},
		})
		require.True(t, requireSameAsGeneral(t, append(data, rapid.SliceOf(rapid.Byte()).Draw(t, "rest")...)))
		for n := range data {
			require.False(t, requireSameAsGeneral(t, data[:n]), "truncated at %d", n)
		}
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		data[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		requireSameAsGeneral(t, data)
	})
}

func FuzzUsualGetResponse(f *testing.F) {
	f.Add(usualBytes(&GetResponse{Value: []byte("value"), Origin: Origin{GPID: GPID{AppID: 2, PartitionIndex: 3}, Server: []byte("h:1")}}))
	f.Add(usualBytes(&GetResponse{}))
	f.Fuzz(func(t *testing.T, data []byte) { requireSameAsGeneral(t, data) })
}
