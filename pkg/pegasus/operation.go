package pegasus

import (
	"context"
	"errors"
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/pkg/snapshot"
)

// operation is one call of a user, through all its tries. It belongs to the goroutine that runs it;
// the code of each kind of operation embeds it in a struct that also holds arguments and result, and
// keeps such structs in a pool.
type operation struct {
	name       string
	idempotent bool // may be repeated when the outcome of a try is in doubt
	request    rpc.Request
	deadline   time.Time
	// prepare, if there is one, is called before every try and completes the request for where it goes.
	// Its error ends the operation.
	prepare func(*meta.Routing, *meta.Partition) error
	tally   tally
	times   rpc.Times    // of the present try, for hooks
	hedge   hedgeOutcome // of the present try

	// Of the last try:
	partition *meta.Partition
	tries     int
	inDoubt   bool   // some try was in doubt
	spared    bool   // it certainly changed nothing at the server
	secondary string // the address of the secondary whose answer counted; "": none's
}

// routingVersion is the snapshot that one try works with.
type routingVersion = snapshot.Version[*meta.Routing]

// run performs an operation whose request is ready but for the partition and the time left. It
// returns nil when a server has executed it: the storage engine's status is in the result.
func (t *Table) run(ctx context.Context, op *operation) error {
	if t.closed.Load() {
		return t.invalid(op.name, ErrClosed)
	}
	timeout := t.ready(ctx, op)
	routing := t.routing.Load()
	err := t.try(ctx, op, routing)
	if err == nil {
		t.client.settings.Retry.Budget.Success()
	} else {
		err = t.persist(ctx, op, routing, err)
	}
	if op.tally.timed {
		t.timed(ctx, op, timeout, err)
	}
	return err
}

// ready gives an operation what its tries have in common, and returns the time that it has.
func (t *Table) ready(ctx context.Context, op *operation) time.Duration {
	settings := &t.client.settings
	timeout := settings.OperationTimeout
	deadline, has := ctx.Deadline()
	if has {
		timeout = deadline.Sub(t.client.now())
	} else {
		deadline = t.client.in(timeout)
	}
	op.deadline, op.request.Deadline = deadline, deadline
	op.request.Header.TimeoutMillis = wire.TimeoutMillis(timeout)
	op.request.FailFast, op.request.Route = settings.FailFast, t.routing
	op.tries, op.inDoubt, op.spared, op.secondary = 0, false, true, ""
	return timeout
}

// try sends the request to the primary that the given snapshot names.
func (t *Table) try(ctx context.Context, op *operation, routing *routingVersion) error {
	op.tries++
	t.client.counters.tried(op)
	_, op.partition = routing.Value().Locate(op.request.Header.PartitionHash)
	if o := t.client.observers; o != nil && o.attempts {
		return t.observe(ctx, op, routing)
	}
	err := t.attempt(ctx, op, routing)
	if op.hedge.node != nil {
		t.hedged(ctx, op)
	}
	return err
}

// attempt is try without what is said about it.
func (t *Table) attempt(ctx context.Context, op *operation, routing *routingVersion) error {
	p := op.partition
	hedged := t.mayHedge(op)
	if p.Primary == nil && !hedged {
		return ErrNoPrimary
	}
	if !p.Trusted() {
		t.routing.Refresh(meta.ReasonNodeTrouble)
	}
	op.request.Header.GPID = p.GPID
	if op.prepare != nil {
		if err := op.prepare(routing.Value(), p); err != nil {
			return &unpreparedError{err}
		}
	}
	if t.guard != nil {
		return t.sendGuarded(ctx, op, routing, hedged)
	}
	return t.send(ctx, op, hedged)
}

// send makes one request to the operation's partition and waits for the answer, for as long as one try
// may take.
func (t *Table) send(ctx context.Context, op *operation, hedged bool) error {
	if limit := t.client.settings.TryTimeout; limit > 0 && op.idempotent {
		return t.sendWithin(ctx, op, hedged, limit)
	}
	return t.sendToTheEnd(ctx, op, hedged)
}

// sendWithin is send for as long as the limit, or the operation's deadline if that is sooner.
func (t *Table) sendWithin(ctx context.Context, op *operation, hedged bool, limit time.Duration) error {
	until := t.client.now().Add(limit)
	if !until.Before(op.deadline) {
		return t.sendToTheEnd(ctx, op, hedged)
	}
	op.request.Deadline, op.request.Header.TimeoutMillis = until, wire.TimeoutMillis(limit)
	err := t.sendToTheEnd(ctx, op, hedged)
	op.request.Deadline = op.deadline
	now := t.client.now()
	if errors.Is(err, context.DeadlineExceeded) && !now.Before(until) && now.Before(op.deadline) {
		return &tryTimeoutError{err}
	}
	return err
}

