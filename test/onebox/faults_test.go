package onebox_test

import (
	"io"
	"slices"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/memnet"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// faulty is a box with one record and a connection to its primary.
type faulty struct {
	*box
	*client
	key  []byte
	node *onebox.Node
}

func newFaulty(t *testing.T, config onebox.Config) *faulty {
	t.Helper()
	b := newBox(t, config, onebox.TableOptions{Partitions: 1})
	f := &faulty{box: b, key: rawKey("a", "b")}
	f.node = b.Primary(tableName, 0)
	f.client = b.primary(f.key)
	f.put(f.client, f.key, "value")
	return f
}

// ask sends a get and returns its sequence id.
func (f *faulty) ask() int32 { return f.send(f.header(f.key), wire.Get, wire.Blob(f.key)) }

// next returns the next reply.
func (f *faulty) next() (answer, string) {
	f.box.t.Helper()
	var result wire.GetResponse
	got, err := f.receive(&result)
	require.NoError(f.box.t, err)
	return got, string(result.Value)
}

// works asserts that the connection still serves requests.
func (f *faulty) works() {
	f.box.t.Helper()
	seq := f.ask()
	got, value := f.next()
	require.Equal(f.box.t, seq, got.Sequence)
	require.Equal(f.box.t, "value", value)
}

// reply returns the reply to a get with the given sequence id.
func (f *faulty) reply(seq int32) []byte {
	return wire.AppendResponse(nil, wire.ErrOK, wire.Get, seq, &wire.GetResponse{
		Value: []byte("value"), Origin: wire.Origin{GPID: f.header(f.key).GPID, Server: []byte(f.node.Address())},
	})
}

func TestFaultReplies(t *testing.T) {
	const unheardOf = wire.ErrorName("ERR_UNHEARD_OF")
	empty := wire.GetResponse{}
	for name, test := range map[string]struct {
		fault onebox.Fault
		want  func(f *faulty, seq int32) []byte
	}{
		"error": {onebox.Fault{Error: unheardOf}, func(f *faulty, seq int32) []byte {
			return frame(unheardOf, wire.Get, seq)
		}},
		"error with body": {onebox.Fault{Error: wire.ErrBusy, ErrorWithBody: true}, func(f *faulty, seq int32) []byte {
			empty.Origin = wire.Origin{GPID: f.header(f.key).GPID, Server: []byte(f.node.Address())}
			return wire.AppendResponse(nil, wire.ErrBusy, wire.Get, seq, &empty)
		}},
		"OK without body": {onebox.Fault{OKWithoutBody: true}, func(f *faulty, seq int32) []byte {
			return frame(wire.ErrOK, wire.Get, seq)
		}},
		"duplicate": {onebox.Fault{Duplicate: true}, func(f *faulty, seq int32) []byte {
			return append(f.reply(seq), f.reply(seq)...)
		}},
		"huge length": {onebox.Fault{HugeLength: true}, func(f *faulty, seq int32) []byte {
			return append([]byte{0x7f, 0xff, 0xff, 0xff}, f.reply(seq)[4:]...)
		}},
		"garbage": {onebox.Fault{Garbage: []byte("HTTP/1.1 200 OK")}, func(*faulty, int32) []byte {
			return []byte("HTTP/1.1 200 OK")
		}},
		"chunks": {onebox.Fault{Chunk: 1}, func(f *faulty, seq int32) []byte { return f.reply(seq) }},
		"wrong name": {onebox.Fault{WrongName: "RPC_X"}, func(f *faulty, seq int32) []byte {
			right, wrong := []byte(wire.Get.ReplyName()), []byte("RPC_X_ACK")
			return replaceName(f.reply(seq), right, wrong)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t, onebox.Config{})
			test.fault.Times = 1
			f.node.Inject(test.fault)
			want := test.want(f, f.ask())
			got := make([]byte, len(want))
			_, err := io.ReadFull(f.conn, got)
			require.NoError(t, err)
			require.Equal(t, want, got)
			f.works()
		})
	}
}

// replaceName exchanges the name in a reply frame and corrects the lengths.
func replaceName(reply, right, wrong []byte) []byte {
	i := slices.Index(reply, right[0]) // the first R after the size: in ERR_OK
	for string(reply[i:i+len(right)]) != string(right) {
		i++
	}
	replaced := slices.Concat(reply[:i], wrong, reply[i+len(right):])
	replaced[3] -= byte(len(right) - len(wrong))
	replaced[i-1] = byte(len(wrong))
	return replaced
}

func TestFaultWrongSequence(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	f.node.Inject(onebox.Fault{WrongSequence: true, Times: 1})
	seq := f.ask()
	got, value := f.next()
	require.NotEqual(t, seq, got.Sequence)
	require.Equal(t, "value", value)
	f.works()
}

