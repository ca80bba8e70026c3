package model_test

import "pgregory.net/rapid"

// loan is memory, and what it must hold.
type loan struct {
	memory []byte
	want   string
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
