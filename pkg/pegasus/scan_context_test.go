package pegasus_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// The contexts of scans of which a server tells in these tests.
const (
	firstContext  = 7 // in the answer that begins a scan
	secondContext = 8 // in the answer to the request with the first one
)

// scanEnding is a way in which a scan can come to its end, after one record and with firstContext at the
// server.
type scanEnding struct {
	options []pegasus.Option
	stop    []byte // the sort key that the range ends with; nil: all of them
	// answers are given to the requests that follow; to those after them, none is.
	answers []answerFunc
	// end is what happens before the scanner is closed; nil stands for one call of Next.
	end func(t *testing.T, s *stub, scanner *pegasus.Scanner) error
	// want is a part of the error of end; empty for none.
	want string
	// leave means that the scanner is not closed.
	leave bool
	// freed are the contexts that the server is told to forget.
	freed []int64
}

func refusedAs(name wire.ErrorName) answerFunc {
	return func(*wire.Request) (wire.ErrorName, wire.Arguments) { return name, nil }
}

func answering(result wire.Arguments) answerFunc {
	return func(*wire.Request) (wire.ErrorName, wire.Arguments) { return "", result }
}

// batchOf is an answer with a context and the records of some sort keys of hashKey.
func batchOf(id int64, sortKeys ...string) *wire.ScanResponse {
	answer := &wire.ScanResponse{ContextID: id}
	for _, sortKey := range sortKeys {
		answer.Records = append(answer.Records, wire.KeyValue{Key: []byte("\x00\x04hash" + sortKey)})
	}
	return answer
}

// silent is no answer.
func silent(*wire.Request) (wire.ErrorName, wire.Arguments) { return "", nil }

func nothing(*testing.T, *stub, *pegasus.Scanner) error { return nil }

// nextWith calls Next once, with the given context.
func nextWith(ctx context.Context) func(t *testing.T, s *stub, scanner *pegasus.Scanner) error {
	return func(_ *testing.T, _ *stub, scanner *pegasus.Scanner) error {
		_, err := scanner.Next(ctx)
		return err
	}
}

// nextUntil calls Next, and does something else while it waits for the answer.
func nextUntil(meanwhile func(s *stub, cancel context.CancelFunc)) func(t *testing.T, s *stub, scanner *pegasus.Scanner) error {
	return func(t *testing.T, s *stub, scanner *pegasus.Scanner) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(100*time.Millisecond, func() { meanwhile(s, cancel) })
		_, err := scanner.Next(ctx)
		return err
	}
}

// crowded calls Next while there is no place for another operation.
func crowded(t *testing.T, s *stub, scanner *pegasus.Scanner) error {
	var err error
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, func() {
		defer cancel()
		_, err = scanner.Next(t.Context())
	})
	_, other := s.table.Exist(ctx, hashKey, nil)
	require.ErrorIs(t, other, context.Canceled)
	return err
}

func countAll(t *testing.T, _ *stub, scanner *pegasus.Scanner) error {
	_, err := scanner.Count(t.Context())
	return err
}

// hangUp has the server close its connections.
func (s *stub) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
}

// scanEndings are those that differ in what becomes of the context. TestRefusalsSpareContexts has more.
var scanEndings = map[string]scanEnding{
	"closed":                  {end: nothing, freed: []int64{firstContext}},
	"closed after an answer":  {answers: []answerFunc{answering(batchOf(secondContext, "b"))}, freed: []int64{secondContext}},
	"complete":                {answers: []answerFunc{answering(batchOf(wire.ScanComplete))}, want: "EOF"},
	"complete with records":   {answers: []answerFunc{answering(batchOf(wire.ScanComplete, "b"))}},
	"at the end of its range": {stop: []byte("a"), want: "EOF", leave: true, freed: []int64{firstContext}},
	"left":                    {end: nothing, leave: true},

	"not sent, out of time": {end: nextWith(cancelled()), want: "context canceled", freed: []int64{firstContext}},
	"not sent, overload": {
		options: []pegasus.Option{pegasus.WithMaxInFlight(1), pegasus.WithFailFast()},
		answers: []answerFunc{silent}, end: crowded, want: "too many requests", freed: []int64{firstContext},
	},

	"in doubt, cancelled": {
		answers: []answerFunc{silent}, want: "context canceled",
		end: nextUntil(func(_ *stub, cancel context.CancelFunc) { cancel() }),
	},
	"in doubt, node silent": {answers: []answerFunc{silent}, want: "node is silent"},
	"in doubt, out of time": {
		answers: []answerFunc{silent}, want: "deadline exceeded",
		end: func(t *testing.T, s *stub, scanner *pegasus.Scanner) error {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			return nextWith(ctx)(t, s, scanner)
		},
	},
	"in doubt, connection lost": {
		answers: []answerFunc{silent}, want: "unexpected EOF",
		end: nextUntil(func(s *stub, _ context.CancelFunc) { s.hangUp() }),
	},
	"perhaps executed, undecodable":      {answers: []answerFunc{answering(wire.Int64(5))}, want: "malformed"},
	"perhaps executed, without a result": {answers: []answerFunc{refusedAs(wire.ErrOK)}, want: "without a result"},
	"perhaps executed, unknown name":     {answers: []answerFunc{refusedAs("ERR_OF_ANOTHER_YEAR")}, want: "ERR_OF_ANOTHER_YEAR"},
	"executed, too large": {
		options: []pegasus.Option{pegasus.WithConnections(rpc.Options{MaxResponseBytes: 1 << 10})},
		answers: []answerFunc{answering(batchOf(secondContext, string(make([]byte, 2<<10)))), refusedAs(wire.ErrBusy)},
		want:    "ERR_BUSY",
	},
	"executed, forgotten": {answers: []answerFunc{answering(&wire.ScanResponse{Status: wire.StatusNotFound})}, want: "no attempts left"},
	"executed, failed": {
		answers: []answerFunc{answering(&wire.ScanResponse{Status: wire.StatusIOError, ContextID: secondContext})},
		want:    "storage",
	},
	"executed, out of time": {answers: []answerFunc{answering(&wire.ScanResponse{
		Status: wire.StatusIncomplete, ContextID: secondContext, Records: batchOf(0, "b").Records,
	})}},
	"executed, bad keys": {
		answers: []answerFunc{answering(batchOf(secondContext, "a"))}, want: pegasus.ErrBadAnswer.Error(), freed: []int64{secondContext},
	},

	"refused, then in doubt": {
		options: []pegasus.Option{pegasus.WithRetry(retry.Policy{})},
		answers: []answerFunc{refusedAs(wire.ErrSplitting), silent}, want: "deadline exceeded",
	},
	"refused, then closed after an answer": {
		options: []pegasus.Option{pegasus.WithRetry(retry.Policy{})},
		answers: []answerFunc{refusedAs(wire.ErrSplitting), answering(batchOf(secondContext, "b"))}, freed: []int64{secondContext},
	},

	"counted": {
		answers: []answerFunc{answering(&wire.ScanResponse{HasCount: true, ContextID: wire.ScanComplete})},
		end:     countAll, leave: true, freed: []int64{firstContext},
	},
	"counted in vain": {
		answers: []answerFunc{answering(&wire.ScanResponse{HasCount: true, Count: -5, ContextID: secondContext})},
		end:     countAll, want: pegasus.ErrBadAnswer.Error(), freed: []int64{secondContext, firstContext},
	},
}

