package onebox_test

import (
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

const (
	readThrottling     = "replica.read_throttling"
	writeThrottling    = "replica.write_throttling"
	writeSizes         = "replica.write_throttling_by_size"
	backupThrottling   = "replica.backup_request_throttling"
	readSizeThrottling = "replica.read_throttling_by_size"
)

// expect sends a request once for each outcome: "ok", "busy" or "silence".
func (x *tester) expect(outcomes []string, method *wire.Method, in wire.Arguments, header wire.Header) {
	x.box.t.Helper()
	for i, outcome := range outcomes {
		x.send(header, method, in)
		if outcome == "silence" {
			x.silence()
			continue
		}
		got, err := x.receive(nil)
		require.NoError(x.box.t, err)
		require.Equal(x.box.t, map[string]wire.ErrorName{"ok": wire.ErrOK, "busy": wire.ErrBusy}[outcome], got.Error, "request %d", i)
	}
}

func TestThrottling(t *testing.T) {
	key := rawKey("a", "b")
	get, put, clear := wire.Blob(key), &wire.PutRequest{Key: key}, wire.Int64(5)
	const putSize = 64 // bytes of a body
	for name, test := range map[string]struct {
		variable, value string
		method          *wire.Method
		in              wire.Arguments
		backup          bool
		want            []string
	}{
		"reads":                  {readThrottling, "1*reject*0", wire.Get, get, false, []string{"ok", "ok", "busy", "busy"}},
		"reads do not hit":       {readThrottling, "1*reject*0", wire.Put, put, false, []string{"ok", "ok", "ok", "ok"}},
		"clear_scanner":          {readThrottling, "0*reject*0", wire.ClearScanner, clear, false, []string{"silence", "busy"}},
		"writes":                 {writeThrottling, "1*reject*0", wire.Put, put, false, []string{"ok", "ok", "busy", "busy"}},
		"writes with spaces":     {writeThrottling, " 1*reject*0 , 0*delay*0 ", wire.Put, put, false, []string{"ok", "ok", "busy"}},
		"none at all":            {writeThrottling, "0*reject*0", wire.Put, put, false, []string{"ok", "busy"}},
		"in thousands":           {writeThrottling, "1K*reject*0", wire.Put, put, false, []string{"ok", "ok", "ok", "ok"}},
		"sizes":                  {writeSizes, "10*reject*0", wire.Put, put, false, []string{"busy", "busy"}},
		"sizes for two":          {writeSizes, "130*reject*0", wire.Put, put, false, []string{"ok", "ok", "busy"}},
		"backup requests":        {backupThrottling, "1*reject*0", wire.Get, get, true, []string{"ok", "ok", "silence"}},
		"backups are no reads":   {readThrottling, "0*reject*0", wire.Get, get, true, []string{"ok", "ok", "ok"}},
		"reads are no backups":   {backupThrottling, "0*reject*0", wire.Get, get, false, []string{"ok", "ok", "ok"}},
		"a late rejection":       {readThrottling, "1*reject*1", wire.Get, get, false, []string{"ok", "ok", "busy", "busy"}},
		"delays do not reject":   {readThrottling, "1*delay*1", wire.Get, get, false, []string{"ok", "ok", "ok", "ok"}},
		"delayed, then rejected": {readThrottling, "1*delay*1,3*reject*0", wire.Get, get, false, []string{"ok", "ok", "ok", "ok", "busy"}},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTester(t)
			require.Less(t, wire.RequestOverhead(wire.Put)+len(put.AppendField(nil, 1)), putSize+1)
			require.NoError(t, x.SetTableEnv(tableName, test.variable, test.value))
			header := x.about("a")
			header.Backup = test.backup
			for range 2 {
				x.expect(test.want, test.method, test.in, header)
				x.advance(time.Second)
			}
			require.NoError(t, x.SetTableEnv(tableName, test.variable, ""))
			if test.method != wire.ClearScanner {
				x.expect([]string{"ok", "ok", "ok"}, test.method, test.in, header)
			}
		})
	}
}

