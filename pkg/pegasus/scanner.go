package pegasus

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Scanner goes through records, one batch of the server's after the other. It is made by
// [Table.NewScanner], [Table.TableScanners] and [Table.ResumeScanner]. Close may be called by anybody at
// any time; everything else is for one goroutine at a time.
//
// # What it finds
//
// A record that exists, and passes the filters, from the beginning of the scan to its end is returned
// exactly once: through lost connections, failovers, restarts of servers, contexts that servers have
// forgotten, and splits of partitions, finished or cancelled. Records written or deleted meanwhile may
// or may not be found; what is returned existed at some time during the scan, and a record that is
// written anew may be returned as it was or as it is. A scan is no snapshot: servers keep one per
// partition, and only as long as they remember the scan, which is 5 minutes after the last answer.
//
// A scan of a table fails with ErrTableReplaced if the table is dropped and made anew, and when the
// partitions double in number for the fifth time while it is in one partition. At its end it asks
// a meta server whether partitions were split since it began; if that cannot be answered, Next fails, and
// may be called again, rather than end a scan that is perhaps not complete.
//
// # Prefetch
//
// While the caller works on a batch, the next one is asked for, unless ScanOptions.NoPrefetch says
// otherwise: one batch at most, by one goroutine that ends with its answer. It may take as much time as
// the call of Next that began it had, the operation timeout if that was without a deadline, and
// cancelling the context of that call does not end it: the batch is for a later one. If it fails, nobody
// is told, and Next asks again itself. A Scanner that is forgotten without Close leaves nothing behind
// after that time but the server's memory for the scan, which that frees after 5 minutes.
type Scanner struct {
	table   *Table
	scope   scope
	options ScanOptions

	// The caller's:

	batch  batch
	used   int         // records of the batch that were returned
	flight chan flight // of the prefetch under way; nil if there is none

	closed atomic.Bool
	mu     sync.Mutex // guards the next two, and context while nobody fetches
	// fetching says that a goroutine fetches. It alone may touch the fetcher, which it is given by the
	// one who sets this.
	fetching bool
	ended    bool // no more will be fetched

	fetcher
}

// batch is the records of one answer.
type batch struct {
	records    []wire.KeyValue
	begin, end walk // how far the scan was before and after them
	origin     wire.Origin
}

// flight is the outcome of a prefetch.
type flight struct {
	batch batch
	err   error
}

func (t *Table) newScanner(name string, of scope, options *ScanOptions, w walk) *Scanner {
	s := &Scanner{table: t, scope: of, options: *options, batch: batch{end: w}}
	s.fetcher.init(s, name, w)
	return s
}

// Next returns the next record, or io.EOF itself if there is none. Any other error is an *Error. None of
// them is final, as far as the Scanner is concerned: another call goes on where this one has failed.
//
// Only a call that finds no batch waits for servers. It ends with ctx. If ctx has no deadline, each
// request may take the operation timeout, however many are needed to find a record that passes the
// filters.
func (s *Scanner) Next(ctx context.Context) (ScanRecord, error) {
	if s.closed.Load() {
		return ScanRecord{}, s.table.invalid(s.name, ErrScannerClosed)
	}
	if s.used == len(s.batch.records) {
		if err := s.turn(ctx); err != nil {
			return ScanRecord{}, err
		}
	}
	record := &s.batch.records[s.used]
	s.used++
	return s.recordOf(record), nil
}

// Metadata tells who sent the record that Next returned last. It is the zero value before the first one,
// and after the end.
func (s *Scanner) Metadata() (m Metadata) {
	if s.used > 0 {
		m.fill(&s.batch.origin, 0)
	}
	return m
}

