package onebox

import "go.uber.org/atomic"

// valve lets everything through until it is shut; then it makes everybody wait until it is opened
// again. The zero value is open.
type valve struct{ stop atomic.Pointer[stop] }

type stop struct{ lifted chan struct{} }

func (v *valve) set(shut bool) {
	if !shut {
		if old := v.stop.Swap(nil); old != nil {
			close(old.lifted)
		}
		return
	}
	v.stop.CompareAndSwap(nil, &stop{make(chan struct{})})
}

// wait returns true when the valve is open, and false if it is not before the channel closes.
func (v *valve) wait(given <-chan struct{}) bool {
	for {
		current := v.stop.Load()
		if current == nil {
			return true
		}
		select {
		case <-current.lifted:
		case <-given:
			return false
		}
	}
}
