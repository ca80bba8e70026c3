package conformance

import (
	"slices"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// uncoveredRow lists exchanges that no test plays, and why.
type uncoveredRow struct {
	topic  string
	rpcs   []string // all exchanges of these RPCs
	names  []string // and these ones
	reason string
}

// uncovered are the exchanges that no test plays.
var uncovered = []uncoveredRow{
	{topic: "admin", rpcs: []string{
		"RPC_CM_LIST_NODES", "RPC_CM_CLUSTER_INFO", "RPC_CM_LIST_APPS", "RPC_CM_CREATE_APP",
		"RPC_CM_GET_MAX_REPLICA_COUNT", "RPC_CM_GET_ATOMIC_IDEMPOTENT", "RPC_CM_SET_ATOMIC_IDEMPOTENT",
		"RPC_CM_SET_MAX_REPLICA_COUNT", "RPC_CM_QUERY_MANUAL_COMPACT_STATUS", "RPC_CM_RENAME_APP", "RPC_CM_DROP_APP",
		"RPC_CM_UPDATE_APP_ENV", "RPC_CM_CONTROL_META", "RPC_CM_RECALL_APP",
	}, reason: noAdministration},
	{topic: "admin", names: []string{"rename_old_name_right_after"}, reason: noRename},
	{topic: "app_env", rpcs: []string{"RPC_CM_UPDATE_APP_ENV", "RPC_CM_LIST_APPS"}, reason: noAdministration},
	{topic: "failover", rpcs: []string{
		"RPC_CM_LIST_NODES", "RPC_CM_CREATE_APP", "RPC_CM_RENAME_APP", "RPC_CM_DROP_APP",
	}, reason: noAdministration},
	{topic: "failover", names: []string{"stale_table_old_name_ok"}, reason: noRename},
	{topic: "failover", names: []string{"stale_table_get_after_drop_0"}, reason: "in onebox replicas stop serving a dropped table in the moment of the drop"},
	{topic: "meta_failover", rpcs: []string{"RPC_CM_LIST_APPS"}, reason: noAdministration},
	{topic: "split", rpcs: []string{
		"RPC_CM_QUERY_PARTITION_SPLIT", "RPC_CM_CONTROL_PARTITION_SPLIT", "RPC_CM_START_PARTITION_SPLIT",
		"RPC_CM_DROP_APP", "RPC_CM_LIST_APPS",
	}, reason: noAdministration},
	{topic: "table_env_gates", rpcs: []string{"RPC_CM_LIST_APPS"}, reason: noAdministration},
}

const (
	noAdministration = "onebox serves no administration; its methods do what these RPCs do"
	noRename         = "onebox cannot rename tables, so no old name goes on resolving for some milliseconds"
)

func (row *uncoveredRow) covers(e *exchange) bool {
	return e.Topic == row.topic && (slices.Contains(row.rpcs, e.RPC) || slices.Contains(row.names, e.Name))
}

// twin returns the exchange of a script that is the same request to the same state, nil if there is none or if a
// scenario plays the exchange itself.
func twin(all recordings, e *exchange) *exchange {
	if isPlayed(e) {
		return nil
	}
	for _, other := range all[scripts][e.Topic] {
		if other.Name == e.Name {
			return other
		}
	}
	return nil
}

// isPlayed says whether a scenario plays an exchange.
func isPlayed(e *exchange) bool {
	return slices.ContainsFunc(scenarios, func(sc scenario) bool {
		return sc.topic == e.Topic && slices.Contains(sc.exchanges(), e.Name)
	})
}

// TestTwins checks that an exchange agrees with the one of the same name in the script of its topic, which is
// played: that it differs only in the number of the table, the sequence id, the id of a scan context and times,
// and the answer in what is free.
func TestTwins(t *testing.T) {
	all := recorded(t)
	twins := 0
	for _, list := range all[exchanges] {
		tr := translation{apps: map[int32]int32{}, contexts: map[int64]int64{}}
		for _, e := range list {
			other := twin(all, e)
			if other == nil {
				continue
			}
			twins++
			t.Run(e.Topic+"/"+e.Name, func(t *testing.T) { tr.requireTwins(t, e, other) })
		}
	}
	require.Greater(t, twins, 200)
}

func (tr *translation) requireTwins(t *testing.T, e, other *exchange) {
	tr.apps[e.gpid().AppID] = other.gpid().AppID
	tr.shift = int32(other.Decoded.RecordedAt - e.Decoded.RecordedAt)
	require.Equal(t, e.To, other.To, "%v", e)
	require.Equal(t, e.ClosedByServer, other.ClosedByServer, "%v", e)
	require.Equal(t, len(e.Response) == 0, len(other.Response) == 0, "%v", e)
	tr.pairContexts(t, e, other)
	mine, its := parseRequest(t, e, tr.request(e)), parseRequest(t, other, other.Request)
	require.Equal(t, its, mine, "%v", e)
	if len(e.Response) > 0 {
		frame := slices.Clone(other.Response)
		sequence := parseResponse(t, e).Sequence
		copy(frame[sequenceOffset(t, other):], bigEndian(sequence))
		tr.requireAnswer(t, e, frame, twinSlack)
		tr.learn(t, e, frame)
	}
}

// pairContexts takes the scan contexts that two requests continue for the same one, unless it knows better.
// Where they come from need not have been recorded.
func (tr *translation) pairContexts(t *testing.T, e, other *exchange) {
	mine, ok := contextOf(e)
	its, too := contextOf(other)
	require.Equal(t, ok, too, "%v", e)
	if !ok {
		return
	}
	if known, ok := tr.contexts[mine]; ok {
		require.Equal(t, its, known, "%v: the context", e)
	}
	tr.contexts[mine] = its
}

// twinSlack is by how many seconds the remaining lives in twins differ, because the one was recorded some seconds
// after its set-up, of which there is no recording.
const twinSlack = 3

// parseRequest reads a request; what is of no account is blanked.
func parseRequest(t *testing.T, e *exchange, frame []byte) (request wire.Request) {
	t.Helper()
	if _, err := wire.ParseRequest(frame, &request); err != nil {
		require.True(t, e.ClosedByServer, "%v: %v", e, err)
	}
	request.Sequence, request.Body = 0, nil
	return request
}

func parseResponse(t *testing.T, e *exchange) (response wire.Response) {
	t.Helper()
	require.NoError(t, wire.ParseResponse(e.Response, &response), "%v", e)
	return response
}

// sequenceOffset returns where the response of an exchange has the sequence id.
func sequenceOffset(t *testing.T, e *exchange) int {
	response := parseResponse(t, e)
	return 4 + 4 + len(response.Error) + 4 + 4 + len(response.Name)
}

// Every exchange is covered in exactly one way, or listed; and nothing is listed in vain.
func TestEveryExchangeIsAccountedFor(t *testing.T) {
	all := recorded(t)
	played := map[string]int{}
	for _, sc := range scenarios {
		for _, name := range sc.exchanges() {
			played[all.find(t, exchanges, sc.topic, name).String()]++
		}
	}
	for _, list := range all[exchanges] {
		for _, e := range list {
			ways := played[e.String()]
			if twin(all, e) != nil {
				ways++
			}
			for i := range uncovered {
				if uncovered[i].covers(e) {
					ways++
				}
			}
			require.Equal(t, 1, ways, "%v is covered or listed so many times", e)
		}
	}
}

func TestNothingIsListedInVain(t *testing.T) {
	all := recorded(t)
	for i := range uncovered {
		row := &uncovered[i]
		require.NotEmpty(t, row.reason, row.topic)
		for _, name := range row.names {
			all.find(t, exchanges, row.topic, name)
		}
		for _, rpc := range row.rpcs {
			require.True(t, slices.ContainsFunc(all[exchanges][row.topic], func(e *exchange) bool { return e.RPC == rpc }),
				"%s has no %s", row.topic, rpc)
		}
	}
}
