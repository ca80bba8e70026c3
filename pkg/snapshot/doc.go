// Package snapshot provides Cell, a holder of one immutable value behind one
// atomic pointer. Readers load the value without a lock and without an
// allocation; writers replace it as a whole; whoever cannot proceed with the
// value at hand waits for the signal that a newer one is there.
//
// The client keeps everything that many requests read and few events change in
// a cell: the members and the leader of the meta servers, the routing of a
// table. What belongs together is kept in one value and therefore changes
// together: no reader can see a new leader beside an old list of members.
//
// # Who may do what
//
//   - Any goroutine may call any method at any time; no method takes a lock.
//   - A reader loads once per attempt and passes the [Version] down, so that a
//     whole attempt works with one consistent value. It must not write to
//     anything reachable from the value.
//   - A writer derives the next value from the old one in [Cell.Update]. The
//     function it passes is pure, because a conflict with another writer makes
//     it run again, and it must not call Update or Shut of the same cell. A
//     value belongs to the cell from the moment the function returns it.
//   - A waiter selects on [Version.Superseded] or calls [Cell.Await]. Waiting
//     costs no timer, no goroutine and no polling.
//   - The owner calls [Cell.Shut] once it publishes no more. Reading goes on.
//
// Writers are expected to be rare. They never wait for readers or for each
// other, but a conflict costs the loser another run of its function. At least
// one of the writers in conflict always succeeds.
//
// # Invariants
//
// The cell moves from one version to the next in one place, a compare-and-swap
// followed by the close of the channel of the version that was replaced. That
// order, and the fact that a version marked final is never replaced, give:
//
//  1. Published is frozen: neither an update nor Shut writes to a version, or
//     to a value, that a reader may hold.
//     (TestPublishedVersionsAreFrozen)
//  2. No update is lost: what an Update reported as installed is contained in
//     everything that is installed later.
//     (TestUpdateRetriesOnConflict, TestCountersLoseNothing,
//     TestMergedSetsLoseNothing)
//  3. Serials start at 1, grow by one with every installed version, and are
//     never seen to go backwards by any reader. (TestReadersNeverGoBackwards)
//  4. Load, Update, Await, IsShut and Shut are linearizable: each takes effect
//     at one instant between its call and its return.
//     (TestHistoriesAreLinearizable, TestBehavesLikeTheModel)
//  5. The channel of a version closes exactly once, after its successor can be
//     loaded: whoever is woken finds something newer.
//     (TestConflictClosesOnce, TestSignalComesAfterTheNewVersion)
//  6. No wake-up is missed: whoever waits for something newer than what it has
//     seen ends up with the last version.
//     (TestChasersReachTheLastVersion)
//  7. Nothing is published after Shut, and an update that was reported as
//     installed is not undone by it. Who can see that the cell is shut finds
//     the channel of its last version closed.
//     (TestShutDuringUpdateRefusesIt, TestShutRacingWriters,
//     TestShutIsSeenWithTheSignal)
//  8. Reading allocates nothing. (TestReadingAllocatesNothing)
//  9. Versions do not refer to each other: a superseded one is garbage as soon
//     as no reader holds it. (TestSupersededVersionsAreReleased)
package snapshot
