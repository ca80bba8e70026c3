package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// TestDefect31ErrorsAreNotFinal has the errors of scans be those of other operations. None of them ends
// the scan, or makes the next call fail for another reason.
func TestDefect31ErrorsAreNotFinal(t *testing.T) {
	rows := users(10, 10)
	withRows(t, 1, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		found := take(t, s, 10)
		_, err := s.Next(cancelled())
		require.ErrorIs(t, err, context.Canceled)
		b.injectAll(onebox.Fault{Error: wire.ErrACLDeny, Times: 1})
		_, err = s.Next(t.Context())
		failure := failed(t, err)
		require.Equal(t, wire.ErrACLDeny, failure.Server)
		require.Equal(t, "scan", failure.Operation)
		require.Equal(t, tableName, failure.Table)
		require.Equal(t, b.Primary(tableName, 0).Address(), failure.Node)
		require.Zero(t, failure.Partition)
		require.Equal(t, pegasus.Answered, failure.Outcome)
		require.Equal(t, rows, append(found, rest(t, s)...))
	})
}

// With RetryBusy, throttled requests are repeated with the same context.
func TestScanRetriesBusy(t *testing.T) {
	inBubble(t, onebox.Config{}, single, func(t *testing.T, b *box) {
		rows := users(10, 10)
		b.load(rows)
		s, err := b.table.TableScanners(1, batches(10))
		require.NoError(t, err)
		found := take(t, s[0], 10)
		b.injectAll(onebox.Fault{Error: wire.ErrBusy, Times: 3})
		require.Equal(t, rows, append(found, rest(t, s[0])...))
		require.Equal(t, 1, b.requests(wire.GetScanner))
	}, pegasus.WithRetry(retry.Policy{RetryBusy: true}))
}

// A table made anew is not scanned in the place of the one that was dropped, also if that is found out
// at the end only.
func TestScanOfReplacedTable(t *testing.T) {
	for name, taken := range map[string]int{"in between": 15, "at the end": 40} {
		t.Run(name, func(t *testing.T) {
			withRows(t, 2, users(1, 40), func(t *testing.T, b *box, s *pegasus.Scanner) {
				take(t, s, taken)
				cursor := s.Cursor()
				require.NoError(t, b.DropTable(tableName))
				b.create(onebox.TableOptions{Partitions: 2})
				b.load(users(1, 100))
				var err error
				for err == nil {
					_, err = s.Next(t.Context())
				}
				require.ErrorIs(t, err, pegasus.ErrTableReplaced)
				_, err = b.table.ResumeScanner(cursor, nil)
				require.ErrorIs(t, err, pegasus.ErrTableReplaced)
				require.Len(t, drain(t, b.table.ScanTable(t.Context(), nil)), 100)
			})
		})
	}
}

// That holds for scans of one hash key as well, unless they are over by then.
func TestHashKeyScanOfReplacedTable(t *testing.T) {
	withRows(t, 2, users(1, 40), func(t *testing.T, b *box, _ *pegasus.Scanner) {
		s, err := b.table.NewScanner([]byte("user 0"), nil, nil, batches(10))
		require.NoError(t, err)
		take(t, s, 10)
		require.NoError(t, b.DropTable(tableName))
		b.create(onebox.TableOptions{Partitions: 2})
		b.load(users(1, 40))
		_, err = s.Next(t.Context())
		require.ErrorIs(t, err, pegasus.ErrTableReplaced)
		require.Equal(t, "scan", failed(t, err).Operation)
	})
}