func TestFaultsThatClose(t *testing.T) {
	for name, test := range map[string]struct {
		fault   onebox.Fault
		applied bool
		sent    int
	}{
		"before":          {onebox.Fault{CloseBefore: true}, false, 0},
		"after":           {onebox.Fault{CloseAfter: true}, true, 0},
		"within the size": {onebox.Fault{Truncate: 3}, true, 3},
		"within":          {onebox.Fault{Truncate: 40}, true, 40},
	} {
		t.Run(name, func(t *testing.T) {
			onBothNetworks(t, func(t *testing.T, config onebox.Config) {
				f := newFaulty(t, config)
				test.fault.Match = onebox.OnMethod(wire.Put)
				f.node.Inject(test.fault)
				f.send(f.header(f.key), wire.Put, &wire.PutRequest{Key: f.key, Value: []byte("new")})
				got, err := io.ReadAll(f.conn)
				require.NoError(t, err)
				require.Len(t, got, test.sent)
				_, record := f.get(f.primary(f.key), f.key)
				require.Equal(t, test.applied, string(record.Value) == "new")
			})
		})
	}
}

func TestEarlierRepliesPrecedeAClose(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	f.node.Inject(onebox.Fault{CloseBefore: true, Match: onebox.OnMethod(wire.TTL)})
	var batch []byte
	header := f.header(f.key)
	header.TimeoutMillis = 1000
	batch = wire.AppendRequestV1(batch, &header, wire.Get, 7, wire.Blob(f.key))
	batch = wire.AppendRequestV1(batch, &header, wire.TTL, 8, wire.Blob(f.key))
	f.write(batch)
	f.ends(f.reply(7))
}

func TestFaultsThatDrop(t *testing.T) {
	for name, test := range map[string]struct {
		fault onebox.Fault
		want  string
	}{
		"request": {onebox.Fault{DropRequest: true}, "value"},
		"reply":   {onebox.Fault{DropReply: true}, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty(t, onebox.Config{})
			test.fault.Times = 1
			f.node.Inject(test.fault)
			f.send(f.header(f.key), wire.Put, &wire.PutRequest{Key: f.key, Value: []byte("new")})
			seq := f.ask()
			got, value := f.next()
			require.Equal(t, seq, got.Sequence, "nothing comes for the put")
			require.Equal(t, test.want, value)
			require.Equal(t, 2, f.node.Requests(wire.Put), "a dropped request has arrived as well")
		})
	}
}

func TestFaultHold(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	f.node.Inject(onebox.Fault{Hold: true, Times: 2})
	first := f.ask()
	f.silence()
	second, third := f.ask(), f.ask()
	var order []int32
	for range 3 {
		got, _ := f.next()
		order = append(order, got.Sequence)
	}
	require.Equal(t, []int32{third, first, second}, order)
	f.works()
}

// A reply that was held in the midst of a batch must not be released by the replies before it.
func TestFaultHoldWithinABatch(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	f.node.Inject(onebox.Fault{Hold: true, Match: func(r *onebox.Request) bool { return r.Sequence == 2 }})
	header := f.header(f.key)
	header.TimeoutMillis = 1000
	var batch []byte
	for seq := range int32(3) {
		batch = wire.AppendRequestV1(batch, &header, wire.Get, seq, wire.Blob(f.key))
	}
	f.write(batch)
	for want := range int32(2) {
		got, _ := f.next()
		require.Equal(t, want, got.Sequence)
	}
	f.silence()
	f.client.seq = 100
	f.ask()
	got, _ := f.next()
	require.EqualValues(t, 101, got.Sequence)
	got, _ = f.next()
	require.EqualValues(t, 2, got.Sequence)
}

func TestFaultDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		f := newFaulty(t, onebox.Config{Network: network})
		f.node.Inject(onebox.Fault{Delay: time.Second, Duplicate: true, Chunk: 7, Times: 1})
		start := time.Now()
		slow := f.ask()
		f.works() // overtakes
		require.Zero(t, time.Since(start))
		for range 2 {
			got, value := f.next()
			require.Equal(t, slow, got.Sequence)
			require.Equal(t, "value", value, "as it was when the request was served")
			require.Equal(t, time.Second, time.Since(start))
		}
	})
}

// Closing the cluster does not wait for replies that are due later, whether or not somebody is there to
// receive them.
func TestDelayedRepliesDieWithTheirServer(t *testing.T) {
	inBubble(t, func(t *testing.T, network *memnet.Network) {
		f := newFaulty(t, onebox.Config{Network: network})
		start := time.Now()
		f.node.Inject(onebox.Fault{Delay: time.Hour, Times: 2})
		f.ask()
		other := f.primary(f.key)
		other.send(f.header(f.key), wire.Get, wire.Blob(f.key))
		pass(0)
		require.NoError(t, other.conn.Close())
		f.node.Kill()
		f.node.Restart()
		require.NoError(t, f.Close())
		require.Zero(t, time.Since(start))
	})
}

