package model_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
)

const (
	// tick is the time from one step to the next. The servers' clock stands still in between, so that it
	// does not matter to TTLs at which moment of a step a request is executed.
	tick = 20 * time.Second
	// patience is how long an operation may take, several requests included.
	patience = 12 * time.Second
	// calm is when all that was started in a step is over: less than a tick, and more than patience.
	calm = 19 * time.Second
	// latency is the time from a client to a server or back. Disturbances fall in between.
	latency = 10 * time.Millisecond

	tableName = "temp"
)

// machine is a cluster with a client, and what its table may hold by the model.
type machine struct {
	*onebox.Cluster
	appID int32
	// tables are the table's handles of two clients. While one of them works, the other does not hear of
	// what becomes of partitions.
	tables []*pegasus.Table
	// table is the one that is used in this step.
	table *pegasus.Table
	// repeats says whether clients may repeat writes in doubt that come to the same.
	repeats bool
	// worlds are all that agree with what was seen so far. There are several when an operation in doubt
	// leaves behind what only a later read can tell.
	worlds []*world
	split  split
	// limited says that servers run out of time within ranges.
	limited bool

	scans []*scan

	// origin is where the operation of this step tells who has answered it.
	origin *pegasus.Metadata

	lent []loan // memory that the client may read during the step
	kept []loan // memory that belongs to the caller, who holds on to it
}

// loan is memory, and what it must hold.
type loan struct {
	memory []byte
	want   string
}

// TestModel compares the client on a cluster with the model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			m := newMachine(t)
			t.Repeat(m.actions())
			m.atEnd(t)
		})
	})
}

func newMachine(t *rapid.T) *machine {
	m := &machine{
		repeats: rapid.Bool().Draw(t, "repeat writes in doubt"),
	}
	partitions := 1 << rapid.IntRange(0, 2).Draw(t, "log2 of partitions")
	time.Sleep(time.Until(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))) // bubbles begin before there are expiry times
	network := memnet.New()
	cluster, err := onebox.Start(onebox.Config{Network: network, Now: servers, FirstContext: alikeContexts()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = cluster.Close() })
	m.Cluster = cluster
	for _, node := range append(m.Metas(), m.Replicas()...) {
		network.SetLatency(node.Address(), latency)
	}
	m.appID, err = m.CreateTable(tableName, onebox.TableOptions{Partitions: partitions})
	require.NoError(t, err)
	for range 2 {
		m.open(t)
	}
	m.table = m.tables[0]
	sleepUntil(servers().Add(tick))
	m.worlds = []*world{{now: time.Now().Unix(), records: map[key]record{}}}
	m.load(t)
	return m
}

