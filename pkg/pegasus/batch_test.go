package pegasus_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// batchKeys are keys with the given hash keys and one sort key.
func batchKeys(hashKeys ...string) (keys []pegasus.Key) {
	for _, hashKey := range hashKeys {
		keys = append(keys, pegasus.Key{HashKey: []byte(hashKey), SortKey: []byte("sort")})
	}
	return keys
}

// numberedKeys are so many different keys.
func numberedKeys(n int) []pegasus.Key {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("key ", i)
	}
	return batchKeys(names...)
}

// recordsOf are records with the given keys and a value for each.
func recordsOf(keys []pegasus.Key, value func(i int) string) []pegasus.BatchRecord {
	records := make([]pegasus.BatchRecord, len(keys))
	for i, key := range keys {
		records[i] = pegasus.BatchRecord{HashKey: key.HashKey, SortKey: key.SortKey, Value: []byte(value(i))}
	}
	return records
}

func (b *box) batchSet(records []pegasus.BatchRecord) {
	b.t.Helper()
	errs, err := b.table.BatchSet(b.t.Context(), records, nil)
	require.NoError(b.t, err)
	require.Equal(b.t, make([]error, len(records)), errs)
}

// batchHolds reads the keys in one batch and checks the values.
func (b *box) batchHolds(keys []pegasus.Key, value func(i int) string) {
	b.t.Helper()
	results, err := b.table.BatchGet(b.t.Context(), keys, nil)
	require.NoError(b.t, err)
	require.Len(b.t, results, len(keys))
	for i, result := range results {
		require.NoError(b.t, result.Err)
		require.Equal(b.t, value(i), string(result.Value))
	}
}

// texts returns values, and "-" for what was not found; other errors fail the test.
func texts(t testing.TB, results []pegasus.BatchResult) (texts []string) {
	for _, result := range results {
		if !present(t, result.Err) {
			require.Same(t, pegasus.ErrNotFound, result.Err)
			require.Nil(t, result.Value)
			texts = append(texts, "-")
			continue
		}
		require.NotNil(t, result.Value)
		texts = append(texts, string(result.Value))
	}
	return texts
}

// A BatchError without causes, as only others make it, can be printed.
func TestBatchErrorOfOthers(t *testing.T) {
	require.EqualError(t, &pegasus.BatchError{Operation: "batch get", Table: "t", Items: 2, InDoubt: 1},
		`pegasus: batch get in table "t": 0 of 2 items failed (1 in doubt)`)
}
