package snapshot_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// handle is a version that was handed out, and what it said then.
type handle struct {
	version *snapshot.Version[int]
	serial  uint64
	value   int
}

// modelCell is a cell and what plain variables say that it must hold.
type modelCell struct {
	cell   *snapshot.Cell[int]
	serial uint64
	value  int
	shut   bool
	seen   []handle // in the order of their serials
}

// see checks that v is the current version and remembers it.
func (m *modelCell) see(t require.TestingT, v *snapshot.Version[int]) {
	require.Equal(t, m.serial, v.Serial())
	require.Equal(t, m.value, v.Value())
	if len(m.seen) == 0 || m.seen[len(m.seen)-1].version != v {
		m.seen = append(m.seen, handle{version: v, serial: m.serial, value: m.value})
	}
}

func (m *modelCell) update(t *rapid.T) {
	next, changed := rapid.Int().Draw(t, "next"), rapid.Bool().Draw(t, "changed")
	calls := 0
	v, installed := m.cell.Update(func(old int) (int, bool) {
		calls++
		require.Equal(t, m.value, old)
		return next, changed
	})
	require.Equal(t, changed && !m.shut, installed)
	if m.shut {
		require.Zero(t, calls)
	} else {
		require.Equal(t, 1, calls)
	}
	if installed {
		m.serial, m.value = m.serial+1, next
	}
	m.see(t, v)
}

func (m *modelCell) load(t *rapid.T) { m.see(t, m.cell.Load()) }

func (m *modelCell) close(t *rapid.T) {
	if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
		t.Skip("a cell that is shut early shows little")
	}
	m.cell.Shut()
	m.shut = true
}

// await asks with a context that is done, so that it never waits.
func (m *modelCell) await(t *rapid.T) {
	after := rapid.SampledFrom(m.seen).Draw(t, "after")
	v, err := m.cell.Await(cancelled(), after.version)
	switch {
	case after.serial < m.serial:
		require.NoError(t, err)
		m.see(t, v)
	case m.shut:
		require.ErrorIs(t, err, snapshot.ErrShut)
	default:
		require.ErrorIs(t, err, errGaveUp)
	}
}

// check holds after every step, for the cell and for all versions ever seen.
func (m *modelCell) check(t *rapid.T) {
	require.Equal(t, m.shut, m.cell.IsShut())
	m.see(t, m.cell.Load())
	for _, h := range m.seen {
		require.Equal(t, h.value, h.version.Value())
		require.Equal(t, h.serial, h.version.Serial())
		require.Equal(t, m.shut || h.serial < m.serial, closed(h.version))
	}
}

func TestBehavesLikeTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		initial := rapid.Int().Draw(t, "initial")
		m := &modelCell{cell: snapshot.New(initial), serial: 1, value: initial}
		m.load(t)
		t.Repeat(map[string]func(*rapid.T){
			"update": m.update,
			"load":   m.load,
			"shut":   m.close,
			"await":  m.await,
			"":       m.check,
		})
	})
}