// open opens the table with another client.
func (m *machine) open(t *rapid.T) {
	client, err := pegasus.Open(m.MetaAddresses(), pegasus.WithRetryDoubtfulWrites(m.repeats),
		// Where pauses are left to chance, they are made so short that chance changes nothing: a run can
		// be repeated.
		pegasus.WithRetry(retry.Policy{Jitter: 1e-9}),
		pegasus.WithDirectory(meta.Options{
			RetryPause: time.Microsecond, RefreshPause: time.Microsecond, MaxRefreshPause: time.Millisecond,
			RefreshInterval: 1000 * time.Hour,
		}),
		pegasus.WithConnections(rpc.Options{
			Dial: m.DialContext, SilenceLimit: time.Second, DialTimeout: time.Second,
			BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
		}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	table, err := client.OpenTable(context.Background(), tableName)
	require.NoError(t, err)
	m.tables = append(m.tables, table)
}

// load begins some runs with a table that is not empty.
func (m *machine) load(t *rapid.T) {
	share := rapid.SampledFrom([]int{0, 3, 1}).Draw(t, "one in so many records exists")
	if share == 0 {
		return
	}
	var records []pegasus.BatchRecord
	for i, hash := range hashKeys {
		for j, sort := range sortKeys {
			if number := i*len(sortKeys) + j; number%share == 0 {
				w := write{key{hash, sort}, values[number%len(values)], ttls[number%(len(ttls)-1)], false}
				records = append(records, pegasus.BatchRecord{
					HashKey: []byte(hash), SortKey: []byte(sort), Value: []byte(w.value), TTL: w.ttl,
				})
				m.worlds[0].write(w)
			}
		}
	}
	_, err := m.table.BatchSet(context.Background(), records, nil)
	require.NoError(t, err)
	m.pass(t, time.Now().Truncate(tick).Add(tick))
}

// alikeContexts has all replicas begin with the same id for scans, a negative one, until they are started
// again: whoever mistakes one for another is found out.
func alikeContexts() func(*onebox.Node, wire.GPID) int64 {
	var mu sync.Mutex
	lives := map[string]int64{}
	return func(server *onebox.Node, gpid wire.GPID) int64 {
		mu.Lock()
		defer mu.Unlock()
		replica := fmt.Sprint(server, gpid)
		lives[replica]++
		return lives[replica]<<20 - 1<<40
	}
}

// servers is the clock of the servers.
func servers() time.Time { return time.Now().Truncate(tick) }

func sleepUntil(moment time.Time) {
	time.Sleep(time.Until(moment))
	synctest.Wait()
}

// atEnd checks what must be so at the end of a run.
func (m *machine) atEnd(t *rapid.T) {
	require.Empty(t, m.Violations(), "the client broke the protocol")
}

// kind says when an operation may be repeated in doubt.
type kind int

const (
	reading  kind = iota // always
	writing              // if the client's settings allow it
	counting             // never
)

// operation is a call of the client, and what it does by the model.
type operation struct {
	name string // as in pegasus.Error
	// inner are the names in errors of the operations that it is made of.
	inner []string
	kind  kind
	// excuse is what it may be excused for even if nothing disturbs it.
	excuse excuse
	// on is the hash of a key that it accesses.
	on uint64
	// call makes the call and returns the answer in words. Errors that are answers may be left to
	// inWords.
	call func(ctx context.Context) (answer string, err error)
	// tells says that it fills in machine.origin.
	tells bool
	// effect applies the operation to a world and returns the answer that belongs to it. What was
	// answered is given to it because some answers have liberties: if it is one of them, it is returned.
	effect func(w *world, answered string) (want string)
	// partly, if not nil, returns the worlds to which the operation may lead when it fails as err says.
	// By default, it is executed in one step or not at all.
	partly func(w *world, err error) []*world
}

// run makes one step: an operation, disturbed or not, and the comparison of all that can be seen of it
// with the worlds.
func (m *machine) run(t *rapid.T, op operation) {
	began := time.Now()
	m.drawTable(t)
	m.origin = new(pegasus.Metadata)
	disturbances := m.drawDisturbances(t, op)
	excuse := max(op.excuse, m.health(op.kind), disturbances.excuse())
	end := disturbances.begin(m)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	answer, err := op.call(ctx)
	cancel()
	text, answered := inWords(answer, err)
	t.Logf("%s %s: %s", op.name, time.Since(began), text)
	end()
	excuse = max(excuse, m.health(op.kind))
	sleepUntil(began.Add(calm))
	if answered {
		m.agree(t, op, text)
		m.checkOrigin(t, op, err)
	} else {
		m.tolerate(t, op, err, excuse)
	}
	m.peek(t)
	m.returnLoans(t)
	m.look()
	m.pass(t, began.Add(tick))
}

// checkOrigin checks what an operation tells of who has answered it, unless it was refused by the client.
func (m *machine) checkOrigin(t *rapid.T, op operation, err error) {
	var refusal *pegasus.Error
	if errors.As(err, &refusal) && refusal.Outcome == pegasus.NotSent {
		require.Empty(t, *m.origin)
	} else if op.tells {
		require.NotNil(t, m.NodeAt(m.origin.Server), m.origin.Server)
		require.True(t, m.isPlace(op, m.origin.Partition, maxDisturbances), "%v", m.origin.Partition)
		require.Equal(t, op.kind != reading, m.origin.Decree > 0)
	}
}

// drawTable chooses one of the clients.
func (m *machine) drawTable(t *rapid.T) {
	m.table = m.tables[rapid.IntRange(0, len(m.tables)-1).Draw(t, "client")]
}

// pass lets time pass until the given moment.
func (m *machine) pass(t *rapid.T, moment time.Time) {
	sleepUntil(moment)
	for _, w := range m.worlds {
		w.now = moment.Unix()
	}
	m.worlds = distinct(m.worlds) // what told them apart may have expired
	m.look()
	require.Empty(t, m.Violations(), "the client broke the protocol")
}

// inWords puts an answer in words. Errors are answers if the server executed the operation and refused it
// for what the table holds, or the client for its arguments; others say nothing about the table.
func inWords(answer string, err error) (text string, answered bool) {
	if err == nil {
		return answer, true
	}
	if err == pegasus.ErrNotFound { //nolint:errorlint // it must not be wrapped
		return "not found", true
	}
	var batch *pegasus.BatchError
	if errors.As(err, &batch) {
		return err.Error(), false
	}
	var overflow *pegasus.OverflowError
	if errors.As(err, &overflow) {
		return fmt.Sprintf("overflow %d + %d", overflow.Value, overflow.Increment), true
	}
	for _, known := range []error{
		pegasus.ErrNotInteger, pegasus.ErrNotCounted, pegasus.ErrInvalidArgument, pegasus.ErrInvalidTTL, pegasus.ErrHashKeyEmpty,
	} {
		if errors.Is(err, known) {
			return known.Error(), true
		}
	}
	return err.Error(), false
}

// agree keeps the worlds in which the operation has the given answer.
func (m *machine) agree(t *rapid.T, op operation, answer string) {
	var agreeing []*world
	var wants []string
	for _, w := range m.worlds {
		after := w.clone()
		if want := op.effect(after, answer); want == answer {
			agreeing = append(agreeing, after)
		} else {
			wants = append(wants, want)
		}
	}
	if len(agreeing) == 0 {
		t.Fatalf("%s was answered\n%s\nand should be\n%s", op.name, answer, strings.Join(wants, "\nor "))
	}
	m.worlds = distinct(agreeing)
}

// tolerate is for operations that failed. Those in doubt were executed or not, others were not.
func (m *machine) tolerate(t *rapid.T, op operation, err error, excuse excuse) {
	require.NotErrorIs(t, err, errSummary)
	repeatable := op.kind == reading || op.kind == writing && m.repeats
	inDoubt := false
	for _, failure := range failures(err) {
		require.Contains(t, append(op.inner, op.name), failure.Operation)
		doubt := failure.Outcome == pegasus.InDoubt
		if excuse == noExcuse || excuse == doubtExcuse && (repeatable || !doubt) {
			t.Fatalf("%s failed without need", op.name) // why is in the log: it differs from run to run
		}
		inDoubt = inDoubt || doubt
	}
	var worlds []*world
	for _, w := range m.worlds {
		switch {
		case op.partly != nil:
			worlds = append(worlds, op.partly(w, err)...)
		case op.kind != reading && inDoubt:
			after := w.clone()
			op.effect(after, "")
			worlds = append(worlds, w, after)
		default:
			worlds = append(worlds, w)
		}
	}
	m.worlds = distinct(worlds)
}

// failures returns the failures behind an error, at least one, that are no answers.
func failures(err error) []*pegasus.Error {
	var batch *pegasus.BatchError
	if !errors.As(err, &batch) {
		return []*pegasus.Error{failureOf(err)}
	}
	var all []*pegasus.Error
	for _, cause := range batch.Unwrap() {
		if _, answered := inWords("", cause); !answered {
			all = append(all, failureOf(cause))
		}
	}
	return all
}

// failureOf returns the *pegasus.Error that every failure must be.
func failureOf(err error) *pegasus.Error {
	var failure *pegasus.Error
	if !errors.As(err, &failure) {
		return &pegasus.Error{Operation: fmt.Sprintf("not a failure, but %T", err)}
	}
	return failure
}

// distinct removes worlds that are there already.
func distinct(worlds []*world) []*world {
	var kept []*world
	for _, w := range worlds {
		if !contains(kept, w) {
			kept = append(kept, w)
		}
	}
	return kept
}

func contains(worlds []*world, w *world) bool {
	for _, other := range worlds {
		if other.equal(w) {
			return true
		}
	}
	return false
}

// peek keeps the worlds that agree with what the servers hold.
func (m *machine) peek(t *rapid.T) {
	for _, hash := range hashKeys {
		for _, sort := range sortKeys {
			m.peekAt(t, key{hash, sort})
		}
	}
}

func (m *machine) peekAt(t *rapid.T, k key) {
	value, ok := m.Peek(tableName, []byte(k.hash), []byte(k.sort))
	var agreeing []*world
	for _, w := range m.worlds {
		if want, exists := w.get(k); exists == ok && want.value == string(value) {
			agreeing = append(agreeing, w)
		}
	}
	if len(agreeing) == 0 {
		want, exists := m.worlds[0].get(k)
		t.Fatalf("servers hold %q of %q (%v), and should hold %q (%v) in the first of %d worlds",
			value, k, ok, want.value, exists, len(m.worlds))
	}
	m.worlds = agreeing
}

// lend returns memory for an argument. The client may read it until the call returns, and not write.
func (m *machine) lend(text string) []byte {
	memory := []byte(text)
	m.lent = append(m.lent, loan{memory, text})
	return memory
}

// lendAll is lend for lists.
func (m *machine) lendAll(texts []string) [][]byte {
	memory := make([][]byte, len(texts))
	for i := range texts {
		memory[i] = m.lend(texts[i])
	}
	return memory
}

// keep holds on to a result, which belongs to the caller.
func (m *machine) keep(memory []byte) string {
	text := string(memory)
	m.kept = append(m.kept, loan{memory, text})
	return text
}

// maxKept is how many results are held on to.
const maxKept = 64

// returnLoans checks that nobody wrote into anybody else's memory, and spoils what was lent.
func (m *machine) returnLoans(t *rapid.T) {
	for _, l := range append(m.lent, m.kept...) {
		if string(l.memory) != l.want {
			t.Fatalf("%q was changed into %q", l.want, l.memory)
		}
	}
	for _, l := range m.lent {
		for i := range l.memory {
			l.memory[i] = 0xEE
		}
	}
	m.lent = nil
	m.kept = m.kept[max(0, len(m.kept)-maxKept):]
}

// health says what an operation of the given kind may be excused for in the state that the cluster is in.
func (m *machine) health(of kind) excuse {
	if m.Leader() == nil || m.split.hangs() {
		return anyExcuse
	}
	for i := range m.PartitionCount(tableName) {
		if m.split.waits(i) {
			continue // its parent serves for it
		}
		primary := m.Primary(tableName, i)
		if primary == nil || !primary.IsAlive() {
			return anyExcuse
		}
		if of != reading && m.liveSecondaries(i) == 0 {
			return anyExcuse
		}
	}
	return noExcuse
}

func (m *machine) liveSecondaries(partition int) (live int) {
	for _, node := range m.Secondaries(tableName, partition) {
		if node.IsAlive() {
			live++
		}
	}
	return live
}
