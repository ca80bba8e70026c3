package pegasus

import (
	"sync"

	"github.com/bridle-kv/bridle/pkg/rpc"
)

// lanes is the work of one batch: a lane for each server, and one for what has none. A fixed number of
// goroutines takes jobs from the lane at which the fewest of them are busy. A server that is slow or silent
// thereby holds its share of them, but not the rest of the batch. All methods are for concurrent use.
type lanes[T any] struct {
	mu     sync.Mutex
	byNode map[*rpc.Node]*lane[T]
	all    []*lane[T]
	next   int // where the search for a lane begins: lanes that are equal take turns
	added  int // jobs, ever
}

// lane is what is to be done at one server.
type lane[T any] struct {
	fresh []T // not tried yet
	again []T // to be tried again, which can mean to wait first
	busy  int // goroutines at work
}

// add appends a job for the given server, nil for none.
func (l *lanes[T]) add(node *rpc.Node, job T, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.byNode[node]
	if at == nil {
		if l.byNode == nil {
			l.byNode = make(map[*rpc.Node]*lane[T])
		}
		at = new(lane[T])
		l.byNode[node] = at
		l.all = append(l.all, at)
	}
	if again {
		at.again = append(at.again, job)
	} else {
		at.fresh = append(at.fresh, job)
	}
	l.added++
}

// work does all jobs, and those that are added meanwhile by do. The caller works with up to most-1
// goroutines, which have ended when it returns: none if there is one job.
func (l *lanes[T]) work(most int, do func(T)) {
	var working sync.WaitGroup
	for range min(most, l.added) - 1 {
		working.Go(func() { l.run(do) })
	}
	l.run(do)
	working.Wait()
}

// run does jobs until there are none. It may leave while others still work: who adds a job comes back
// for it.
func (l *lanes[T]) run(do func(T)) {
	var from *lane[T]
	for {
		job, at := l.take(from)
		if at == nil {
			return
		}
		do(job)
		from = at
	}
}

// take leaves a lane, if there is one to leave, and takes the next job; the lane is nil if there is none.
func (l *lanes[T]) take(leaving *lane[T]) (job T, at *lane[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if leaving != nil {
		leaving.busy--
	}
	if at = l.choose(); at == nil {
		return job, nil
	}
	from := &at.fresh
	if len(*from) == 0 {
		from = &at.again
	}
	job = (*from)[0]
	*from = (*from)[1:]
	at.busy++
	return job, at
}

// choose returns the best lane that has jobs. The mutex is held.
func (l *lanes[T]) choose() (best *lane[T]) {
	first := l.next
	for i := range l.all {
		index := (first + i) % len(l.all)
		if at := l.all[index]; at.betterThan(best) {
			best, l.next = at, index+1
		}
	}
	return best
}

// betterThan compares two lanes, of which other may be nil. The less busy one is better, and of equals the
// one with a job whose turn comes for the first time.
func (at *lane[T]) betterThan(other *lane[T]) bool {
	switch {
	case len(at.fresh)+len(at.again) == 0:
		return false
	case other == nil || at.busy != other.busy:
		return other == nil || at.busy < other.busy
	}
	return len(at.fresh) > 0 && len(other.fresh) == 0
}
