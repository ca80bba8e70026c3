package defects

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/inventory"
)

// defect is something that the old client did, and the tests that fail if this one does it.
type defect struct {
	number int
	text   string
	tests  []string // "folder TestDefect...", each with the number in its name
}

// The tests are named with their packages, which are these folders of the module.
const (
	inRetry   = "pkg/retry "
	inMeta    = "pkg/meta "
	inPegasus = "pkg/pegasus "
	inDefects = "test/defects "
)

// defects are those of the official Go client at db756dcdf, found by running or reading it.
var defects = []defect{
	{1, "a lost connection is dialled again after a minute, though the server is there", []string{inPegasus + "TestDefect01And15Redial"}},
	{2, "the timeout in the header is cut to 32 bits before it is divided: 0 or nonsense", []string{inPegasus + "TestDefect02TimeoutInHeader"}},
	{3, "an answer that cannot be decoded leaves the connection dead for ever", []string{inPegasus + "TestDefect03UnknownAnswers", inPegasus + "TestDefect03And04Nonsense"}},
	{4, "the answer to a request without a decoder kills the connection", []string{inPegasus + "TestDefect03And04Nonsense"}},
	{5, "every retry goes to the replica of the first try", []string{inPegasus + "TestDefect05And17MovedPrimary"}},
	{6, "errors of the storage engine are retried to the deadline, and lost", []string{inPegasus + "TestDefect06StorageErrorsAreFinal", inPegasus + "TestDefect06EveryStorageError", inPegasus + "TestDefect06IncrFails"}},
	{7, "a split while a partition has no primary panics in the caller", []string{inPegasus + "TestDefect07SplitWithoutPrimary", inPegasus + "TestDefect07ScanDuringSplit"}},
	{8, "one partition without primary fails the table, or half of a refresh", []string{inPegasus + "TestDefect08NoPrimary"}},
	{9, "a resumed scan of a table ends with its hash key", []string{inPegasus + "TestDefect09ResumedTableScanIsFull"}},
	{10, "sort keys from ff ff on are not scanned and not deleted", []string{inPegasus + "TestDefect10SortKeysOfAllOnes"}},
	{11, "\"integer greater\" compares bytes", []string{inPegasus + "TestDefect11CheckTypes"}},
	{12, "a hash key of 65535 bytes is sent, and aborts the server", []string{inPegasus + "TestDefect12HashKeyTooLong", inPegasus + "TestDefect12HashKeyTooLongForSeveral"}},
	{13, "meta servers are kept in two variables: lost connections, index out of range", []string{inPegasus + "TestDefect13ConcurrentFirstOpens"}},
	{14, "calls in flight are not told that their connection is lost", []string{inPegasus + "TestDefect14InFlightCallsMove"}},
	{15, "after a refused dial a call sleeps to its deadline", []string{inPegasus + "TestDefect01And15Redial"}},
	{16, "a silent node is left after 30 s, by one table only", []string{inPegasus + "TestDefect16SilentNode"}},
	{17, "ERR_INVALID_STATE is the caller's to handle", []string{inPegasus + "TestDefect05And17MovedPrimary"}},
	{18, "after 15 minutes a waiting call becomes a busy loop", []string{inPegasus + "TestDefect18LongWaits"}},
	{19, "a context that cannot be hashed panics", []string{inPegasus + "TestDefect19UnhashableContext"}},
	{20, "every call looks at the contexts of all others", []string{inPegasus + "TestDefect20WaitingContexts"}},
	{21, "expired calls stay in memory", []string{inPegasus + "TestDefect21AbandonedCalls"}},
	{22, "closing a scanner waits for an answer that never comes", []string{inPegasus + "TestDefect22CloseDoesNotWait"}},
	{23, "connections to nodes that left are kept", []string{inPegasus + "TestDefect23NodesThatLeft"}},
	{24, "sockets are not closed when they are lost", []string{inPegasus + "TestDefect24LostConnectionsAreClosed"}},
	{25, "idle connections wake up a thousand times a second", []string{inPegasus + "TestDefect25IdleConnectionsSleep"}},
	{26, "calls that succeed allocate a back-off and a timer", []string{inRetry + "TestDefect26SuccessCostsNothing"}},
	{27, "a batch is a goroutine and a request per key", []string{inPegasus + "TestDefect27BatchGetIsFewRequests"}},
	{28, "50 allocations per get", []string{inPegasus + "TestDefect28Allocations"}},
	{29, "a timeout amid a frame loses its place in the stream", []string{inPegasus + "TestDefect29SlowAnswer"}},
	{30, "a server out of time loses the scan and its records", []string{inPegasus + "TestDefect30OutOfTime"}},
	{31, "after an error a scanner invents another one", []string{inPegasus + "TestDefect31ErrorsAreNotFinal"}},
	{32, "DelRange writes into options that others share", []string{inPegasus + "TestDefect32DelRangeOptionsAreNotWritten"}},
	{33, "scanners write into the caller's options", []string{inPegasus + "TestDefect33OptionsAreNotWritten"}},
	{34, "requests read the routing while it is written", []string{inPegasus + "TestDefect34And35RoutingChangesUnderOperations"}},
	{35, "handlers and decoders are registered while they are read", []string{inPegasus + "TestDefect34And35RoutingChangesUnderOperations"}},
	{36, "nil options panic", []string{inPegasus + "TestDefect36NilOptions"}},
	{37, "a partition without ballot gives a negative index", []string{inMeta + "TestDefect37PartitionsWithoutBallots"}},
	{38, "opening one table blocks the opening of all", []string{inPegasus + "TestDefect38StuckOpen"}},
	{39, "errors.Is and errors.As find no cause", []string{inPegasus + "TestDefect39Errors"}},
	{40, "metrics are global, and end the process", []string{inPegasus + "TestDefect40NothingIsGlobal"}},
	{41, "an unknown meta name ends the process", []string{inPegasus + "TestDefect41And42MetaNames"}},
	{42, "meta names are resolved once, without ports, all or none", []string{inPegasus + "TestDefect41And42MetaNames"}},
	{43, "a TTL is rounded down, to 0", []string{inPegasus + "TestDefect43TTLIsRoundedUp"}},
	{44, "a closed table is returned by the next open", []string{inPegasus + "TestDefect44ClosedTable"}},
	{45, "dependencies break the programs that embed the client", []string{inDefects + "TestDefect45FewDependencies"}},
	{46, "importing it writes a log file", []string{inPegasus + "TestDefect46SilentByDefault", inDefects + "TestDefect46NothingHappensOnImport"}},
	{47, "DelRange hides why it failed, and how far it came", []string{inPegasus + "TestDefect47DelRangeSaysHowFarItCame"}},
	{48, "filters of all ff make an impossible range", []string{inPegasus + "TestDefect48ScanRanges"}},
}

