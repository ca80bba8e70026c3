package snapshot

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/atomic"
)

// ErrShut is returned by [Cell.Await] when the cell was shut and therefore no
// newer version will ever come.
var ErrShut = errors.New("snapshot: cell is shut")

// Version is one published value together with the signal that it was
// superseded. It is frozen from the moment it can be loaded; holding it keeps
// its value alive, and nothing else.
type Version[T any] struct {
	value      T
	serial     uint64
	superseded chan struct{}

	// final marks what Shut left behind. A final version is never replaced;
	// this is what refuses the writers that race with Shut.
	final bool
}

// Value returns the published value. It is shared by all readers: nothing
// reachable from it may be written.
func (v *Version[T]) Value() T { return v.value }

// Serial returns the number of this version within its cell: 1 for the initial
// value, one more with every installed version, never reused. Versions of one
// cell are compared by serial, not by address, because Shut replaces the last
// version by another one with the same value and serial.
func (v *Version[T]) Serial() uint64 { return v.serial }

// Superseded returns the channel that closes when a newer version is installed
// or the cell is shut. It closes after the change can be loaded, so whoever is
// woken by it and calls [Cell.Load] does not get this version again, except
// from a cell that was shut.
func (v *Version[T]) Superseded() <-chan struct{} { return v.superseded }

// finale returns what Shut puts in the place of v. Its channel is born closed
// so that nobody can load a final version and find the signal still pending.
func (v *Version[T]) finale() *Version[T] {
	closed := make(chan struct{})
	close(closed)
	return &Version[T]{value: v.value, serial: v.serial, superseded: closed, final: true}
}

// Cell holds the current [Version] of a value. Cells are made by [New], not to
// be copied, and safe for use by any number of goroutines.
type Cell[T any] struct {
	current atomic.Pointer[Version[T]]

	// A cell fills a cache line of its own. Alone it would be a word that the
	// allocator puts next to unrelated words, and each write to one of those
	// would take the line away from our readers.
	_ [56]byte
}

// New returns a cell that holds initial as its version number 1. T is usually a
// pointer to a struct that is not written any more.
func New[T any](initial T) *Cell[T] {
	c := &Cell[T]{}
	c.current.Store(&Version[T]{value: initial, serial: 1, superseded: make(chan struct{})})
	return c
}

// Load returns the current version, after [Cell.Shut] the last one. It is never
// nil. The cost is one atomic load.
func (c *Cell[T]) Load() *Version[T] { return c.current.Load() }

// Update replaces the current value by what build makes of it, and returns the
// version it installed and true.
//
// It returns false, and leaves the cell as it is, in two cases. When build
// reports changed as false, the version returned is the one build was given.
// When the cell is shut, it is the last one: build is not called if the cell
// was shut before, and its result is dropped if the cell was shut meanwhile.
// [Cell.IsShut] tells the two cases apart.
//
// build may run several times, because it runs again on the newer value when
// another writer was first; a merge thus never loses what the other one found.
// It must be pure, must not write to old, and must not call Update or Shut of
// this cell. If it panics, the panic reaches the caller and the cell is as
// before.
func (c *Cell[T]) Update(build func(old T) (next T, changed bool)) (*Version[T], bool) {
	for {
		old := c.current.Load()
		if old.final {
			return old, false
		}
		value, changed := build(old.value)
		if !changed {
			return old, false
		}
		next := &Version[T]{value: value, serial: old.serial + 1, superseded: make(chan struct{})}
		if c.replace(old, next) {
			return next, true
		}
	}
}

// Shut marks the current version as the last one and closes its channel. Later
// updates are refused, and so is one under way: whatever it has built, it can
// no longer install it. The published value itself is not touched and can still
// be loaded. Shutting a cell again does nothing.
func (c *Cell[T]) Shut() {
	for {
		last := c.current.Load()
		if last.final || c.replace(last, last.finale()) {
			return
		}
	}
}

// IsShut reports whether [Cell.Shut] took effect.
func (c *Cell[T]) IsShut() bool { return c.current.Load().final }

// Await waits until a version newer than seen is installed and returns the
// current one, which may be several serials ahead. A nil seen is older than
// every version. seen must come from this cell.
//
// If there is none yet, Await ends with [ErrShut] when the cell is shut, and
// when ctx is done with an error that wraps both ctx.Err() and the cause of the
// context; the version is then nil. What is already there goes first: a newer
// version is returned even if the cell is shut or ctx is done, so that a caller
// who repeats Await with what it got sees the last version before ErrShut.
func (c *Cell[T]) Await(ctx context.Context, seen *Version[T]) (*Version[T], error) {
	var after uint64
	if seen != nil {
		after = seen.serial
	}
	for {
		v := c.current.Load()
		if v.serial > after {
			return v, nil
		}
		if v.final {
			return nil, ErrShut
		}
		select {
		case <-v.superseded:
		case <-ctx.Done():
			return nil, interrupted(ctx, after)
		}
	}
}

// replace is the only place where a published cell changes. The winner of the
// compare-and-swap, and nobody else, closes the channel of the version it took
// out, hence each is closed once; it does so afterwards, hence whoever is woken
// loads next or something later. An address cannot come back while old is
// compared with it, because the caller's reference keeps old from being freed.
func (c *Cell[T]) replace(old, next *Version[T]) bool {
	if !c.current.CompareAndSwap(old, next) {
		return false
	}
	close(old.superseded)
	return true
}

// interrupted describes a wait that ctx ended. The cause is added only where it
// says more than ctx.Err() does.
func interrupted(ctx context.Context, after uint64) error {
	err := fmt.Errorf("snapshot: waiting for a version after %d: %w", after, ctx.Err())
	if cause := context.Cause(ctx); !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
