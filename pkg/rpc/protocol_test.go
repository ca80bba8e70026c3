package rpc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// sized is a frame that announces size bytes and then goes on with rest.
func sized(size uint32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, size), rest...)
}

// changed is a copy of the frame with one byte replaced.
func changed(frame []byte, at int, to byte) []byte {
	frame = bytes.Clone(frame)
	frame[at] = to
	return frame
}

// A server that does not speak the protocol loses its connection, and all calls on it fail in doubt;
// those whose answers came before the fault have them.
func TestProtocolViolations(t *testing.T) {
	for name, fault := range map[string]func(a asked) []byte{
		"length beyond the limit": func(asked) []byte { return sized(128<<20 + 1) },
		"length 2^31-1":           func(asked) []byte { return sized(math.MaxInt32) },
		"length 2^32-1":           func(asked) []byte { return sized(math.MaxUint32) },
		"length 0":                func(asked) []byte { return sized(0) },
		"length of the prefix":    func(asked) []byte { return sized(4) },
		"length 19":               func(asked) []byte { return sized(19, make([]byte, 15)...) },
		"another protocol":        func(asked) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"zeroes":                  func(asked) []byte { return make([]byte, 1000) },
		"error name beyond the frame": func(a asked) []byte {
			return changed(a.answer(), 5, 0x7f)
		},
		"a call instead of a reply": func(a asked) []byte {
			return changed(a.answer(), 4+4+len(wire.ErrOK)+3, 1)
		},
		"the name of another reply": func(a asked) []byte {
			return wire.AppendResponse(nil, wire.ErrOK, wire.Put, a.sequence, &wire.GetResponse{})
		},
		"a refusal with the name of another reply": func(a asked) []byte {
			return wire.AppendResponse(nil, wire.ErrBusy, wire.Put, a.sequence, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{})
				p := r.connect()
				calls := r.startInOrder(3)
				p.write(p.mustNext().answer(), fault(p.mustNext()))
				calls[0].requireAnswered(t)
				calls[1].requireFailed(t, StageAwaiting, retry.InDoubt, ErrProtocol)
				calls[2].requireFailed(t, StageAwaiting, retry.InDoubt, ErrProtocol)
				p.ended()
				require.ErrorIs(t, r.node.Stats().LastError, ErrProtocol)
			})
		})
	}
}

// The fault comes in the same read as the end of the stream: it is the better explanation.
func TestProtocolViolationAtTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stream := newStubStream(math.MaxInt)
		r := newRig(t, Options{Dial: stream.dialled()})
		calls := r.startInOrder(2)
		answer := asked{method: wire.Get, key: "key 0", sequence: 0}.answer()
		stream.last = append(answer, sized(0)...)
		close(stream.reads)
		calls[0].requireAnswered(t)
		calls[1].requireFailed(t, StageAwaiting, retry.InDoubt, ErrProtocol)
	})
}

func TestProtocolTruncatedFrame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		c := r.start("key")
		frame := p.mustNext().answer()
		p.write(frame[:len(frame)-1])
		synctest.Wait()
		require.False(t, c.ended())
		p.close()
		c.requireFailed(t, StageAwaiting, retry.InDoubt, io.ErrUnexpectedEOF)
	})
}

// Answers arrive in pieces of every size.
func TestProtocolFragments(t *testing.T) {
	for _, chunk := range []int{1, 2, 3, 5, 19, 64, 1000} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			serve(t, r.network, echo)
			r.network.SetChunk(address, chunk)
			for _, c := range r.startInOrder(100) {
				c.requireAnswered(t)
			}
		})
	}
}

// More answers come in one piece than are matched at a time.
func TestProtocolManyAnswersAtOnce(t *testing.T) {
	for _, count := range []int{arrivalBatch - 1, arrivalBatch, arrivalBatch + 1, 5 * arrivalBatch} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			p := r.connect()
			calls := r.startInOrder(count)
			var all []byte
			for range calls {
				all = append(all, p.mustNext().answer()...)
			}
			p.write(all)
			for _, c := range calls {
				c.requireAnswered(t)
			}
			require.EqualValues(t, count, r.node.Stats().Received)
		})
	}
}