// recordOf gives a received record the form of the API.
func (s *Scanner) recordOf(found *wire.KeyValue) ScanRecord {
	hashKey, sortKey, _ := wire.SplitKey(found.Key) // part.take has checked it
	record := ScanRecord{HashKey: hashKey, SortKey: sortKey}
	if !s.options.NoValue {
		record.Value = notNil(found.Value)
	}
	if s.options.ReturnExpiry && found.ExpireSeconds != 0 {
		record.ExpiresAt = time.Unix(wire.ExpireEpoch+int64(uint32(found.ExpireSeconds)), 0)
	}
	return record
}

// turn replaces the batch, which is used up, by the next one.
func (s *Scanner) turn(ctx context.Context) error {
	began := time.Now()
	next, err := s.land(ctx)
	if err == errNoBatch { //nolint:errorlint // it is never wrapped
		next, err = s.fetch(ctx)
	}
	if err == nil || err == io.EOF { //nolint:errorlint // it is never wrapped
		s.batch, s.used = next, 0
	}
	if err != nil {
		return err
	}
	if !s.options.NoPrefetch && !s.batch.end.over() {
		s.prefetch(ctx, began)
	}
	return nil
}

// errNoBatch means that no prefetch has brought, or will bring, a batch.
var errNoBatch = errors.New("no batch")

// land returns the batch that a prefetch brings, or its io.EOF.
func (s *Scanner) land(ctx context.Context) (batch, error) {
	if s.flight == nil {
		return batch{}, errNoBatch
	}
	select {
	case landed := <-s.flight:
		s.flight = nil
		if landed.err != nil && landed.err != io.EOF { //nolint:errorlint // it is never wrapped
			landed.err = errNoBatch
		}
		return landed.batch, landed.err
	case <-ctx.Done(): // the prefetch goes on, for a later call
		return batch{}, &Error{
			Operation: s.name, Table: s.table.name, Partition: -1,
			Outcome: InDoubt, Stage: rpc.StageAwaiting.String(), Err: ctx.Err(),
		}
	}
}

// prefetch begins to fetch the next batch. began is when the caller's call did.
func (s *Scanner) prefetch(ctx context.Context, began time.Time) {
	span := s.table.client.settings.OperationTimeout
	if deadline, has := ctx.Deadline(); has {
		span = deadline.Sub(began)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), span)
	s.flight = make(chan flight, 1)
	go func(landed chan<- flight) {
		defer cancel()
		next, err := s.fetch(ctx)
		landed <- flight{next, err}
	}(s.flight)
}

// fetch asks for the next batch.
func (s *Scanner) fetch(ctx context.Context) (batch, error) {
	if err := s.takeOff(); err != nil {
		return batch{}, err
	}
	next, err := s.fetcher.next(ctx)
	s.touchDown(err == io.EOF) //nolint:errorlint // it is never wrapped
	return next, err
}

// takeOff lets the caller fetch.
func (s *Scanner) takeOff() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed.Load():
		return s.table.invalid(s.name, ErrScannerClosed)
	case s.ended:
		return io.EOF
	}
	s.fetching = true
	return nil
}

// touchDown ends a fetch. If nobody wants its outcome any more, it is up to this goroutine to free the
// server's context.
func (s *Scanner) touchDown(ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = false
	s.ended = s.ended || ended
	if s.ended || s.closed.Load() {
		s.free()
	}
}

// finish leaves nothing to be returned.
func (s *Scanner) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batch, s.used, s.flight, s.ended = batch{}, 0, nil, true
	if !s.fetching {
		s.free()
	}
}

// position returns how far the caller has come.
func (s *Scanner) position() walk {
	if s.used == len(s.batch.records) {
		return s.batch.end
	}
	w := s.batch.begin
	_, _ = w.part.take(s.batch.records[:s.used]) // once more: they were received like that
	return w
}

// Close ends the scan and frees the server's memory for it, without waiting for anything: a message is
// sent that has no answer. A fetch under way is left to end, since only then is known what there is to
// free, but sends no more requests; a Next that waits for it fails. Closing again does nothing. Cursor
// can still be called.
func (s *Scanner) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.CompareAndSwap(false, true) && !s.fetching {
		s.free()
	}
}
