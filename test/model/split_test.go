package model_test

import (
	"sync"
	"time"
)

// split is how far the table's split has come.
type split struct {
	mu       sync.Mutex
	parents  int          // the partition count before it; 0: there is none
	begun    map[int]bool // parents whose keys nobody can find until their part of it is finished
	finished map[int]bool
}

// waits says whether a partition is a child that does not serve yet.
func (s *split) waits(partition int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parents > 0 && partition >= s.parents && !s.finished[partition-s.parents]
}

// hangs says whether there are keys that nobody can find.
func (s *split) hangs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.begun) > 0
}

// maxPartitions bounds the splits of a run.
const maxPartitions = 16

func (m *machine) startSplit() {
	m.split.mu.Lock()
	defer m.split.mu.Unlock()
	count := m.PartitionCount(tableName)
	if count < maxPartitions && m.StartSplit(tableName) == nil {
		m.split.parents = count
		m.split.begun, m.split.finished = map[int]bool{}, map[int]bool{}
	}
}

func (m *machine) cancelSplit() {
	m.split.mu.Lock()
	defer m.split.mu.Unlock()
	if m.CancelSplit(tableName) == nil {
		m.split.parents, m.split.begun = 0, nil
	}
}

// advanceSplit takes a parent, any number is one, to a step of a split, and a while later to its end.
func (m *machine) advanceSplit(parent int, advance func(table string, parents ...int) error, long time.Duration) {
	if m.beginSplit(parent, advance) {
		time.Sleep(long)
		m.finishSplit()
	}
}

func (m *machine) beginSplit(parent int, advance func(table string, parents ...int) error) bool {
	m.split.mu.Lock()
	defer m.split.mu.Unlock()
	if m.split.parents == 0 {
		return false
	}
	parent %= m.split.parents
	if m.split.finished[parent] || advance(tableName, parent) != nil {
		return false
	}
	m.split.begun[parent] = true
	return true
}

// finishSplit finishes what is begun, as far as there are primaries.
func (m *machine) finishSplit() {
	m.split.mu.Lock()
	defer m.split.mu.Unlock()
	for parent := range m.split.parents {
		if m.split.begun[parent] && m.FinishSplit(tableName, parent) == nil {
			delete(m.split.begun, parent)
			m.split.finished[parent] = true
		}
	}
	if m.split.parents > 0 && len(m.split.finished) == m.split.parents {
		m.split.parents = 0
	}
}