// A client that has not heard of it scans the new table, if it has not begun with the old one.
func TestScanAfterReplacement(t *testing.T) {
	rows := users(20, 5)
	for name, scan := range map[string]func(t *testing.T, b *box){
		"table": func(t *testing.T, b *box) {
			require.Equal(t, rows, sorted(drain(t, b.table.ScanTable(t.Context(), nil))))
		},
		"hash key": func(t *testing.T, b *box) {
			require.Len(t, drain(t, b.table.Scan(t.Context(), []byte("user 0"), nil, nil, nil)), 5)
		},
		"count": func(t *testing.T, b *box) {
			count, err := b.table.CountTable(t.Context(), nil)
			require.NoError(t, err)
			require.EqualValues(t, len(rows), count)
		},
		"del range": func(t *testing.T, b *box) {
			deleted, err := b.table.DelRange(t.Context(), []byte("user 0"), nil, nil, nil)
			require.NoError(t, err)
			require.EqualValues(t, 5, deleted)
		},
	} {
		for _, partitions := range []int{1, 3, 4, 7} {
			t.Run(fmt.Sprint(name, partitions), func(t *testing.T) {
				withRows(t, 4, users(1, 40), func(t *testing.T, b *box, _ *pegasus.Scanner) {
					require.NoError(t, b.DropTable(tableName))
					b.create(onebox.TableOptions{Partitions: partitions})
					b.load(rows)
					scan(t, b)
				})
			})
		}
	}
}

// TestDefect33OptionsAreNotWritten has scanners share the caller's options, which stay as they are.
func TestDefect33OptionsAreNotWritten(t *testing.T) {
	withRows(t, 2, users(5, 5), func(t *testing.T, b *box, _ *pegasus.Scanner) {
		options := pegasus.ScanOptions{BatchSize: math.MaxInt, SortKeyFilter: pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte("0")}}
		shared := options
		var wait []func()
		for range 4 {
			wait = append(wait, b.inBackground(func() {
				require.Len(t, drain(t, b.table.ScanTable(t.Context(), &shared)), 25)
				require.Len(t, drain(t, b.table.Scan(t.Context(), []byte("user 0"), nil, nil, &shared)), 5)
				_, err := b.table.DelRange(t.Context(), []byte("nobody"), nil, nil, &pegasus.DelRangeOptions{SortKeyFilter: shared.SortKeyFilter})
				require.NoError(t, err)
			}))
		}
		for _, f := range wait {
			f()
		}
		require.Equal(t, options, shared)
	})
}

// While the meta servers are away, a scan of a table fails rather than end incomplete, and can be ended
// when they are back.
func TestScanEndIsConfirmed(t *testing.T) {
	rows := users(10, 10)
	withRows(t, 2, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		b.ElectLeader(-1)
		found := take(t, s, len(rows))
		_, err := s.Next(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, "scan", failed(t, err).Operation)
		b.ElectLeader(0)
		require.Empty(t, rest(t, s))
		require.Equal(t, rows, sorted(found))
	})
}

// Nothing works after Close, except for Cursor.
func TestScannerAfterClose(t *testing.T) {
	rows := users(10, 10)
	withRows(t, 2, rows, func(t *testing.T, b *box, s *pegasus.Scanner) {
		found := take(t, s, 33)
		s.Close()
		s.Close()
		_, err := s.Next(t.Context())
		require.ErrorIs(t, err, pegasus.ErrScannerClosed)
		_, err = s.Count(t.Context())
		require.ErrorIs(t, err, pegasus.ErrScannerClosed)
		require.False(t, errors.Is(err, pegasus.ErrClosed))
		again, err := b.table.ResumeScanner(s.Cursor(), nil)
		require.NoError(t, err)
		require.Equal(t, rows, sorted(append(found, rest(t, again)...)))
	})
}

// A closed table or client ends scans.
func TestScanOfClosed(t *testing.T) {
	for name, end := range map[string]func(b *box){
		"table":  func(b *box) { b.table.Close() },
		"client": func(b *box) { require.NoError(b.t, b.client.Close()) },
	} {
		for _, taken := range []int{0, 5, 40} {
			t.Run(fmt.Sprint(name, taken), func(t *testing.T) {
				withRows(t, 2, users(1, 40), func(t *testing.T, b *box, s *pegasus.Scanner) {
					take(t, s, taken)
					end(b)
					var err error
					for err == nil {
						_, err = s.Next(t.Context())
					}
					require.ErrorIs(t, err, pegasus.ErrClosed)
					s.Close()
				})
			})
		}
	}
}
