package conformance

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// translation is what differs between the cluster of a recording and the one that is played against.
type translation struct {
	apps     map[int32]int32 // numbers of tables
	contexts map[int64]int64 // ids of scan contexts
	shift    int32           // seconds by which the clock is ahead
}

// Where frames have the number of the table (docs/protocol.md, frames).
const (
	appIDOffsetV0      = 24
	threadHashOffsetV0 = 36
	metaOffsetV1       = 16
)

// request returns the request of an exchange, changed only where the cluster is another.
func (tr *translation) request(e *exchange) []byte {
	frame := slices.Clone(e.Request)
	tr.setTable(e, frame)
	tr.setContext(e, frame)
	return tr.setExpiries(e, frame)
}

// setTable replaces the number of the table, and with it the thread hash.
func (tr *translation) setTable(e *exchange, frame []byte) {
	gpid := e.gpid()
	appID, ok := tr.apps[gpid.AppID]
	if !ok {
		return
	}
	if e.HeaderVersion == 0 {
		gpid.AppID = appID
		binary.BigEndian.PutUint32(frame[appIDOffsetV0:], uint32(appID))
		binary.BigEndian.PutUint32(frame[threadHashOffsetV0:], uint32(gpid.ThreadHash()))
		return
	}
	field := binary.BigEndian.AppendUint32([]byte{8, 0, 1}, uint32(gpid.AppID))
	at := metaOffsetV1 + bytes.Index(frame[metaOffsetV1:], field)
	binary.BigEndian.PutUint32(frame[at+3:], uint32(appID))
}

// contextEnds are the bytes that follow the context id, by RPC.
var contextEnds = map[string]int{wire.Scan.Name(): 2, wire.ClearScanner.Name(): 1}

// setContext replaces the id of a scan context that the cluster has issued under another.
func (tr *translation) setContext(e *exchange, frame []byte) {
	if id, ok := contextOf(e); ok {
		if issued, ok := tr.contexts[id]; ok {
			binary.BigEndian.PutUint64(frame[len(frame)-contextEnds[e.RPC]-8:], uint64(issued))
		}
	}
}

// contextOf returns the id of the scan context that a request continues or frees; ok is false for other requests.
func contextOf(e *exchange) (id int64, ok bool) {
	end, ok := contextEnds[e.RPC]
	if !ok {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(e.Request[len(e.Request)-end-8:])), true
}

// setExpiries shifts the expiries in the arguments. Some are not meant as a time near that of the recording
// but as one long past, or as a negative number; they stay.
func (tr *translation) setExpiries(e *exchange, frame []byte) []byte {
	if tr.shift == 0 {
		return frame
	}
	for _, expiry := range expiriesOf(e, frame) {
		const decade = 10 * 365 * 24 * 3600
		if distance := int64(expiry) + wire.ExpireEpoch - e.Decoded.RecordedAt; math.Abs(float64(distance)) < decade {
			frame = bytes.ReplaceAll(frame, bigEndian(expiry), bigEndian(expiry+tr.shift))
		}
	}
	return frame
}

func bigEndian(value int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(value)) }

// expiriesOf returns the different expiries in a request.
func expiriesOf(e *exchange, frame []byte) (expiries []int32) {
	arguments := newArguments(e.RPC)
	var request wire.Request
	if _, err := wire.ParseRequest(frame, &request); err != nil || arguments == nil {
		return nil
	}
	if err := wire.DecodeArguments(new(wire.Reader), request.Arguments, arguments); err != nil {
		return nil
	}
	switch in := arguments.(type) {
	case *wire.PutRequest:
		expiries = append(expiries, in.ExpireSeconds)
	case *wire.MultiPutRequest:
		expiries = append(expiries, in.ExpireSeconds)
	case *wire.IncrRequest:
		expiries = append(expiries, in.ExpireSeconds)
	case *wire.CheckAndSetRequest:
		expiries = append(expiries, in.SetExpireSeconds)
	case *wire.CheckAndMutateRequest:
		for _, m := range in.Mutations {
			expiries = append(expiries, m.ExpireSeconds)
		}
	}
	slices.Sort(expiries)
	return slices.Compact(expiries)
}

// newArguments returns the argument of a write, nil of other RPCs.
func newArguments(rpc string) wire.Result {
	switch rpc {
	case wire.Put.Name():
		return new(wire.PutRequest)
	case wire.MultiPut.Name():
		return new(wire.MultiPutRequest)
	case wire.Incr.Name():
		return new(wire.IncrRequest)
	case wire.CheckAndSet.Name():
		return new(wire.CheckAndSetRequest)
	case wire.CheckAndMutate.Name():
		return new(wire.CheckAndMutateRequest)
	}
	return nil
}

// Nothing but the number of the table, the context id and the expiry may change.
func TestTranslation(t *testing.T) {
	identity := translation{shift: 1}
	other := translation{apps: map[int32]int32{}, contexts: map[int64]int64{}}
	back := translation{apps: map[int32]int32{}, contexts: map[int64]int64{}}
	for _, topics := range recorded(t) {
		for _, list := range topics {
			for _, e := range list {
				other.apps[e.gpid().AppID], back.apps[e.gpid().AppID+1000] = e.gpid().AppID+1000, e.gpid().AppID
				if e.gpid().AppID <= 0 {
					delete(other.apps, e.gpid().AppID)
				}
				changed := *e
				changed.Request = other.request(e)
				require.Len(t, changed.Request, len(e.Request), "%v", e)
				if _, ok := other.apps[e.gpid().AppID]; ok {
					changed.Decoded.Header.AppID += 1000
				}
				require.Equal(t, []byte(e.Request), back.request(&changed), "%v", e)
				require.Len(t, identity.request(e), len(e.Request), "%v", e)
			}
		}
	}
}

func TestTranslationOfExpiries(t *testing.T) {
	year := translation{shift: int32((365 * 24 * time.Hour).Seconds())}
	shifted := 0
	for _, list := range recorded(t)[scripts] {
		for _, e := range list {
			before, after := expiriesOf(e, e.Request), expiriesOf(e, year.request(e))
			require.Len(t, after, len(before), "%v", e)
			for i, expiry := range before {
				if expiry <= 1000 { // negative, none, or long past
					require.Equal(t, expiry, after[i], "%v", e)
				} else {
					require.Equal(t, expiry+year.shift, after[i], "%v", e)
					shifted++
				}
			}
		}
	}
	require.Positive(t, shifted)
}

func TestTranslationOfContexts(t *testing.T) {
	for _, rpc := range []*wire.Method{wire.Scan, wire.ClearScanner} {
		var arguments wire.Arguments = &wire.ScanRequest{ContextID: -7}
		want := wire.Arguments(&wire.ScanRequest{ContextID: 9})
		if rpc == wire.ClearScanner {
			old, replaced := wire.Int64(-7), wire.Int64(9)
			arguments, want = &old, &replaced
		}
		e := &exchange{RPC: rpc.Name(), Request: wire.AppendRequestV1(nil, &wire.Header{}, rpc, 1, arguments)}
		tr := translation{contexts: map[int64]int64{-7: 9}}
		require.Equal(t, wire.AppendRequestV1(nil, &wire.Header{}, rpc, 1, want), tr.request(e))
	}
}
