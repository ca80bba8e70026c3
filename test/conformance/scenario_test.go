package conformance

import (
	"slices"
	"testing"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
	"github.com/stretchr/testify/require"
)

// scenario brings about the states behind recorded exchanges of one topic and plays these.
type scenario struct {
	topic  string
	about  string
	config onebox.Config
	tables map[int32]tableSpec // by number in the recording
	steps  []step
}

// tableSpec is a table as it is at the start of a scenario.
type tableSpec struct {
	name    string
	options onebox.TableOptions
}

// step is either a change of state or the exchanges to play, in order.
type step struct {
	act   func(*stage)
	names []string
	play  func(*stage, *exchange) // nil: the usual way
}

func does(act func(*stage)) step { return step{act: act} }

func plays(names ...string) step { return step{names: names} }

// playsAt plays exchanges with a server of its own choice.
func playsAt(choose func(*stage) *onebox.Node, names ...string) step {
	return step{names: names, play: func(s *stage, e *exchange) {
		s.chosen = choose(s)
		defer func() { s.chosen = nil }()
		s.player.play(s.t, e)
	}}
}

// scenarios are all scenarios.
var scenarios = slices.Concat(gateScenarios, environmentScenarios, metaScenarios, failureScenarios, dataScenarios)

// exchanges returns the names of what is played, in order.
func (sc *scenario) exchanges() (names []string) {
	for _, step := range sc.steps {
		names = append(names, step.names...)
	}
	return names
}

// stage is where a scenario is played.
type stage struct {
	t *testing.T
	*fake
	player *player
	chosen *onebox.Node // receives what is played; nil: whom the recording says
}

// address is that of the fake cluster, unless a server has been chosen.
func (s *stage) address(t testing.TB, to role, gpid wire.GPID) string {
	if s.chosen != nil {
		return s.chosen.Address()
	}
	return s.fake.address(t, to, gpid)
}

func TestScenarios(t *testing.T) {
	for i := range scenarios {
		sc := &scenarios[i]
		t.Run(sc.topic+": "+sc.about, func(t *testing.T) {
			t.Parallel()
			sc.playAll(t)
		})
	}
}

func (sc *scenario) playAll(t *testing.T) {
	s := &stage{t: t, fake: newFake(t, sc.config)}
	s.player = newPlayer(t, s)
	s.player.shift = s.begin(recorded(t).find(t, exchanges, sc.topic, sc.exchanges()[0]).time())
	for recordedID, table := range sc.tables {
		s.player.apps[recordedID] = s.createTableWith(t, table.name, table.options)
	}
	for _, step := range sc.steps {
		if step.act != nil {
			step.act(s)
		}
		for _, name := range step.names {
			e := recorded(t).find(t, exchanges, sc.topic, name)
			if step.play == nil {
				s.player.run(t, e)
				continue
			}
			t.Run(name, func(sub *testing.T) {
				s.t = sub
				step.play(s, e)
			})
			s.t = t
		}
	}
}

// do fails the test if a switch could not be thrown.
func (s *stage) do(err error) {
	s.t.Helper()
	require.NoError(s.t, err)
}

// put writes a record to the table with the given number in the recording; ttl is in seconds, 0 means none.
func (s *stage) put(appID int32, hashKey, sortKey, value string, ttl int64) {
	s.t.Helper()
	key, err := wire.AppendKey(nil, []byte(hashKey), []byte(sortKey))
	require.NoError(s.t, err)
	in := &wire.PutRequest{Key: key, Value: []byte(value)}
	if ttl > 0 {
		in.ExpireSeconds = int32(s.clock.Load().Unix() - wire.ExpireEpoch + ttl)
	}
	out := new(wire.UpdateResponse)
	s.call(appID, hashKey, sortKey, wire.Put, in, out)
	require.Equal(s.t, wire.StatusOK, out.Status)
}

// call sends a request about a key to the primary and decodes the result.
func (s *stage) call(appID int32, hashKey, sortKey string, method *wire.Method, in wire.Arguments, out wire.Result) {
	s.t.Helper()
	appID = s.player.table(appID)
	hash := wire.KeyHash([]byte(hashKey), []byte(sortKey))
	count := s.PartitionCount(s.tables[appID])
	header := wire.Header{
		GPID:          wire.GPID{AppID: appID, PartitionIndex: int32(hash % uint64(count))},
		TimeoutMillis: wire.TimeoutMillis(patience), PartitionHash: hash,
	}
	conn := s.player.connect(s.t, s.fake.address(s.t, toPrimary, header.GPID))
	_, err := conn.Write(wire.AppendRequestV1(nil, &header, method, 1, in))
	require.NoError(s.t, err)
	frame, err := readFrame(conn)
	require.NoError(s.t, err)
	var response wire.Response
	require.NoError(s.t, wire.ParseResponse(frame, &response))
	require.Equal(s.t, wire.ErrOK, response.Error, "%s of %q %q", method.Name(), hashKey, sortKey)
	require.NoError(s.t, wire.DecodeResult(new(wire.Reader), response.Result, out))
}

// until returns a step that lets time pass until that of a recorded exchange.
func until(topic, name string) step {
	return does(func(s *stage) { s.reach(s.t, recorded(s.t).find(s.t, exchanges, topic, name).time()) })
}

// puts returns a step that writes a record.
func puts(appID int32, hashKey, sortKey, value string) step {
	return does(func(s *stage) { s.put(appID, hashKey, sortKey, value, 0) })
}

// tables of most recordings.
var goldData = map[int32]tableSpec{4: {"gold_data", onebox.TableOptions{Partitions: 4}}}

// long is longer than any test.
const long = 24 * time.Hour

// immediate is a delay that is none.
const immediate = -1
