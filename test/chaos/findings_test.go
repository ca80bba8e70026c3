package chaos

import (
	"fmt"
	"sync"
)

// mostFindings bounds the findings that are kept.
const mostFindings = 20

// findings collects what is wrong, from any goroutine.
type findings struct {
	mu    sync.Mutex
	texts []string
	more  int
}

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.texts) == mostFindings {
		f.more++
		return
	}
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

// all returns the findings so far.
func (f *findings) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := append([]string(nil), f.texts...)
	if f.more > 0 {
		all = append(all, fmt.Sprintf("and %d more", f.more))
	}
	return all
}
