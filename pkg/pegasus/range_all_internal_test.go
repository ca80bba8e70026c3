package pegasus

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A tail keeps as many of the last records as its limits allow, knows for good that there were others, and
// does not hold on to these.
func TestTail(t *testing.T) {
	var last tail
	for range tailRecords {
		last.add(Record{SortKey: []byte("key")})
	}
	require.Len(t, last.records, tailRecords)
	require.False(t, last.dropped)
	first := &last.records[0]
	last.add(Record{SortKey: []byte("key")})
	require.Len(t, last.records, tailRecords)
	require.True(t, last.dropped)
	require.Nil(t, first.SortKey)

	last = tail{}
	half := make([]byte, tailBytes/2)
	for _, value := range [][]byte{half, half, []byte("one more"), []byte("and another")} {
		last.add(Record{Value: value})
	}
	require.Len(t, last.records, 3)
	require.Equal(t, len(half)+len("one more")+len("and another"), last.bytes)
	require.True(t, last.dropped, "also when the last one had room")
	last.add(Record{Value: make([]byte, 2*tailBytes)})
	require.Len(t, last.records, 1, "however large")
}
