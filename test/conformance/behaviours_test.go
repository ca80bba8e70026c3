package conformance

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/inventory"
)

// behaviour is something that a correct client does, and the tests that hold this one to it.
type behaviour struct {
	number int
	text   string
	tests  []string // "folder TestName"
	reason string   // for having none
}

// The tests of a behaviour are named with their packages, which are these folders of the module.
const (
	inWire        = "pkg/rpc/wire "
	inRPC         = "pkg/rpc "
	inMeta        = "pkg/meta "
	inPegasus     = "pkg/pegasus "
	inConformance = "test/conformance "
)

// Reasons for having no test.
const (
	noSecurity = "the client does not authenticate itself yet"
	noAdmin    = "the client does not administer tables yet"
)

// behaviours are what a client has to get right, in the order of the topics of docs/protocol.md.
var behaviours = []behaviour{
	{number: 1, text: "frames are byte-identical to the examples of the reference", tests: []string{inWire + "TestExampleRequests"}},
	{number: 2, text: "the length of a response includes its own 4 bytes", tests: []string{inWire + "TestResponseSize", inWire + "TestExampleResponses"}},
	{number: 3, text: "pipelined requests answered in reverse order are matched by sequence id", tests: []string{inRPC + "TestPipeliningMatchesAnswersInReverseOrder"}},
	{number: 4, text: "a response with an unknown sequence id is ignored", tests: []string{inRPC + "TestProtocolAnswersNobodyAskedFor", inPegasus + "TestDefect03UnknownAnswers"}},
	{number: 5, text: "a frame error without a body is that error", tests: []string{inPegasus + "TestFrameErrors"}},
	{number: 6, text: "a frame error with a body is that error, and the next frame is read", tests: []string{inPegasus + "TestFrameErrors", inRPC + "TestPipeliningMixesAnswersAndRefusals"}},
	{number: 7, text: "ERR_OK without a body is a failure, and the connection stays", tests: []string{inPegasus + "TestOKWithoutResult"}},
	{number: 8, text: "an unknown error name is an opaque error", tests: []string{inWire + "TestUnknownErrorName", inPegasus + "TestDefect03UnknownAnswers"}},
	{number: 9, text: "blobs have field type 12 and bare content", tests: []string{inWire + "TestLayout", inWire + "TestRecordedArguments"}},
	{number: 10, text: "partition_configuration decodes with and without names; ports are unsigned", tests: []string{inWire + "TestExamplePartition", inWire + "TestPartitionOfOldServer", inWire + "TestAddress"}},
	{number: 11, text: "crc64 vectors; without a hash key that of the sort key", tests: []string{inWire + "TestKeyHash"}},
	{number: 12, text: "hash keys of 65535 bytes are rejected before sending, 65534 are accepted", tests: []string{inPegasus + "TestDefect12HashKeyTooLong", inPegasus + "TestDefect12HashKeyTooLongForSeveral"}},
	{number: 13, text: "the next key after ff bytes in sort key, hash key and length prefix", tests: []string{inWire + "TestNextKey"}},
	{number: 14, text: "meta requests carry no app id and partition hash 0", tests: []string{inConformance + "TestMetaRequestsAddressNoPartition"}},
	{number: 15, text: "a follower that knows the leader forwards to it, even if it is not configured", tests: []string{inMeta + "TestQueryFindsTheLeader", inMeta + "TestMetaSession_MustQueryLeader"}},
	{number: 16, text: "without a known leader the next server is asked; in vain until the deadline", tests: []string{inMeta + "TestNoLeaderForAWhile", inMeta + "TestServersThatTakeTurns"}},
	{number: 17, text: "ERR_SERVICE_NOT_ACTIVE is retried with a pause; ERR_OBJECT_NOT_FOUND means no such table", tests: []string{inMeta + "TestLoadingLeaderIsAskedAgain", inMeta + "TestNoSuchTable"}},
	{number: 18, text: "a partition without primary is asked for again; others keep working", tests: []string{inPegasus + "TestDefect08NoPrimary", inPegasus + "TestPrimaryInTheLastMoment"}},
	{number: 19, text: "ERR_INVALID_STATE and ERR_OBJECT_NOT_FOUND refresh, and the retry reaches the new primary", tests: []string{inPegasus + "TestDefect05And17MovedPrimary", inPegasus + "TestFrameErrors"}},
	{number: 20, text: "ERR_PARENT_PARTITION_MISUSED refreshes, and the retry recomputes the partition", tests: []string{inConformance + "TestPartitionIsComputedAnewAfterASplit", inPegasus + "TestSplitUnderLoad"}},
	{number: 21, text: "a child with ballot -1 is reached at its parent, with the parent's gpid and the key's hash", tests: []string{inConformance + "TestUnreadyChildIsReachedThroughItsParent", inMeta + "TestLocate"}},
	{number: 22, text: "a split that is cancelled is accepted", tests: []string{inMeta + "TestSplit", inMeta + "TestSuccession"}},
	{number: 23, text: "a new app id of the same name is picked up", tests: []string{inPegasus + "TestTableMadeAnew"}},
	{number: 24, text: "ERR_BUSY and ERR_SPLITTING trigger no meta query", tests: []string{inPegasus + "TestFrameErrors", inPegasus + "TestBusyByPolicy"}},
	{number: 25, text: "a silent server leads to a timeout at the deadline; a late reply is discarded", tests: []string{inRPC + "TestSweepExpiresCallsWithoutAContextDeadline", inRPC + "TestCancelByContextDeadline", inRPC + "TestPendingKeepsLateAnswersFromLaterCalls"}},
	{number: 26, text: "a lost connection fails all its requests at once; the next one reconnects", tests: []string{inRPC + "TestDeathFailsEveryCallAtOnce", inPegasus + "TestDefect01And15Redial"}},
	{number: 27, text: "incr is not resent after a connection is lost", tests: []string{inPegasus + "TestAtomicOperationsAreSentOnce"}},
	{number: 28, text: "a TTL is sent as seconds since 2016, 0 as 0; a negative one is rejected", tests: []string{inPegasus + "TestDefect43TTLIsRoundedUp", inPegasus + "TestMultiSetTTL"}},
	{number: 29, text: "ttl of a missing key, of one without TTL, of an expired one", tests: []string{inPegasus + "TestRecords", inPegasus + "TestRecordExpires"}},
	{number: 30, text: "multi_get of a range that is continued yields every record once", tests: []string{inPegasus + "TestMultiGetRangeContinues"}},
	{number: 31, text: "multi_get with error 7 and no records does not loop", tests: []string{inPegasus + "TestMultiGetRangeFindsNothingInTime"}},
	{number: 32, text: "multi_get in reverse with a limit returns the last records, ascending", tests: []string{inPegasus + "TestMultiGetRange"}},
	{number: 33, text: "multi_get by sort keys: order of the request, absent keys", tests: []string{inPegasus + "TestMultiSetAndGet"}},
	{number: 34, text: "multi_put and multi_remove of nothing are rejected", tests: []string{inPegasus + "TestRefusals"}},
	{number: 35, text: "incr: absent, empty, no integer, overflow, hex and octal, TTL kept, set and cleared", tests: []string{inPegasus + "TestIncr", inPegasus + "TestDefect06IncrFails", inPegasus + "TestIncrTTL"}},
	{number: 36, text: "check_and_set with every check type, and the value before", tests: []string{inPegasus + "TestDefect11CheckTypes"}},
	{number: 37, text: "check_and_mutate applies all or nothing", tests: []string{inPegasus + "TestCheckAndMutate", inPegasus + "TestDefect11CheckTypes"}},
	{number: 38, text: "scan: empty batches, negative ids, -1, the newest id for every batch", tests: []string{inConformance + "TestScanFollowsContexts"}},
	{number: 39, text: "scan: a lost context is resumed after the last received key", tests: []string{inConformance + "TestScanResumesAfterLostContexts", inConformance + "TestScanResumesAfterAnEmptyBatch"}},
	{number: 40, text: "scan: a resumed table scan sets full_scan", tests: []string{inConformance + "TestScanResumesAfterLostContexts", inPegasus + "TestScanRequests"}},
	{number: 41, text: "scan: error 7 resumes after the last received key", tests: []string{inConformance + "TestScanResumesWhenTheServerRanOutOfTime"}},
	{number: 42, text: "scan: an empty range is answered locally", tests: []string{inPegasus + "TestEmptyRangeIsAnsweredLocally"}},
	{number: 43, text: "clear_scanner waits for no reply", tests: []string{inConformance + "TestCloseOfAScannerWaitsForNothing"}},
	{number: 44, text: "only_return_count sums over batches and partitions", tests: []string{inConformance + "TestCountOfATable"}},
	{number: 45, text: "scans after a split return no record of a sibling, and each once", tests: []string{inConformance + "TestScanAfterASplit"}},
	{number: 46, text: "negotiation", reason: noSecurity},
	{number: 47, text: "create_app polls until all replicas are there", reason: noAdmin},
	{number: 48, text: "recall_app is sent to the leader", reason: noAdmin},
	{number: 49, text: "ERR_PARENT_PARTITION_MISUSED while the child is not told yet: a pause between refreshes", tests: []string{inPegasus + "TestChildIsNotToldYet"}},
	{number: 50, text: "a negative remaining life other than -1 is far in the future", tests: []string{inPegasus + "TestTTLAnswers"}},
	{number: 51, text: "create_app refuses default_ttl", reason: noAdmin},
	{number: 52, text: "a silent meta server, and followers that name a dead leader, block nothing beyond its deadline", tests: []string{inMeta + "TestQueryFindsTheLeader", inMeta + "TestFollowersNameADeadLeader"}},
}

func TestEveryBehaviourHasATest(t *testing.T) {
	tests, err := inventory.Take()
	require.NoError(t, err)
	for i, b := range behaviours {
		require.Equal(t, i+1, b.number, b.text)
		require.NotEmpty(t, b.text, "behaviour %d", b.number)
		require.Equal(t, b.reason == "", len(b.tests) > 0, "behaviour %d has either tests or a reason", b.number)
		for _, test := range b.tests {
			folder, name, _ := strings.Cut(test, " ")
			require.True(t, tests.Has(folder, name), "behaviour %d, %s: there is no %s in %s", b.number, b.text, name, folder)
		}
	}
	require.Len(t, behaviours, 52)
}