// Answers much larger than the buffer, between small ones.
func TestProtocolLargeAnswers(t *testing.T) {
	for _, chunk := range []int{0, 4001} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, Options{})
			r.network.SetChunk(address, chunk)
			p := r.connect()
			sizes := []int{0, readBufferSize - 200, readBufferSize, readBufferSize + 1, 1 << 20, 3, 5<<20 + 7, 10}
			calls := r.startInOrder(len(sizes))
			go func() {
				for _, size := range sizes {
					a, _ := p.next()
					p.write(a.answerWith([]byte(strings.Repeat(a.key[4:], size))))
				}
			}()
			for i, c := range calls {
				require.NoError(t, c.result())
				require.True(t, string(c.value) == strings.Repeat(string(c.key[4:]), sizes[i]), "answer %d", i)
			}
		})
	}
}

func TestProtocolMaxResponseBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const limit = 2000
		r := newRig(t, Options{MaxResponseBytes: limit})
		p := r.connect()
		calls := r.startInOrder(2)
		a, b := p.mustNext(), p.mustNext()
		fits := limit - len(a.answerWith(nil))
		p.write(a.answerWith(make([]byte, fits)))
		require.NoError(t, calls[0].result())
		require.Len(t, calls[0].value, fits)
		p.write(b.answerWith(make([]byte, fits+1)))
		var tooLarge *ResultError
		require.ErrorAs(t, calls[1].result(), &tooLarge)
		require.ErrorIs(t, tooLarge, ErrResponseTooLarge)
		synctest.Wait()
		require.EqualValues(t, 1, r.node.Epoch(), "the connection is lost")
	})
}

// A caller whose answer ends the connection may try again at once, before the reader has come to say that the connection
// is dead. Its second request must not go that way: it would fail as well, and be in doubt.
func TestProtocolViolationLetsNobodyIn(t *testing.T) {
	for name, violate := range map[string]func(*reader, *call){
		"too large": func(r *reader, _ *call) {
			answer := asked{method: wire.Get, key: "key"}.answer()
			binary.BigEndian.PutUint32(answer, 3000)
			_, err := wire.ResponseSize(answer, 2000)
			r.refuse(answer, err)
		},
		"another name": func(r *reader, c *call) {
			r.conn.mu.Lock()
			r.conn.pending.take(0)
			r.conn.mu.Unlock()
			require.Error(t, r.complete(&arrival{response: wire.Response{Name: []byte("another")}, call: c}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{MaxResponseBytes: 2000})
				p := r.connect()
				r.start("key")
				p.mustNext()
				conn := r.conn()
				conn.mu.Lock()
				pending := conn.pending.slots[0].call
				conn.mu.Unlock()
				violate(conn.reader, pending) // in the reader's place, which waits for bytes
				conn.mu.Lock()
				defer conn.mu.Unlock()
				require.False(t, conn.usable.Load())
				require.ErrorIs(t, conn.refusal(), ErrProtocol)
			})
		})
	}
}

// Where not even the head of the answer has come, nobody knows whose it is.
func TestProtocolMaxResponseBytesOfNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{MaxResponseBytes: 2000})
		p := r.connect()
		calls := r.startInOrder(2)
		p.mustNext()
		b := p.mustNext()
		p.write(b.answerWith(make([]byte, 2000))[:wire.ResponseSizePrefix])
		for _, c := range calls {
			c.requireFailed(t, StageAwaiting, retry.InDoubt, ErrProtocol)
		}
	})
}

// A length is only a claim: memory follows the bytes that really come.
func TestProtocolAnnouncedLengthTakesNoMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		c := r.start("key")
		p.mustNext()
		before := allocated()
		p.write(sized(128<<20), make([]byte, 200<<10))
		synctest.Wait()
		require.Less(t, allocated()-before, uint64(8<<20))
		p.close()
		require.Error(t, c.result())
	})
}

// allocated returns the number of bytes ever allocated.
func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

// empty returns the size of the buffer after a read of n bytes that left nothing over.
func (r *reader) empty(n int) int {
	r.start, r.end = n, n
	r.makeRoom()
	return len(r.buffer)
}

// bareReader is the reader of no connection, for answers of up to limit bytes.
func bareReader(limit int) *reader {
	return &reader{conn: &Conn{options: &Options{MaxResponseBytes: limit}}, buffer: make([]byte, readBufferSize)}
}

