package snapshot_test

import (
	"context"
	"fmt"

	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// metaState belongs together and therefore is one immutable value.
type metaState struct {
	members []string
	leader  int
}

// confirmed returns an update that makes address the leader, and a member if it
// is not one yet. It never writes to the old state, which readers may hold.
func confirmed(address string) func(*metaState) (*metaState, bool) {
	return func(old *metaState) (*metaState, bool) {
		for i, member := range old.members {
			if member == address {
				return &metaState{members: old.members, leader: i}, i != old.leader
			}
		}
		grown := append(append([]string(nil), old.members...), address)
		return &metaState{members: grown, leader: len(grown) - 1}, true
	}
}

func Example() {
	cell := snapshot.New(&metaState{members: []string{"meta1:34601", "meta2:34601"}})

	// A reader loads once per attempt and works with what it got.
	attempt := cell.Load()
	fmt.Println("leader:", attempt.Value().members[attempt.Value().leader])

	// Somebody learns of a new leader. Members and leader change together.
	go cell.Update(confirmed("meta3:34601"))

	// The reader could not proceed, so it waits for news instead of polling.
	news, err := cell.Await(context.Background(), attempt)
	if err != nil {
		fmt.Println("no news:", err)
		return
	}
	state := news.Value()
	fmt.Println("leader:", state.members[state.leader], "of", len(state.members))

	// What is known already changes nothing and wakes nobody.
	_, changed := cell.Update(confirmed("meta3:34601"))
	fmt.Println("changed:", changed)

	// After Shut the state can still be read, but nothing newer will come.
	cell.Shut()
	_, err = cell.Await(context.Background(), cell.Load())
	fmt.Println(err, "at version", cell.Load().Serial())

	// Output:
	// leader: meta1:34601
	// leader: meta3:34601 of 3
	// changed: false
	// snapshot: cell is shut at version 2
}

// A waiter that has other things to wait for selects on the channel.
func ExampleVersion_Superseded() {
	cell := snapshot.New("blue")
	seen := cell.Load()
	go cell.Update(func(string) (string, bool) { return "green", true })

	select {
	case <-seen.Superseded():
		fmt.Println(seen.Value(), "became", cell.Load().Value())
	case <-context.Background().Done():
		fmt.Println("gave up")
	}

	// Output: blue became green
}