// tryTimeoutError means that a try, but not the operation, has had its time.
type tryTimeoutError struct{ cause error }

func (e *tryTimeoutError) Error() string { return "one try's time is over: " + e.cause.Error() }

func (e *tryTimeoutError) Unwrap() error { return e.cause }

// sendToTheEnd is send for as long as the operation may take.
func (t *Table) sendToTheEnd(ctx context.Context, op *operation, hedged bool) error {
	primary := op.partition.Primary
	switch {
	case !hedged:
		return primary.Call(ctx, &op.request)
	case primary != nil:
		return t.callHedged(ctx, op)
	}
	return t.callSecondary(ctx, op, ErrNoPrimary)
}

// persist repeats an operation after a failed try, until one succeeds, or the failure is final, or
// the operation's patience ends. Each try starts from the snapshot of its moment.
func (t *Table) persist(ctx context.Context, op *operation, routing *routingVersion, err error) error {
	ctx, cancel := context.WithDeadline(ctx, op.deadline)
	defer cancel()
	patience := t.client.patience.Start()
	for {
		failed := judge(err)
		op.inDoubt, op.spared = op.inDoubt || failed.outcome == InDoubt, failed.spared()
		if refused := t.await(ctx, op, &patience, routing, failed); refused != nil {
			return t.failure(op, failed, refused)
		}
		routing = t.routing.Load()
		op.request.Header.TimeoutMillis = wire.TimeoutMillis(time.Until(op.deadline))
		if err = t.try(ctx, op, routing); err == nil {
			t.client.settings.Retry.Budget.Success()
			return nil
		}
	}
}

// await waits for the moment to try again after a failed try, or returns the reason why there is none. A retry costs
// a token of the budget only if the failed try may have reached a server: what was not sent burdens
// nobody, and a lost node must not use up the tokens of all who wait for it.
func (t *Table) await(ctx context.Context, op *operation, patience *retry.Patience, routing *routingVersion, failed failedTry) error {
	policy := &t.client.settings.Retry
	action, deadline := policy.Decide(failed.row, failed.outcome, op.idempotent), op.deadline
	if action == retry.Refresh {
		deadline = time.Time{} // there is always something to wait for: news
	}
	pause, refused := patience.Again(time.Now(), deadline, action)
	if refused != nil {
		return refused
	}
	if failed.outcome != NotSent && !policy.Budget.Spend() {
		return retry.ErrBudget
	}
	t.retrying(ctx, op, failed.err, pause)
	if action == retry.Refresh {
		// Half of the time must do: there is no point in news without a try after them.
		return t.awaitNews(ctx, routing, reason(failed.row), min(pause, time.Until(op.deadline)/2), redial(failed.err))
	}
	return t.pause(ctx, pause, routing)
}

// pause waits before the next try. News end it, and so does the end of the table, which is an error: it
// ends every pause at once, so there must not be another.
func (t *Table) pause(ctx context.Context, d time.Duration, routing *routingVersion) error {
	if err := retry.Sleep(ctx, d, routing.Superseded()); err != nil {
		return err
	}
	if t.isClosed() {
		return ErrClosed
	}
	return nil
}

// redial returns the time until a node that could not be connected to may be dialled again, or until one
// to which no writes are sent gets the next, or 0. A
// node that is back at its old place is no news to the meta servers, so waiting for those must not
// keep an operation from finding it.
func redial(err error) time.Duration {
	var connect *rpc.ConnectError
	var circuit *rpc.CircuitError
	switch {
	case errors.As(err, &connect):
		return connect.RetryIn
	case errors.As(err, &circuit):
		return circuit.RetryIn
	}
	return 0
}

// awaitNews asks for fresh routing and waits for it. That the table does not exist is believed only
// if a meta server said so meanwhile: what was heard before may be about a table that was dropped
// and made anew.
func (t *Table) awaitNews(ctx context.Context, routing *routingVersion, why meta.Reason, pause, most time.Duration) error {
	before := t.routing.LastFailure()
	if err := t.routing.AwaitNews(ctx, routing, why, pause, most); err != nil {
		return err
	}
	failure := t.routing.LastFailure()
	if failure != before && errors.Is(failure, ErrNoSuchTable) { //nolint:errorlint // the same text may be news
		return failure
	}
	return nil
}

// failedTry is what the failure of one try means: its row of the retry table, and what is left in doubt.
type failedTry struct {
	err     error
	row     retry.Row
	outcome Outcome
}

// spared says whether the failed try certainly changed nothing at the server.
func (f *failedTry) spared() bool {
	return f.outcome == NotSent || f.outcome == Answered && f.row.Layer == retry.FrameLayer && !f.row.Executed
}