// run brings a scan to its end and returns the contexts that were freed, and used, in their order.
func (e *scanEnding) run(t *testing.T) (freed, used []int64) {
	answers := append([]answerFunc{answering(batchOf(firstContext, "a"))}, e.answers...)
	answer := func(request *wire.Request) (wire.ErrorName, wire.Arguments) {
		switch methodOf(request.Name) {
		case wire.ClearScanner:
			var id wire.Int64
			arguments(t, request, &id)
			freed = append(freed, int64(id))
			return "", nil
		case wire.Get:
			return "", &wire.GetResponse{}
		case wire.TTL:
			return "", nil
		case wire.Scan:
			var scan wire.ScanRequest
			arguments(t, request, &scan)
			used = append(used, scan.ContextID)
		}
		if len(answers) == 0 {
			return "", nil
		}
		next := answers[0]
		answers = answers[1:]
		return next(request)
	}
	withStub(t, answer, func(t *testing.T, s *stub) {
		scanner, err := s.table.NewScanner(hashKey, nil, e.stop, &pegasus.ScanOptions{StopInclusive: true, NoPrefetch: true})
		require.NoError(t, err)
		take(t, scanner, 1)
		end := e.end
		if end == nil {
			end = nextWith(t.Context())
		}
		if err = end(t, s, scanner); e.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, e.want)
		}
		_, err = s.table.Get(t.Context(), hashKey, nil)
		require.NoError(t, err, "there is a connection, or the server could not be told anything")
		if !e.leave {
			scanner.Close()
		}
		synctest.Wait()
	}, append(slices.Clone(once), e.options...)...)
	return freed, used
}

// A server is told to forget the context that it has, if it is certain that it has one: what was answered
// last, unless a request with it may have been executed. It is told once, and about no other.
func TestEndsOfScans(t *testing.T) {
	for name, ending := range scanEndings {
		t.Run(name, func(t *testing.T) {
			freed, _ := ending.run(t)
			require.Equal(t, ending.freed, freed)
		})
	}
}

// Every refusal before execution spares the context: it is used again, and freed if the scan is closed.
func TestRefusalsSpareContexts(t *testing.T) {
	for _, row := range retry.Rows() {
		if row.Layer != retry.FrameLayer || row.Name == wire.ErrOK {
			continue
		}
		t.Run(string(row.Name), func(t *testing.T) {
			ending := scanEnding{answers: []answerFunc{refusedAs(row.Name)}, want: string(row.Name), freed: []int64{firstContext}}
			freed, _ := ending.run(t)
			require.Equal(t, ending.freed, freed)
			ending = scanEnding{
				answers: []answerFunc{refusedAs(row.Name), answering(batchOf(secondContext, "b"))}, freed: []int64{secondContext},
				end: func(t *testing.T, _ *stub, scanner *pegasus.Scanner) error {
					_, err := scanner.Next(t.Context())
					require.Error(t, err)
					_, err = scanner.Next(t.Context())
					return err
				},
			}
			freed, used := ending.run(t)
			require.Equal(t, ending.freed, freed)
			require.Equal(t, []int64{firstContext, firstContext}, used)
		})
	}
}

// A try that may have been executed is the last one with its context, also when the request is repeated at
// once.
func TestContextsInDoubtAreNotUsedAgain(t *testing.T) {
	ending := scanEnding{
		options: []pegasus.Option{pegasus.WithRetry(retry.Policy{})},
		answers: []answerFunc{silent, answering(batchOf(secondContext, "b"))},
		end:     nextUntil(func(s *stub, _ context.CancelFunc) { s.hangUp() }),
	}
	freed, used := ending.run(t)
	require.Equal(t, []int64{secondContext}, freed)
	require.Equal(t, []int64{firstContext}, used)
}
