package stress

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/test/onebox"
)

// openers is how many goroutines open and close tables.
const openers = 32

// each calls f for every table, from several goroutines.
func each(f func(name string)) {
	var working sync.WaitGroup
	for first := range openers {
		working.Go(func() {
			for i := first; i < *tableCount; i += openers {
				f(fmt.Sprint("table ", i))
			}
		})
	}
	working.Wait()
}

// use opens a table and writes and reads a record.
func use(t *testing.T, client *pegasus.Client, name string) *pegasus.Table {
	ctx := context.Background()
	table, err := client.OpenTable(ctx, name)
	if err == nil {
		err = table.Set(ctx, []byte("key"), nil, []byte(name))
	}
	if err != nil {
		t.Error(err)
		return nil
	}
	value, err := table.Get(ctx, []byte("key"), nil)
	if err != nil || string(value) != name {
		t.Errorf("%s holds %q: %v", name, value, err)
	}
	return table
}

// TestManyTables opens many tables on one client, more than once.
func TestManyTables(t *testing.T) {
	c := newCluster(t, time.Millisecond)
	for i := range *tableCount {
		_, err := c.CreateTable(fmt.Sprint("table ", i), onebox.TableOptions{Partitions: 1, Replicas: 1})
		require.NoError(t, err)
	}
	client := open(t, c)
	each(func(name string) { // whatever servers and connections keep from now on is there already
		if table := use(t, client, name); table != nil {
			table.Close()
		}
	})
	breed(*tableCount + 1000)
	before := measure()
	for range 2 {
		var mu sync.Mutex
		var tables []*pegasus.Table
		each(func(name string) {
			table := use(t, client, name)
			mu.Lock()
			defer mu.Unlock()
			tables = append(tables, table)
		})
		require.Len(t, client.Snapshot().Tables, *tableCount)
		t.Logf("%d bytes for each open table", (measure().memory-before.memory)/uint64(*tableCount))
		for _, table := range tables {
			table.Close()
			_, err := table.Get(t.Context(), []byte("key"), nil)
			require.ErrorIs(t, err, pegasus.ErrClosed)
		}
		require.Empty(t, client.Snapshot().Tables)
		before.back(t)
	}
}
