package snapshot_test

import (
	"context"
	"runtime"
	"testing"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// members stands for what a client keeps in a cell: an immutable struct behind
// a pointer, with parts that belong together.
type members struct {
	addresses []string
	leader    int
}

// with returns a copy of m that also has address, which becomes the leader.
func (m *members) with(address string) *members {
	grown := append([]string(nil), m.addresses...)
	return &members{addresses: append(grown, address), leader: len(grown)}
}

// elect returns an update that adds address as the leader.
func elect(address string) func(*members) (*members, bool) {
	return func(old *members) (*members, bool) { return old.with(address), true }
}

// increment is the smallest update that reveals a lost one.
func increment(n int) (int, bool) { return n + 1, true }

// keep is an update that finds nothing to change.
func keep[T any](old T) (T, bool) { return old, false }

// closed reports whether the signal of v was given, without waiting for it.
func closed[T any](v *snapshot.Version[T]) bool {
	select {
	case <-v.Superseded():
		return true
	default:
		return false
	}
}

// requireVersion checks everything that can be read from v.
func requireVersion[T any](t *testing.T, v *snapshot.Version[T], serial uint64, value T, superseded bool) {
	t.Helper()
	require.NotNil(t, v)
	require.Equal(t, serial, v.Serial())
	require.Equal(t, value, v.Value())
	require.Equal(t, superseded, closed(v), "signal of version %d", serial)
}

func TestNewHoldsTheInitialValue(t *testing.T) {
	initial := &members{addresses: []string{"meta1:34601"}}
	c := snapshot.New(initial)
	requireVersion(t, c.Load(), 1, initial, false)
	require.Same(t, initial, c.Load().Value())
	require.Same(t, c.Load(), c.Load())
	require.False(t, c.IsShut())
}

func TestNewHoldsAZeroValue(t *testing.T) {
	requireVersion(t, snapshot.New[*members](nil).Load(), 1, nil, false)
	requireVersion(t, snapshot.New(0).Load(), 1, 0, false)
}

func TestUpdateInstallsTheNextVersion(t *testing.T) {
	c := snapshot.New(10)
	first := c.Load()
	for i := 1; i <= 3; i++ {
		before := c.Load()
		installed, changed := c.Update(increment)
		require.True(t, changed)
		requireVersion(t, installed, uint64(1+i), 10+i, false)
		require.Same(t, installed, c.Load())
		require.True(t, closed(before))
	}
	requireVersion(t, first, 1, 10, true)
}

func TestUpdateWithoutChangeLeavesTheCell(t *testing.T) {
	c := snapshot.New(10)
	before := c.Load()
	got, changed := c.Update(func(int) (int, bool) { return 99, false })
	require.False(t, changed)
	require.Same(t, before, got)
	require.Same(t, before, c.Load())
	requireVersion(t, before, 1, 10, false)
}

// Equal values are not compared: build alone decides what a change is.
func TestUpdateInstallsAnEqualValue(t *testing.T) {
	c := snapshot.New(10)
	_, changed := c.Update(func(old int) (int, bool) { return old, true })
	require.True(t, changed)
	requireVersion(t, c.Load(), 2, 10, false)
}

// overtaken returns a build that lets meanwhile happen between the moment it
// was given the old value and the moment it returns, in its first run only.
// A build of this package's users must not do so; here it fixes the
// interleaving that a conflict needs.
func overtaken(t *testing.T, calls *int, meanwhile func(), build func(int) (int, bool)) func(int) (int, bool) {
	return func(old int) (int, bool) {
		*calls++
		require.LessOrEqual(t, *calls, 2, "build must be given the newer value, not the same again")
		if *calls == 1 {
			meanwhile()
		}
		return build(old)
	}
}

func TestUpdateRetriesOnConflict(t *testing.T) {
	c, calls := snapshot.New(1), 0
	installed, changed := c.Update(overtaken(t, &calls,
		func() { c.Update(func(old int) (int, bool) { return old * 10, true }) },
		increment))
	require.True(t, changed)
	require.Equal(t, 2, calls)
	requireVersion(t, installed, 3, 11, false)
	require.Same(t, installed, c.Load())
}

// A loser that closed the channel before it knew that it lost would close it a
// second time, which panics, or announce a version that never comes.
func TestConflictClosesOnce(t *testing.T) {
	c, calls := snapshot.New(1), 0
	first := c.Load()
	var winner *snapshot.Version[int]
	_, changed := c.Update(overtaken(t, &calls,
		func() { winner, _ = c.Update(increment) },
		func(old int) (int, bool) { return old, old == 1 }))
	require.False(t, changed, "the second run finds nothing left to change")
	require.Equal(t, 2, calls)
	require.True(t, closed(first))
	requireVersion(t, winner, 2, 2, false)
	require.Same(t, winner, c.Load())
}

func TestUpdateThatPanicsLeavesTheCell(t *testing.T) {
	c := snapshot.New(1)
	require.PanicsWithValue(t, "bad merge", func() {
		c.Update(func(int) (int, bool) { panic("bad merge") })
	})
	requireVersion(t, c.Load(), 1, 1, false)
	_, changed := c.Update(increment)
	require.True(t, changed)
}

func TestShutKeepsTheLastVersion(t *testing.T) {
	c := snapshot.New(&members{})
	c.Update(elect("meta1:34601"))
	last := c.Load()
	for range 2 {
		c.Shut()
		require.True(t, c.IsShut())
		requireVersion(t, c.Load(), 2, last.Value(), true)
		require.Same(t, last.Value(), c.Load().Value())
	}
	requireVersion(t, last, 2, c.Load().Value(), true)
}

func TestUpdateAfterShutDoesNotCallBuild(t *testing.T) {
	c := snapshot.New(5)
	c.Shut()
	got, changed := c.Update(func(int) (int, bool) {
		t.Error("build was called")
		return 0, true
	})
	require.False(t, changed)
	requireVersion(t, got, 1, 5, true)
	requireVersion(t, c.Load(), 1, 5, true)
}

func TestShutDuringUpdateRefusesIt(t *testing.T) {
	c, calls := snapshot.New(5), 0
	got, changed := c.Update(overtaken(t, &calls, c.Shut, increment))
	require.False(t, changed)
	require.Equal(t, 1, calls)
	requireVersion(t, got, 1, 5, true)
	requireVersion(t, c.Load(), 1, 5, true)
	require.True(t, c.IsShut())
}

func TestPublishedVersionsAreFrozen(t *testing.T) {
	type held struct {
		version *snapshot.Version[*members]
		copied  snapshot.Version[*members]
		value   members
	}
	hold := func(v *snapshot.Version[*members]) held {
		value := *v.Value()
		value.addresses = append([]string(nil), value.addresses...)
		return held{version: v, copied: *v, value: value}
	}

	c := snapshot.New(&members{addresses: []string{"meta1:34601"}})
	all := []held{hold(c.Load())}
	for _, address := range []string{"meta2:34601", "meta3:34601", "meta4:34601"} {
		installed, _ := c.Update(elect(address))
		all = append(all, hold(installed))
	}
	c.Shut()
	c.Update(elect("meta5:34601"))
	for _, h := range all {
		require.Equal(t, h.copied, *h.version)
		require.Equal(t, h.value, *h.version.Value())
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	c := snapshot.New(&members{addresses: []string{"meta1:34601"}})
	ctx, signalled := context.Background(), 0
	for name, read := range map[string]func(){
		"Load":       func() { signalled += c.Load().Value().leader },
		"Serial":     func() { signalled += int(c.Load().Serial()) },
		"Superseded": func() { signalled += cap(c.Load().Superseded()) },
		"IsShut": func() {
			if c.IsShut() {
				signalled++
			}
		},
		"Update without change": func() { c.Update(keep) },
		"Await of what is there": func() {
			if v, err := c.Await(ctx, nil); err == nil {
				signalled += v.Value().leader
			}
		},
	} {
		require.Zero(t, testing.AllocsPerRun(1000, read), name)
	}
	require.Positive(t, signalled)
}

func TestSupersededVersionsAreReleased(t *testing.T) {
	c := snapshot.New(&members{addresses: []string{"meta1:34601"}})
	first, second := weak.Make(c.Load()), weak.Make(func() *snapshot.Version[*members] {
		v, _ := c.Update(elect("meta2:34601"))
		return v
	}())
	runtime.GC()
	require.Nil(t, first.Value(), "nobody holds version 1 any more")
	require.NotNil(t, second.Value(), "the cell holds version 2")
	c.Update(elect("meta3:34601"))
	runtime.GC()
	require.Nil(t, second.Value(), "nobody holds version 2 any more")
	require.Equal(t, uint64(3), c.Load().Serial())
}

// Cells are small; without their padding the allocator would put several of
// them, and other small objects, into one cache line.
func TestCellsDoNotShareCacheLines(t *testing.T) {
	const line = 64
	cells := make(map[uintptr]*snapshot.Cell[*members])
	for range 1000 {
		c := snapshot.New(&members{})
		cells[uintptr(unsafe.Pointer(c))/line] = c
	}
	require.Len(t, cells, 1000)
}
