package rpc

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// FuzzReadLoop has a server send anything, in pieces of any size, to a connection with calls in
// flight. Nothing panics or hangs, every call ends, with an error that says how, and memory follows
// the bytes that came.
func FuzzReadLoop(f *testing.F) {
	first := asked{method: wire.Get, sequence: 0, key: "key"}
	second := asked{method: wire.Get, sequence: 1, key: "other key"}
	oneway := asked{method: wire.ClearScanner, sequence: onewaySequence}
	for _, frames := range [][]byte{
		nil,
		first.answer(),
		append(first.answer(), second.answer()...),
		append(second.answer(), first.answer()[:20]...),
		append(first.answer(), first.answer()...),
		append(first.refusal(wire.ErrBusy), second.refusal("ERR_OF_TOMORROW")...),
		append(first.refusal(wire.ErrOK), oneway.refusal(wire.ErrObjectNotFound)...),
		wire.AppendResponse(nil, wire.ErrOK, wire.Put, 1, &wire.GetResponse{}),
		sized(math.MaxUint32), sized(100 << 20), sized(0), sized(20, make([]byte, 16)...),
		[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	} {
		f.Add(frames, uint16(7))
		f.Add(frames, uint16(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, chunk uint16) {
		bubble(t, func(t *testing.T) {
			stream := newStubStream(math.MaxInt)
			r := newRig(t, Options{Dial: stream.dialled()})
			calls := []*background{r.start("key")}
			synctest.Wait()
			calls = append(calls, r.start("other key"))
			synctest.Wait()
			before := allocated()
			stream.deliver(data, max(1, int(chunk)))
			for _, c := range calls {
				requireExplained(t, c.result())
			}
			if grown := allocated() - before; grown > 4<<20+20*uint64(len(data)) {
				t.Errorf("%d bytes took %d bytes of memory", len(data), grown)
			}
		})
	})
}

// requireExplained checks that the end of a call is one of those that Node.Call documents.
func requireExplained(t *testing.T, err error) {
	var refused *ServerError
	var unreadable *ResultError
	var failure *CallError
	switch {
	case err == nil, errors.Is(err, ErrNoResult), errors.As(err, &refused), errors.As(err, &unreadable):
	case !errors.As(err, &failure):
		t.Errorf("unexplained: %v", err)
	case !errors.Is(err, errBroken) && !errors.Is(err, ErrProtocol):
		t.Errorf("the connection was lost for no reason: %v", err)
	}
}
