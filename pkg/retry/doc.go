// Package retry decides what follows a failed attempt, and for how long to go on trying.
//
// Two questions are kept apart. An [Outcome] says what may have happened at the server; an [Action]
// says what to do about it. "Certainly not executed" does not mean "worth trying again", and an
// error that is worth trying again may come from a server that did the work and lost the reply.
// The rows of one table, read through [Frame], [Meta], [Storage] and [Transport], give the action
// for every answer and accident, and [Decide] brings the two together.
//
// What to do is then subject to three budgets: the caller's deadline, the attempts of one
// operation, and a token [Budget] that all operations of a client share, so that a cluster in
// trouble is not buried under retries. A [Policy] holds the settings and a [Patience] the state of
// one operation:
//
//	patience := policy.Start()
//	for {
//		row, outcome, err := attempt(ctx) // loads the routing and picks the partition anew
//		if err == nil {
//			policy.Budget.Success()
//			return nil
//		}
//		action := policy.Decide(row, outcome, idempotent)
//		wait, stop := patience.Again(time.Now(), deadline, action)
//		if stop != nil {
//			return fmt.Errorf("%w (%w)", err, stop)
//		}
//		if stop := retry.Sleep(ctx, wait, superseded); stop != nil {
//			return fmt.Errorf("%w (%w)", err, stop)
//		}
//	}
//
// An attempt that succeeds costs nothing here: no allocation, no timer, and one atomic load as long
// as the token budget is full.
package retry