func TestThrottlingByReadSize(t *testing.T) {
	x := newTester(t)
	key := rawKey("h", "s")
	x.set("h", 0, "s", "v") // 5 bytes with its key
	require.NoError(t, x.SetTableEnv(tableName, readSizeThrottling, "10"))
	x.expect([]string{"ok", "ok", "busy", "busy"}, wire.Get, wire.Blob(key), x.about("h"))
	for method, in := range requestsOf(key) {
		if isWrite(method) || method == wire.ClearScanner {
			continue
		}
		got := x.call(x.about("h"), method, in, nil)
		require.Equal(t, wire.ErrBusy, got.Error, method.Name())
		require.True(t, got.HasResult, "an empty success follows")
	}
	x.expect([]string{"silence"}, wire.ClearScanner, wire.Int64(5), x.about("h"))
	x.expect([]string{"ok"}, wire.Put, &wire.PutRequest{Key: key}, x.about("h"))
	x.advance(time.Second / 2)
	x.expect([]string{"ok", "ok", "busy"}, wire.Get, wire.Blob(key), x.about("h")) // 4 bytes each now

	// More may be read at once than there is, but it must be paid off.
	x.advance(time.Second)
	x.set("h", 0, "s", string(make([]byte, 31)))
	x.expect([]string{"ok", "busy"}, wire.Get, wire.Blob(key), x.about("h"))
	x.advance(2 * time.Second)
	x.expect([]string{"busy"}, wire.Get, wire.Blob(key), x.about("h"))
	x.advance(2 * time.Second)
	x.expect([]string{"ok"}, wire.Get, wire.Blob(key), x.about("h"))
}

// What is throttled takes its time, at most half of the client's, in which others overtake it.
func TestThrottlingDelays(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network}, onebox.TableOptions{Partitions: 1})
		key := rawKey("a", "b")
		c := b.primary(key)
		for _, rule := range []string{"delay", "reject"} {
			want := map[string]wire.ErrorName{"delay": wire.ErrOK, "reject": wire.ErrBusy}[rule]
			require.NoError(t, b.SetTableEnv(tableName, readThrottling, "0*"+rule+"*300"))
			for timeout, delay := range map[int32]time.Duration{1000: 300 * time.Millisecond, 200: 100 * time.Millisecond} {
				time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
				header := b.header(key)
				header.TimeoutMillis = timeout
				began := time.Now()
				c.call(header, wire.Get, wire.Blob(key), nil)
				throttled := c.send(header, wire.Get, wire.Blob(key))
				c.call(b.header(key), wire.Put, &wire.PutRequest{Key: key}, nil)
				require.Zero(t, time.Since(began))
				got, err := c.receive(nil)
				require.NoError(t, err)
				require.Equal(t, throttled, got.Sequence)
				require.Equal(t, want, got.Error)
				require.Equal(t, delay, time.Since(began))
			}
		}
	})
}

// A delayed request finds the cluster as it is then.
func TestThrottledRequestsAreJudgedLate(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		b := newBox(t, onebox.Config{Network: network}, onebox.TableOptions{Partitions: 1})
		key := rawKey("a", "b")
		c := b.primary(key)
		require.NoError(t, b.SetTableEnv(tableName, writeThrottling, "0*delay*300"))
		b.put(c, key, "first")
		c.send(b.header(key), wire.Put, &wire.PutRequest{Key: key})
		pass(time.Millisecond)
		require.NoError(t, b.MovePrimary(tableName, 0, 1))
		got, err := c.receive(nil)
		require.NoError(t, err)
		require.Equal(t, wire.ErrInvalidState, got.Error)

		c.send(b.header(key), wire.Put, &wire.PutRequest{Key: key})
		b.Replica(0).Kill() // ends what waits there
	})
}

func TestThrottlingErrors(t *testing.T) {
	b := newBox(t, onebox.Config{}, onebox.TableOptions{})
	for _, value := range []string{"1", "1*reject", "-1*reject*0", "1*reject*-1", "1*drop*0", "x*reject*0", "1*reject*0,1*reject*0", "9999999999999999999*delay*0", "1*reject*0*0", ","} {
		require.ErrorIs(t, b.SetTableEnv(tableName, readThrottling, value), onebox.ErrEnvironment, value)
	}
	require.ErrorIs(t, b.SetTableEnv(tableName, readSizeThrottling, "1*reject*0"), onebox.ErrEnvironment)
	require.ErrorIs(t, b.SetIngesting("none", true), onebox.ErrNoTable)
	got, _ := b.put(b.primary(rawKey("a", "b")), rawKey("a", "b"), "v")
	require.Equal(t, wire.ErrOK, got.Error, "nothing was changed")
}

// Reads are throttled before anybody asks for the primary.
func TestThrottlingComesBeforeTheRole(t *testing.T) {
	x := newTester(t)
	x.client = dial(t, x.Cluster, x.Replica(1))
	require.NoError(t, x.SetTableEnv(tableName, readThrottling, "0*reject*0"))
	for _, want := range []wire.ErrorName{wire.ErrInvalidState, wire.ErrBusy} {
		require.Equal(t, want, x.call(x.about("a"), wire.Get, wire.Blob(rawKey("a", "b")), nil).Error)
	}
}