// Replies that come in pieces, and late, do not mix with others.
func TestPiecesDoNotMix(t *testing.T) {
	onBothNetworks(t, func(t *testing.T, config onebox.Config) {
		f := newFaulty(t, config)
		f.node.Inject(onebox.Fault{
			Delay: time.Microsecond, Chunk: 9,
			Match: func(r *onebox.Request) bool { return r.Sequence%2 == 0 },
		})
		const requests = 400
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range requests {
				f.ask()
			}
		}()
		seen := map[int32]bool{}
		for range requests {
			got, value := f.next()
			require.Equal(t, "value", value)
			seen[got.Sequence] = true
		}
		require.Len(t, seen, requests)
		<-sent
	})
}

func TestFaultsOfMetaServers(t *testing.T) {
	elsewhere := "10.9.8.7:6543"
	for name, test := range map[string]struct {
		fault   onebox.Fault
		err     wire.ErrorName
		primary string
	}{
		"error":             {onebox.Fault{MetaError: wire.ErrUnderRecovery}, wire.ErrUnderRecovery, ""},
		"forward":           {onebox.Fault{ForwardTo: elsewhere}, wire.ErrForwardToOthers, elsewhere},
		"forward to nobody": {onebox.Fault{ForwardNowhere: true}, wire.ErrForwardToOthers, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, onebox.Config{}, onebox.TableOptions{})
			test.fault.Times = 1
			b.Meta(0).Inject(test.fault)
			got := b.query(b.Meta(0))
			require.Equal(t, test.err, got.Error)
			require.Zero(t, got.AppID)
			if test.primary == "" {
				require.Empty(t, got.Partitions)
			} else {
				require.Equal(t, test.primary, got.Partitions[0].Primary.String())
			}
			require.Equal(t, wire.ErrOK, b.query(b.Meta(0)).Error)
		})
	}
}

// Effects of query_cfg leave other requests alone.
func TestMetaFaultOnAReplica(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	f.node.Inject(onebox.Fault{MetaError: wire.ErrBusy})
	f.works()
}

func TestFaultForwardToNonsenseIsReported(t *testing.T) {
	b := newRudeBox(t, onebox.Config{}, onebox.TableOptions{})
	b.Meta(0).Inject(onebox.Fault{ForwardTo: "nonsense"})
	require.Equal(t, wire.ErrForwardToOthers, b.query(b.Meta(0)).Error)
	require.Len(t, b.Violations(), 1)
}

func TestFaultsMatchInOrderAndRunOut(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	seen := make(chan onebox.Request, 10)
	removeFirst := f.node.Inject(onebox.Fault{Error: "ERR_FIRST", Match: func(r *onebox.Request) bool {
		seen <- *r
		return r.Is(wire.Get)
	}})
	f.node.Inject(onebox.Fault{Error: "ERR_SECOND", Times: 2})
	errorOf := func(method *wire.Method) wire.ErrorName {
		return f.call(f.header(f.key), method, wire.Blob(f.key), nil).Error
	}
	require.EqualValues(t, "ERR_FIRST", errorOf(wire.Get))
	require.EqualValues(t, "ERR_SECOND", errorOf(wire.TTL))
	removeFirst()
	removeFirst()
	require.EqualValues(t, "ERR_SECOND", errorOf(wire.Get))
	require.Equal(t, wire.ErrOK, errorOf(wire.Get), "the second has disturbed two requests")

	first := <-seen
	require.Equal(t, wire.Get.Name(), first.Method)
	require.Equal(t, f.header(f.key).PartitionHash, first.Header.PartitionHash)
	require.Same(t, f.node, first.Node)
	require.EqualValues(t, 2, first.Sequence, "after the put")
}

// Match runs in the midst of a request and may use every switch.
func TestMatchMayKillItsServer(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	f.node.Inject(onebox.Fault{Match: func(r *onebox.Request) bool {
		r.Node.Kill()
		return false
	}})
	f.ask()
	f.ends([]byte{})
	require.False(t, f.node.IsAlive())
}

func TestFaultOfAnUnknownRequest(t *testing.T) {
	f := newFaulty(t, onebox.Config{})
	f.node.Inject(onebox.Fault{Error: wire.ErrBusy, ErrorWithBody: true, Times: 1})
	unknown := wire.NewMethod("RPC_UNKNOWN")
	got := f.call(f.header(f.key), unknown, wire.Blob(nil), nil)
	require.Equal(t, wire.ErrBusy, got.Error)
	require.False(t, got.HasResult)
}
