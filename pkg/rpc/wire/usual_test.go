package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// shortCut is a struct that has one.
type shortCut[T any] interface {
	*T
	decodeUsual(r *Reader) bool
	fields(c *coder)
}

// usual is how a struct with a short cut is tested.
type usual[T any, P shortCut[T]] struct {
	draw  func(t *rapid.T) T
	bytes func(m *T) [][]byte // what points into the frame
}

var (
	usualGetResponse = usual[GetResponse, *GetResponse]{
		func(t *rapid.T) GetResponse {
			return GetResponse{
				Status: Status(rapid.Int32().Draw(t, "status")), Value: drawBytes(t, "value"),
				Origin: Origin{
					GPID:   GPID{AppID: rapid.Int32().Draw(t, "app"), PartitionIndex: rapid.Int32().Draw(t, "index")},
					Server: drawBytes(t, "server"),
				},
			}
		},
		func(m *GetResponse) [][]byte { return [][]byte{m.Value, m.Origin.Server} },
	}
	usualUpdateResponse = usual[UpdateResponse, *UpdateResponse]{
		func(t *rapid.T) UpdateResponse {
			return UpdateResponse{
				Status: Status(rapid.Int32().Draw(t, "status")), Decree: rapid.Int64().Draw(t, "decree"),
				Origin: Origin{
					GPID:   GPID{AppID: rapid.Int32().Draw(t, "app"), PartitionIndex: rapid.Int32().Draw(t, "index")},
					Server: drawBytes(t, "server"),
				},
			}
		},
		func(m *UpdateResponse) [][]byte { return [][]byte{m.Origin.Server} },
	}
	usualKeyValue = usual[KeyValue, *KeyValue]{
		func(t *rapid.T) KeyValue {
			m := KeyValue{Key: drawBytes(t, "key"), Value: drawBytes(t, "value"), HasExpiry: rapid.Bool().Draw(t, "has expiry")}
			if m.HasExpiry {
				m.ExpireSeconds = rapid.Int32().Draw(t, "expiry")
			}
			return m
		},
		func(m *KeyValue) [][]byte { return [][]byte{m.Key, m.Value} },
	}
	usualFullData = usual[FullData, *FullData]{
		func(t *rapid.T) FullData {
			return FullData{HashKey: drawBytes(t, "hash key"), SortKey: drawBytes(t, "sort key"), Value: drawBytes(t, "value")}
		},
		func(m *FullData) [][]byte { return [][]byte{m.HashKey, m.SortKey, m.Value} },
	}
)

func drawBytes(t *rapid.T, name string) []byte {
	return append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, name)...)
}

func (u usual[T, P]) encode(m T) []byte {
	var c coder
	P(&m).fields(&c)
	return c.end()
}

// requireSameAsGeneral checks that the short cut, if it is taken, changes nothing.
func (u usual[T, P]) requireSameAsGeneral(t require.TestingT, data []byte) (taken bool) {
	var m, want T
	r, reference := NewReader(data), NewReader(data)
	if !P(&m).decodeUsual(&r) {
		require.Equal(t, NewReader(data), r)
		require.Zero(t, m)
		return false
	}
	for c := readStruct(&reference); c.more(); {
		P(&want).fields(&c)
	}
	require.NoError(t, reference.err)
	require.Equal(t, reference, r)
	require.Equal(t, want, m)
	for _, b := range u.bytes(&m) {
		require.Equal(t, len(b), cap(b), "appending must not reach what follows")
	}
	return true
}

func (u usual[T, P]) check(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := u.draw(t)
		data := u.encode(want)
		require.True(t, u.requireSameAsGeneral(t, append(data, rapid.SliceOf(rapid.Byte()).Draw(t, "rest")...)))
		for n := range data {
			require.False(t, u.requireSameAsGeneral(t, data[:n]), "truncated at %d", n)
		}
		mask := rapid.ByteMin(1).Draw(t, "mask")
		for at := range data {
			data[at] ^= mask
			u.requireSameAsGeneral(t, data)
			data[at] ^= mask
		}
	})
}

func (u usual[T, P]) fuzz(f *testing.F, seeds ...T) {
	for _, seed := range append(seeds, *new(T)) {
		f.Add(u.encode(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { u.requireSameAsGeneral(t, data) })
}

// requireSameParse checks that the short cut for responses, if it is taken, changes nothing.
func requireSameParse(t require.TestingT, frame []byte) (taken bool) {
	var got, want Response
	if !got.parseUsual(frame) {
		require.Zero(t, got)
		return false
	}
	require.NoError(t, want.parse(frame))
	require.Equal(t, want, got)
	require.Equal(t, len(got.Name), cap(got.Name), "appending must not reach what follows")
	return true
}

func TestUsualResponse(t *testing.T) {
	for name, test := range map[string]struct {
		response []byte
		usual    bool
	}{
		"a result":        {AppendResponse(nil, ErrOK, Get, 7, &GetResponse{}), true},
		"no result":       {AppendResponse(nil, ErrOK, Get, 7, nil), true},
		"an empty result": {append(AppendResponse(nil, ErrOK, Get, 7, nil), typeStop), true},
		"an error":        {AppendResponse(nil, ErrBusy, Get, 7, nil), false},
	} {
		frame := test.response
		require.Equal(t, test.usual, requireSameParse(t, frame), name)
		for n := range frame {
			requireSameParse(t, frame[:n:n])
		}
		for at := range frame {
			for bit := range 8 {
				frame[at] ^= 1 << bit
				requireSameParse(t, frame)
				frame[at] ^= 1 << bit
			}
		}
	}
}

func TestUsualGetResponse(t *testing.T)    { usualGetResponse.check(t) }
func TestUsualUpdateResponse(t *testing.T) { usualUpdateResponse.check(t) }
func TestUsualKeyValue(t *testing.T)       { usualKeyValue.check(t) }
func TestUsualFullData(t *testing.T)       { usualFullData.check(t) }

// TestPutRequestIsWrittenAsItsFields holds the way that PutRequest writes itself to the list of its fields.
func TestPutRequestIsWrittenAsItsFields(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := PutRequest{Key: drawBytes(t, "key"), Value: drawBytes(t, "value"), ExpireSeconds: rapid.Int32().Draw(t, "expiry")}
		c := writeStruct(nil, 1)
		m.fields(&c)
		require.Equal(t, c.end(), m.AppendField(nil, 1))
	})
}

func FuzzUsualGetResponse(f *testing.F) {
	usualGetResponse.fuzz(f, GetResponse{Value: []byte("value"), Origin: Origin{GPID: GPID{AppID: 2, PartitionIndex: 3}, Server: []byte("h:1")}})
}

func FuzzUsualUpdateResponse(f *testing.F) {
	usualUpdateResponse.fuzz(f, UpdateResponse{Decree: 7, Origin: Origin{GPID: GPID{AppID: 2, PartitionIndex: 3}, Server: []byte("h:1")}})
}

func FuzzUsualKeyValue(f *testing.F) {
	usualKeyValue.fuzz(f, KeyValue{Key: []byte("key"), Value: []byte("value")}, KeyValue{ExpireSeconds: 5, HasExpiry: true})
}

func FuzzUsualFullData(f *testing.F) {
	usualFullData.fuzz(f, FullData{HashKey: []byte("hash"), SortKey: []byte("sort"), Value: []byte("value")})
}