// The buffer grows for a large frame. It is let go of when it was not needed for some time, and at once
// if it is very large.
func TestProtocolBufferShrinks(t *testing.T) {
	for _, size := range []int{keptBufferSize, 2 * keptBufferSize} {
		r := bareReader(128 << 20)
		for r.end = 1; len(r.buffer) < size; r.end = len(r.buffer) {
			r.makeRoom()
			require.Zero(t, r.start)
			require.Greater(t, len(r.buffer), r.end, "there must be room to read")
		}
		if size > keptBufferSize {
			require.Equal(t, readBufferSize, r.empty(size))
			continue
		}
		for range 3 {
			require.Equal(t, size, r.empty(readBufferSize+1))
			for range smallReads - 1 {
				require.Equal(t, size, r.empty(readBufferSize))
			}
		}
		require.Equal(t, readBufferSize, r.empty(1))
		require.Zero(t, r.end)
	}
}

// An answer that cannot be decoded fails its own call only.
func TestProtocolResultThatCannotBeDecoded(t *testing.T) {
	for name, damaged := range map[string]func(asked) []byte{
		"another type": func(a asked) []byte {
			return wire.AppendResponse(nil, wire.ErrOK, a.method, a.sequence, wire.Int64(1))
		},
		"cut short":           func(a asked) []byte { return resized(a.answer()[:len(a.answer())-1]) },
		"bytes after the end": func(a asked) []byte { return resized(append(a.answer(), 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{})
				p := r.connect()
				calls := r.startInOrder(3)
				p.write(p.mustNext().answer(), damaged(p.mustNext()), p.mustNext().answer())
				calls[0].requireAnswered(t)
				var unreadable *ResultError
				require.ErrorAs(t, calls[1].result(), &unreadable)
				var fault *wire.DecodeError
				require.ErrorAs(t, unreadable, &fault)
				require.Contains(t, unreadable.Error(), fault.Error())
				calls[2].requireAnswered(t)
				require.Zero(t, r.node.Epoch())
			})
		})
	}
}

// resized sets the length at the start of a frame to that of the frame.
func resized(frame []byte) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)))
	return frame
}

// Everything that a server may answer instead of a result fails its own call only, and the next frame
// is read correctly.
func TestProtocolAnswersWithoutAResult(t *testing.T) {
	refused := func(name wire.ErrorName) func(error) bool {
		return func(err error) bool {
			var refusal *ServerError
			return errors.As(err, &refusal) && refusal.Name == name &&
				err.Error() == fmt.Sprintf("server answered %s", name)
		}
	}
	noResult := func(err error) bool { return errors.Is(err, ErrNoResult) }
	for name, c := range map[string]struct {
		frame func(a asked) []byte
		want  func(error) bool
	}{
		"a refusal": {func(a asked) []byte { return a.refusal(wire.ErrObjectNotFound) }, refused(wire.ErrObjectNotFound)},
		"a refusal with a result": {func(a asked) []byte {
			return wire.AppendResponse(nil, wire.ErrBusy, a.method, a.sequence, &wire.GetResponse{})
		}, refused(wire.ErrBusy)},
		"an unknown refusal":  {func(a asked) []byte { return a.refusal("ERR_OF_TOMORROW") }, refused("ERR_OF_TOMORROW")},
		"a nameless refusal":  {func(a asked) []byte { return a.refusal("") }, refused("")},
		"OK without a result": {func(a asked) []byte { return a.refusal(wire.ErrOK) }, noResult},
		"OK with an empty result": {func(a asked) []byte {
			return resized(append(a.refusal(wire.ErrOK), 0))
		}, noResult},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Options{})
				p := r.connect()
				calls := r.startInOrder(2)
				p.write(c.frame(p.mustNext()), p.mustNext().answer())
				require.True(t, c.want(calls[0].result()), "got %v", calls[0].err)
				calls[1].requireAnswered(t)
				require.Zero(t, r.node.Epoch())
			})
		})
	}
}

// Answers that nobody waits for are counted and do no harm.
func TestProtocolAnswersNobodyAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Options{})
		p := r.connect()
		c := r.start("key")
		a := p.mustNext()
		for _, wrong := range []int32{a.sequence + 1, a.sequence | 1<<30, -1, math.MinInt32, math.MaxInt32} {
			p.write(asked{method: wire.Put, sequence: wrong}.refusal(wire.ErrBusy))
		}
		p.write(a.answer(), a.answer(), a.answer())
		c.requireAnswered(t)
		synctest.Wait()
		stats := r.node.Stats()
		require.EqualValues(t, 5+2, stats.Unexpected)
		require.EqualValues(t, 5+3, stats.Received)
		require.Zero(t, stats.Late)
		require.Zero(t, r.node.Epoch())
	})
}
