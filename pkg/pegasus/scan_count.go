package pegasus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/bridle-kv/bridle/pkg/meta"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// errCountKeys means that servers cannot be made to count, so that the client has to.
var errCountKeys = errors.New("servers cannot count")

// Count counts the records that Next would return from here on, and ends the scan if it succeeds; if it
// fails, the scan goes on as if it had not been called. Servers count and send numbers only. When a
// server forgets a scan, what it has counted of the partition is discarded and counted anew. Only if the
// table is split meanwhile, or a server runs out of time, are keys transferred and counted by the client.
//
// It ends with ctx. If ctx has no deadline, each request may take the operation timeout, however many are
// needed.
func (s *Scanner) Count(ctx context.Context) (int64, error) {
	const name = "count"
	if s.closed.Load() {
		return 0, s.table.invalid(name, ErrScannerClosed)
	}
	counter := func() *Scanner {
		o := ScanOptions{BatchSize: s.options.BatchSize, NoValue: true}
		c := s.table.newScanner(name, s.scope, &o, s.position())
		c.alone = s.flight == nil && s.alone // in this order: a prefetch has the fetcher
		return c
	}
	servers := counter()
	defer servers.Close()
	count, err := servers.countByServers(ctx)
	if err == errCountKeys { //nolint:errorlint // it is never wrapped
		client := counter()
		defer client.Close()
		count, err = client.countKeys(ctx)
	}
	if err != nil {
		return 0, err
	}
	s.finish()
	return count, nil
}

// countKeys receives all keys.
func (s *Scanner) countKeys(ctx context.Context) (count int64, err error) {
	for {
		if _, err = s.Next(ctx); err == io.EOF { //nolint:errorlint // it is never wrapped
			return count, nil
		} else if err != nil {
			return 0, err
		}
		count++
	}
}

// countByServers has servers count. A server counts all records that are its partition's, so that parts
// must be whole partitions from beginning to end. Partitions that were split or being split, at the end,
// may have been so while they were counted.
func (f *fetcher) countByServers(ctx context.Context) (count int64, err error) {
	f.count = true
	whole := f.scanner.scope.whole
	partitions := len(f.scanner.table.routing.Load().Value().Partitions)
	if whole && !f.quiet(f.scanner.table.routing.Load().Value(), partitions) {
		return 0, errCountKeys
	}
	for f.walk.begin() {
		found, err := f.countPart(ctx)
		if err != nil {
			return 0, err
		}
		count += found
	}
	if len(f.walk.done) == 0 {
		return count, nil
	}
	routing, err := f.confirm(ctx)
	if err != nil {
		return 0, f.scanner.table.invalid(f.name, err)
	}
	if !f.quiet(routing, partitions) {
		return 0, errCountKeys
	}
	return count, nil
}

// quiet says whether the parts are partitions, with the given partition count, and none is being split.
func (f *fetcher) quiet(routing *meta.Routing, partitions int) bool {
	isPartition := func(p part) bool { return p.modulus == uint64(partitions) }
	all := slices.Concat(f.walk.todo, f.walk.done)
	if f.walk.active {
		all = append(all, f.walk.part)
	}
	return len(routing.Partitions) == partitions &&
		!slices.ContainsFunc(all, func(p part) bool { return !isPartition(p) }) &&
		!slices.ContainsFunc(routing.Partitions, func(p meta.Partition) bool { return p.Ballot < 0 })
}

// countPart counts the part being scanned.
func (f *fetcher) countPart(ctx context.Context) (count int64, err error) {
	f.setbacks = setbacks{}
	for f.walk.active {
		again, err := f.ask(ctx)
		if err != nil {
			return 0, err
		}
		if again {
			continue
		}
		if f.response.Status == wire.StatusIncomplete {
			return 0, errCountKeys // there is no key to go on from
		}
		f.keep() // first of all, so that the context is freed whatever the answer is worth
		if f.response.Count < 0 {
			return 0, f.scanner.table.answered(&f.operation, wire.StatusOK, fmt.Errorf("%w: count %d", ErrBadAnswer, f.response.Count))
		}
		if !f.sent {
			count = 0 // begun, perhaps anew
		}
		count += int64(f.response.Count)
		if !f.response.HasCount {
			count += int64(len(f.response.Records)) // a server that does not know the flag
		}
	}
	return count, nil
}