func judge(err error) failedTry {
	row, outcome := classify(err)
	return failedTry{err: err, row: row, outcome: outcome}
}

func classify(err error) (retry.Row, Outcome) {
	var inVain *inVainError
	if errors.As(err, &inVain) {
		row, outcome := classify(inVain.cause)
		_, secondary := classify(inVain.secondary)
		return row, max(outcome, secondary) // so that the next try costs a token
	}
	if errors.Is(err, ErrNoPrimary) {
		return retry.Transport(retry.NoPrimary), NotSent
	}
	var unprepared *unpreparedError
	if errors.As(err, &unprepared) {
		return final, NotSent
	}
	var refusal *rpc.ServerError
	if errors.As(err, &refusal) {
		return retry.Frame(refusal.Name), Answered
	}
	var call *rpc.CallError
	if errors.As(err, &call) {
		var tryTimeout *tryTimeoutError
		if errors.As(err, &tryTimeout) {
			return retry.Transport(retry.AttemptTimedOut), call.Outcome
		}
		return callRow(call), call.Outcome
	}
	row := retry.Transport(retry.Undecodable)
	if errors.Is(err, rpc.ErrNoResult) {
		row = retry.Transport(retry.OKWithoutBody)
	}
	return row, row.Outcome
}

// final is the row of failures that no repetition can mend, because the caller or the client ended
// the operation.
var final = retry.Row{Layer: retry.TransportLayer, Action: retry.Return, Why: "the operation was ended"}

func callRow(call *rpc.CallError) retry.Row {
	switch {
	case errors.Is(call.Err, rpc.ErrConnect):
		return retry.Transport(retry.ConnectFailed)
	case errors.Is(call.Err, context.Canceled), errors.Is(call.Err, context.DeadlineExceeded), errors.Is(call.Err, ErrClosed),
		errors.Is(call.Err, ErrOverloaded), errors.Is(call.Err, ErrBusy):
		return final
	case errors.Is(call.Err, rpc.ErrCircuitOpen):
		return retry.Transport(retry.ConnectFailed)
	case errors.Is(call.Err, rpc.ErrMoved):
		return retry.Transport(retry.Moved)
	case call.Outcome == retry.NotSent:
		return retry.Transport(retry.LostBeforeSent)
	}
	return retry.Transport(retry.LostAfterSent)
}

// unpreparedError is the failure of an operation's prepare.
type unpreparedError struct{ cause error }

func (e *unpreparedError) Error() string { return e.cause.Error() }

func (e *unpreparedError) Unwrap() error { return e.cause }

// reason tells the refresher why it is bothered.
func reason(row retry.Row) meta.Reason {
	switch {
	case row.Layer == retry.FrameLayer:
		return meta.ReasonRefused
	case row.Cause == retry.NoPrimary:
		return meta.ReasonNoPrimary
	}
	return meta.ReasonNodeTrouble
}

// failure is the error of an operation that ends after a failed try, for the reason why.
func (t *Table) failure(op *operation, failed failedTry, why error) error {
	last := failed.err
	e := t.describe(op, failed.outcome)
	var refusal *rpc.ServerError
	var call *rpc.CallError
	switch {
	case errors.As(last, &refusal):
		e.Server = refusal.Name
	case errors.As(last, &call):
		e.Stage = call.Stage.String()
	}
	e.Err, e.RetryAfter = last, retryAfter(failed)
	if !errors.Is(why, retry.ErrFinal) {
		e.Err = ended(last, why)
	}
	t.client.counters.failed(op, e)
	if errors.Is(e.Err, context.DeadlineExceeded) {
		t.routing.Refresh(meta.ReasonTimeout)
	}
	return e
}

// describe begins the error of an operation whose last try had the given outcome.
func (t *Table) describe(op *operation, outcome Outcome) *Error {
	e := &Error{
		Operation: op.name, Table: t.name, Partition: int(op.partition.GPID.PartitionIndex),
		Outcome: outcome, Tries: op.tries,
	}
	switch {
	case op.secondary != "":
		e.Node = op.secondary
	case op.partition.Primary != nil:
		e.Node = op.partition.Primary.Address()
	}
	if op.inDoubt {
		e.Outcome = InDoubt
	}
	return e
}

// ended joins the last try's failure and the reason why there was no other try. Both count.
func ended(last, why error) error {
	if errors.Is(last, why) {
		return last
	}
	return &endedError{last: last, why: why}
}

type endedError struct{ last, why error }

func (e *endedError) Error() string { return e.last.Error() + " (" + e.why.Error() + ")" }

func (e *endedError) Unwrap() []error { return []error{e.last, e.why} }
