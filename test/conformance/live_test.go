package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// liveSkips are the tables of scripts that are left out on a live cluster, and why.
var liveSkips = map[string]string{
	"gold_iter": "needs an iteration time of 1 ms, set by an environment variable, and a server under load",
}

// Times that a live cluster is given.
const (
	creationTime = 2 * time.Minute        // until all replicas of a new table are assigned
	pollPause    = 200 * time.Millisecond // between questions whether they are
	silenceTime  = time.Second            // in which a reply that must not come would have come
	dataReserve  = 60                     // seconds for which the data of a dropped table is kept
	liveTTLSlack = 2                      // seconds, for the way of requests and the difference of clocks
)

// live is a cluster that was not made for these tests. Its clock cannot be set, so the recording is played at
// the pace at which it was recorded, from the moment of the first exchange.
type live struct {
	metas    []string
	replicas int
	clock    clock
	begun    time.Time // when the first exchange was played
	recorded time.Time // when it was recorded
	routing  map[int32]*wire.QueryConfigResponse
	silent   func(testing.TB, *exchange, net.Conn) // requires that there is no reply
}

// clock is the time of a live cluster, for which that of this machine stands.
type clock struct {
	now   func() time.Time
	sleep func(time.Duration)
}

var wallClock = clock{now: time.Now, sleep: time.Sleep}

func newLive(t testing.TB, metas []string, replicas int) *live {
	t.Helper()
	return newLiveAt(t, metas, replicas, wallClock)
}

func newLiveAt(t testing.TB, metas []string, replicas int, c clock) *live {
	t.Helper()
	for _, meta := range metas {
		_, _, err := net.SplitHostPort(meta)
		require.NoError(t, err, "-meta wants host:port,...")
	}
	return &live{metas: metas, replicas: replicas, clock: c, routing: map[int32]*wire.QueryConfigResponse{}, silent: requireQuiet}
}

func (l *live) begin(recorded time.Time) (shift int32) {
	l.begun, l.recorded = l.clock.now().Truncate(time.Second), recorded
	return int32(l.begun.Sub(recorded) / time.Second)
}

func (l *live) reach(_ testing.TB, recorded time.Time) {
	if wait := l.begun.Add(recorded.Sub(l.recorded)).Sub(l.clock.now()); wait > 0 {
		l.clock.sleep(wait)
	}
}

func (l *live) slack() int32 { return liveTTLSlack }

func (l *live) createTable(t testing.TB, name string, partitions int) int32 {
	t.Helper()
	name = fmt.Sprintf("conformance_%s_%.8s", name, rand.Text())
	request := createAppRequest{name: name, partitions: int32(partitions), replicas: int32(l.replicas)}
	created := l.askLeader(t, createApp, request)
	require.Equal(t, wire.ErrOK, created.Error, "creating table %s", name)
	t.Cleanup(func() {
		dropped := l.askLeader(t, dropApp, dropAppRequest{name: name, reserveSeconds: dataReserve})
		require.Equal(t, wire.ErrOK, dropped.Error, "dropping table %s", name)
	})
	deadline := time.Now().Add(creationTime)
	for {
		routing := l.askLeader(t, wire.QueryConfig, &wire.QueryConfigRequest{Table: name})
		if l.isComplete(routing) {
			l.routing[created.AppID] = routing
			return created.AppID
		}
		require.True(t, time.Now().Before(deadline), "table %s has not got all its replicas", name)
		time.Sleep(pollPause)
	}
}

func (l *live) isComplete(routing *wire.QueryConfigResponse) bool {
	for _, p := range routing.Partitions {
		if addressOf(p.Primary, p.PrimaryName) == "" || len(p.Secondaries)+1 < l.replicas {
			return false
		}
	}
	return routing.Error == wire.ErrOK && len(routing.Partitions) > 0
}

func (l *live) address(t testing.TB, to role, gpid wire.GPID) string {
	t.Helper()
	routing := l.routing[gpid.AppID]
	if routing == nil { // no such table: any server will do
		for _, routing = range l.routing {
			to, gpid = toPrimary, wire.GPID{}
			break
		}
	}
	p := routing.Partitions[gpid.PartitionIndex]
	if to != toSecondary {
		return addressOf(p.Primary, p.PrimaryName)
	}
	require.NotEmpty(t, p.Secondaries, "this recording needs tables with a secondary: use -replicas")
	var name wire.HostPort
	if len(p.SecondaryNames) > 0 {
		name = p.SecondaryNames[0]
	}
	return addressOf(p.Secondaries[0], name)
}

// addressOf returns where a server is, by address or, for want of one, by name; empty if there is no server.
func addressOf(address netip.AddrPort, name wire.HostPort) string {
	if address.IsValid() {
		return address.String()
	}
	return name.String()
}

func (l *live) dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func (l *live) requireSilence(t testing.TB, e *exchange, conn net.Conn) {
	t.Helper()
	l.silent(t, e, conn)
}

// requireQuiet waits for as long as a reply would have taken.
func requireQuiet(t testing.TB, e *exchange, conn net.Conn) {
	t.Helper()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(silenceTime)))
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "%v: there should be no reply", e)
}

// askLeader sends a request to the meta servers until one of them answers as the leader.
func (l *live) askLeader(t testing.TB, method *wire.Method, arguments wire.Arguments) *adminResponse {
	t.Helper()
	var failures error
	for _, meta := range l.metas {
		answer, err := l.ask(meta, wire.QueryConfig, &wire.QueryConfigRequest{Table: "conformance"})
		if err == nil && answer.Error == wire.ErrForwardToOthers && len(answer.Partitions) > 0 {
			meta = addressOf(answer.Partitions[0].Primary, answer.Partitions[0].PrimaryName)
		}
		if err == nil {
			answer, err = l.ask(meta, method, arguments)
		}
		if err == nil && answer.Error != wire.ErrForwardToOthers {
			return answer
		}
		failures = errors.Join(failures, err)
	}
	require.FailNow(t, "no meta server answers as the leader", "%v: %v", l.metas, failures)
	return nil
}

// ask sends a request to a meta server and waits for the answer.
func (l *live) ask(meta string, method *wire.Method, arguments wire.Arguments) (*adminResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := l.dial(ctx, meta)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	header := wire.Header{TimeoutMillis: wire.TimeoutMillis(patience)}
	if _, err := conn.Write(wire.AppendRequestV1(nil, &header, method, 1, arguments)); err != nil {
		return nil, err
	}
	frame, err := readFrame(conn)
	if err != nil {
		return nil, err
	}
	var response wire.Response
	if err := wire.ParseResponse(frame, &response); err != nil {
		return nil, err
	}
	if response.Error != wire.ErrOK || len(response.Result) == 0 {
		return nil, fmt.Errorf("%s: %s", method.Name(), response.Error)
	}
	answer := new(adminResponse)
	return answer, wire.DecodeResult(new(wire.Reader), response.Result, answer)
}
