package pegasus

import (
	"context"
	"io"
	"time"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// place is where a server keeps a context: a replica.
type place struct {
	node *rpc.Node
	gpid wire.GPID
}

// scanContext is a scan as a server remembers it. The zero value is none.
type scanContext struct {
	place
	id   int64
	hash uint64 // that requests for it carry
}

// fetcher asks servers for batches. One goroutine at a time has it, see Scanner.
//
// A server's context is good for one request. Whether that was executed or not, it is not sent again if
// that is in doubt: the try that follows asks anew for what is after the last key received. So a scan
// can be repeated like any other read, and so can one that meets a server which knows nothing of the
// context: one that was restarted, or another one.
type fetcher struct {
	operation
	scanner *Scanner
	walk    walk // how far all is received
	context scanContext
	sent    bool // the last try was one with the context
	count   bool // numbers are wanted in place of records
	// alone says that nothing was received yet, neither by this scan nor by others that belong to it. So
	// which table it is about is still open: that of the name.
	alone bool

	getScanner wire.GetScannerRequest
	scan       wire.ScanRequest
	answer     detachedAnswer
	reader     wire.Reader
	response   wire.ScanResponse
	setbacks   setbacks
}

// setbacks are the answers that brought a fetch nothing. They must end some time.
type setbacks struct {
	patience retry.Patience
	until    time.Time
}

// detachedAnswer is the answer to a scan, which is decoded by who has asked.
type detachedAnswer []byte

// Decode implements wire.Result.
func (a *detachedAnswer) Decode(r *wire.Reader) { *a = r.Detach() }

func (f *fetcher) init(s *Scanner, name string, w walk) {
	f.scanner, f.name, f.idempotent, f.walk = s, name, true, w
	f.prepare, f.request.Result = f.aim, &f.answer
	of := &s.scope
	f.getScanner = wire.GetScannerRequest{
		StopKey: of.stop, StopInclusive: of.stopInclusive,
		BatchSize: int32(s.options.BatchSize), NoValue: s.options.NoValue,
		HashKeyFilter: of.hashKeys.Type, HashKeyPattern: of.hashKeys.Pattern,
		SortKeyFilter: of.sortKeys.Type, SortKeyPattern: of.sortKeys.Pattern,
		ValidatePartitionHash: flag(of.whole), FullScan: flag(of.whole),
		ReturnExpiry: flag(s.options.ReturnExpiry),
	}
}

func flag(set bool) wire.OptionalBool {
	if set {
		return wire.Yes
	}
	return wire.No
}

// next returns the next records, at least one, or io.EOF.
func (f *fetcher) next(ctx context.Context) (batch, error) {
	f.setbacks = setbacks{}
	for {
		if !f.walk.begin() || len(f.walk.done) >= maxUnsettled {
			if err := f.settle(ctx); err != nil {
				return batch{}, err
			}
			if !f.walk.begin() {
				return batch{}, io.EOF
			}
		}
		found, err := f.step(ctx)
		if err != nil || len(found.records) > 0 {
			return found, err
		}
	}
}

// maxUnsettled bounds the parts that are done but not settled, because cursors have to tell them all.
const maxUnsettled = 16

// settle finds out whether splits have moved records of the parts that are done.
func (f *fetcher) settle(ctx context.Context) error {
	if len(f.walk.done) == 0 {
		return nil
	}
	routing, err := f.confirm(ctx)
	if err == nil {
		err = f.walk.settle(len(routing.Partitions))
	}
	if err != nil {
		return f.scanner.table.invalid(f.name, err)
	}
	return nil
}

// confirm returns routing that is as a meta server has it now.
func (f *fetcher) confirm(ctx context.Context) (*meta.Routing, error) {
	t := f.scanner.table
	ctx, cancel := t.client.bound(ctx)
	defer cancel()
	if err := t.routing.Confirm(ctx); err != nil {
		return nil, err
	}
	routing := t.routing.Load().Value()
	if routing.AppID != f.scanner.scope.appID {
		return nil, ErrTableReplaced
	}
	return routing, nil
}

// step makes one request for the part being scanned.
func (f *fetcher) step(ctx context.Context) (batch, error) {
	if again, err := f.ask(ctx); again || err != nil {
		return batch{}, err
	}
	begin := f.walk
	err := f.scanner.scope.check(f.response.Records)
	var records []wire.KeyValue
	if err == nil {
		records, err = f.walk.part.take(f.response.Records)
	}
	f.keep()
	if err != nil {
		f.walk = begin
		f.free()
		return batch{}, f.scanner.table.answered(&f.operation, wire.StatusOK, err)
	}
	if len(f.response.Records) > 0 {
		f.setbacks = setbacks{}
	} else if f.response.Status == wire.StatusIncomplete {
		return batch{}, f.setback(ctx)
	}
	return batch{records: records, begin: begin, end: f.walk, origin: f.response.Origin}, nil
}

// ask makes one request and receives the answer. again tells that there is none to work with, but that
// another request may bring one.
func (f *fetcher) ask(ctx context.Context) (again bool, err error) {
	s := f.scanner
	if s.scope.empty(f.walk.part.after) {
		f.walk.finish() // what the server remembers is freed when the scan ends, which is now
		return true, nil
	}
	f.request.Header.PartitionHash = s.scope.hash
	if s.scope.whole {
		f.request.Header.PartitionHash = f.walk.part.remainder
	}
	f.sent = false
	if err := s.table.run(ctx, &f.operation); err != nil {
		f.forget()
		if askForLess(err, &f.getScanner.BatchSize, usualBatch) { // for the rest of the scan
			return true, nil
		}
		return false, err
	}
	f.context, f.alone = scanContext{}, false
	if err := wire.DecodeDetached(&f.reader, f.answer, &f.response); err != nil {
		return false, s.table.failure(&f.operation, judge(&rpc.ResultError{Err: err}), retry.ErrFinal)
	}
	switch status := f.response.Status; {
	case status == wire.StatusOK, status == wire.StatusIncomplete:
		return false, nil
	case status == wire.StatusNotFound && f.sent: // the server has forgotten the context
		return true, f.setback(ctx)
	default:
		return false, s.table.verdict(&f.operation, status)
	}
}

// usualBatch is how many records servers send in one answer at most, by default.
const usualBatch = 1000

// aim implements operation.prepare: it chooses between the context, if that can be used where the try
// goes, and asking anew.
func (f *fetcher) aim(routing *meta.Routing, p *meta.Partition) error {
	s := f.scanner
	if s.closed.Load() {
		return ErrScannerClosed
	}
	if routing.AppID != s.scope.appID {
		if !f.alone {
			return ErrTableReplaced
		}
		f.adopt(routing)
	}
	f.forget()
	f.sent = f.context.place == place{p.Primary, p.GPID}
	if f.sent {
		f.scan.ContextID = f.context.id
		f.request.Method, f.request.Arguments = wire.Scan, &f.scan
		return nil
	}
	f.free()
	if err := f.walk.fork(len(routing.Partitions)); err != nil {
		return err
	}
	start := &f.getScanner
	start.StartKey, start.StartInclusive = s.scope.start, s.scope.startInclusive
	if after := f.walk.part.after; after != nil {
		start.StartKey, start.StartInclusive = after, false
	}
	start.OnlyCount = flag(f.count)
	f.request.Method, f.request.Arguments = wire.GetScanner, start
	return nil
}

// adopt has a scan that has not begun be one of the table that there is now.
func (f *fetcher) adopt(routing *meta.Routing) {
	f.scanner.scope.appID = routing.AppID
	if f.scanner.scope.whole { // the request is for the first partition of either table
		count := len(routing.Partitions)
		f.walk = wholePartitions(0, count, count)
		f.walk.begin()
	}
}

// forget drops a context that a failed try may have used up.
func (f *fetcher) forget() {
	if f.sent && !f.spared {
		f.context = scanContext{}
	}
}

// keep takes over what an answer says about how to go on.
func (f *fetcher) keep() {
	switch id := f.response.ContextID; {
	case f.response.Status == wire.StatusIncomplete: // out of time, and no context whatever the id says
	case id == wire.ScanComplete:
		f.walk.finish()
	case id == wire.ScanNoContext && !f.sent && len(f.response.Records) == 0 && f.response.Count == 0:
		f.walk.finish() // the server finds the range empty
	default:
		f.context = scanContext{place{f.partition.Primary, f.partition.GPID}, id, f.request.Header.PartitionHash}
	}
}

// setback waits before the next request, after an answer without records that leaves no context. It
// fails when it is time to give up.
func (f *fetcher) setback(ctx context.Context) error {
	t, now := f.scanner.table, time.Now()
	if f.setbacks.until.IsZero() {
		f.setbacks = setbacks{t.client.patience.Start(), now.Add(t.client.settings.OperationTimeout)}
		if deadline, has := ctx.Deadline(); has {
			f.setbacks.until = deadline
		}
	}
	pause, err := f.setbacks.patience.Again(now, f.setbacks.until, retry.Refresh)
	if err == nil && !t.client.settings.Retry.Budget.Spend() {
		err = retry.ErrBudget
	}
	if err == nil {
		err = t.pause(ctx, pause, t.routing.Load())
	}
	if err == nil {
		return nil
	}
	status := f.response.Status
	return t.answered(&f.operation, status, ended(&StatusError{Status: status}, err))
}

// free lets the server forget its context, if there is one. Nothing depends on the message arriving: a
// context that is not used ends by itself.
func (f *fetcher) free() {
	c := f.context
	f.context = scanContext{}
	if c.node == nil {
		return
	}
	id := wire.Int64(c.id)
	_ = c.node.Send(&rpc.Request{
		Method: wire.ClearScanner, Arguments: &id,
		Header: wire.Header{GPID: c.gpid, PartitionHash: c.hash, TimeoutMillis: wire.TimeoutMillis(time.Second)},
	})
}
