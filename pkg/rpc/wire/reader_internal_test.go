package wire

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzReaderSkip checks that what is skipped depends on the value's own bytes only, all of them.
func FuzzReaderSkip(f *testing.F) {
	for _, wireType := range []byte{typeBool, typeI16, typeI64, typeString, typeStruct, typeMap, typeSet, typeList, 1, 16} {
		f.Add(wireType, []byte{typeI32, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2})
		f.Add(wireType, []byte{typeString, typeI16, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 0, 1})
		f.Add(wireType, []byte{typeList, 0, 0, 0, 1, typeSet, 0, 0, 0, 1, typeBool, 0, 0, 0, 1, 1})
		f.Add(wireType, []byte{0, 0, 0, 3, 'a', 'b', 'c'})
	}
	f.Fuzz(func(t *testing.T, wireType byte, data []byte) {
		r := NewReader(data)
		r.skip(wireType, 0)
		if r.err != nil {
			require.Zero(t, r.Remaining())
			require.LessOrEqual(t, r.offset, len(data))
			return
		}
		require.NotContains(t, []byte{typeStop, 1, 5, typeStruct}, wireType)
		value := data[:r.offset]

		again := NewReader(append(bytes.Clone(value), "and more"...))
		again.skip(wireType, 0)
		require.NoError(t, again.err)
		require.Equal(t, len(value), again.offset)

		cut := NewReader(value[:len(value)-1])
		cut.skip(wireType, 0)
		require.Error(t, cut.err)
	})
}

// After a fault every read yields nothing and the first fault stays.
func TestReaderAfterFault(t *testing.T) {
	r := NewReader(make([]byte, 100))
	r.take(10)
	r.Fail(ErrUnskippable)
	require.Zero(t, r.byte())
	require.Zero(t, r.i16())
	require.Zero(t, r.i32())
	require.Zero(t, r.i64())
	require.False(t, r.bool())
	require.Empty(t, r.blob())
	require.Zero(t, r.count())
	require.Zero(t, r.list(typeI32, i32Size))
	require.Zero(t, r.gpid())
	require.Zero(t, r.address())
	require.Zero(t, r.hostPort())
	require.Empty(t, r.errorName())
	r.nextField()
	require.EqualValues(t, noField, r.field)
	require.Equal(t, &DecodeError{Offset: 10, Err: ErrUnskippable}, r.Err())
	require.Zero(t, r.Remaining())

	r.Reset([]byte{1})
	require.NoError(t, r.Err())
	require.True(t, r.bool())
}