func TestEveryDefectHasATest(t *testing.T) {
	tests, err := inventory.Take()
	require.NoError(t, err)
	for i, d := range defects {
		require.Equal(t, i+1, d.number, d.text)
		require.NotEmpty(t, d.tests, "defect %d, %s", d.number, d.text)
		for _, test := range d.tests {
			folder, name, _ := strings.Cut(test, " ")
			require.True(t, tests.Has(folder, name), "defect %d, %s: there is no %s in %s", d.number, d.text, name, folder)
			require.Contains(t, numbers(name), d.number, name)
		}
	}
	require.Len(t, defects, 48)
}

// Tests that claim to be about a defect are in the table.
func TestNoTestOfADefectIsForgotten(t *testing.T) {
	tests, err := inventory.Take()
	require.NoError(t, err)
	for _, name := range tests.Names("TestDefect") {
		for _, number := range numbers(name) {
			require.LessOrEqual(t, number, len(defects), name)
			require.Contains(t, fmt.Sprintln(defects[number-1].tests), name, "defect %d", number)
		}
	}
}

var numbered = regexp.MustCompile(`^TestDefect(\d\d)(?:And(\d\d))?[A-Z]`)

// numbers returns the defects that a test is about, by its name.
func numbers(test string) (list []int) {
	for _, digits := range numbered.FindStringSubmatch(test)[1:] {
		if number, err := strconv.Atoi(digits); err == nil {
			list = append(list, number)
		}
	}
	return list
}
