package retry

import "github.com/bridle-kv/bridle/pkg/rpc/wire"

// whyOpaque explains every answer that the table does not list.
const whyOpaque = "not known to this client"

// frameRows are the errors a replica server puts in the header of its reply (docs/protocol.md, frame
// errors a data client can receive). All of them are raised before the request is executed, a late
// ERR_NOT_ENOUGH_MEMBER and ERR_CAPACITY_EXCEEDED before the write enters the log, so the retried
// ones are safe for every operation.
var frameRows = answers(FrameLayer,
	Row{Name: wire.ErrOK, Action: Return, Executed: true, Why: "handled"},

	Row{Name: wire.ErrObjectNotFound, Action: Refresh, Why: "the node does not host the partition"},
	Row{Name: wire.ErrInvalidState, Action: Refresh, Why: "the replica is not an active primary"},
	Row{Name: wire.ErrParentPartitionMisused, Action: Refresh, Why: "the key belongs to another partition since a split"},

	Row{Name: wire.ErrSplitting, Action: BackOff, Why: "the partition is switching over in a split"},
	Row{Name: wire.ErrNotEnoughMember, Action: BackOff, Why: "too few live replicas for a write"},
	Row{Name: wire.ErrCapacityExceeded, Action: BackOff, Why: "too many uncommitted writes"},

	Row{Name: wire.ErrBusy, Action: Return, Overload: true, Why: "throttled, or the server's queue is full"},

	Row{Name: wire.ErrACLDeny, Action: Return, Why: "permission denied"},
	Row{Name: wire.ErrInvalidData, Action: Return, Why: "the write is larger than the server accepts"},
	Row{Name: wire.ErrOperationDisabled, Action: Return, Why: "atomic write on a duplicating table, or a bulk load is running"},
	Row{Name: wire.ErrDiskInsufficient, Action: Return, Why: "the primary's disk is short of space"},
	Row{Name: wire.ErrDiskIOError, Action: Return, Why: "the primary's disk is broken"},
	Row{Name: wire.ErrHandlerNotFound, Action: Return, Why: "the server does not know the operation"},
	Row{Name: wire.ErrInvalidParameters, Action: Return, Why: "the server does not know the operation's code"},
	Row{Name: wire.ErrNoNeedOperate, Action: Return, Why: "nothing to ingest"},
)

// metaRows are the errors of meta servers (docs/protocol.md, body errors of meta servers), and
// ERR_HANDLER_NOT_FOUND, which a starting one puts in the header before it can serve anything. They
// are raised by the checks that come before a change, so the retried ones are safe for
// administration as well as for queries.
var metaRows = answers(MetaLayer,
	Row{Name: wire.ErrOK, Action: Return, Executed: true, Why: "handled"},

	Row{Name: wire.ErrForwardToOthers, Action: AskOthers, Why: "this meta server is not the leader"},
	Row{Name: wire.ErrHandlerNotFound, Action: AskOthers, Why: "this meta server is starting"},

	Row{Name: wire.ErrServiceNotActive, Action: BackOff, Why: "the leader is still loading its state"},
	Row{Name: wire.ErrBusyCreating, Action: BackOff, Why: "the table is being created or recalled"},
	Row{Name: wire.ErrBusyDropping, Action: BackOff, Why: "the table is being dropped"},

	Row{Name: wire.ErrUnderRecovery, Action: Return, Why: "the leader waits for an administrator to recover the cluster"},
	Row{Name: wire.ErrACLDeny, Action: Return, Why: "permission denied"},
	Row{Name: wire.ErrObjectNotFound, Action: Return, Why: "no such table"},
	Row{Name: wire.ErrAppNotExist, Action: Return, Why: "no such table"},
	Row{Name: wire.ErrAppExist, Action: Return, Why: "the table exists"},
	Row{Name: wire.ErrAppDropped, Action: Return, Why: "the table was dropped"},
	Row{Name: wire.ErrStateFreezed, Action: Return, Why: "the cluster is frozen"},
	Row{Name: wire.ErrInvalidParameters, Action: Return, Why: "the request was rejected"},
	Row{Name: wire.ErrSplitting, Action: Return, Why: "the table is splitting and cannot be dropped"},
	Row{Name: wire.ErrBusy, Action: Return, Why: "the table is splitting already"},
	Row{Name: wire.ErrInvalidState, Action: Return, Why: "the table is not splitting"},
	Row{Name: wire.ErrChildRegistered, Action: Return, Why: "the split has gone too far to be cancelled"},
	Row{Name: wire.ErrNotImplemented, Action: Return, Why: "unsupported kind of name pattern"},
	Row{Name: wire.ErrUnknown, Action: Return, Executed: true, Why: "the table is in an unexpected state"},
)

// storageRows are the storage engine's verdicts (docs/protocol.md, RocksDB status codes). The engine
// ran the request, so none is retried: a retry would only repeat the verdict, or apply incr twice. The
// rows are in the order of the statuses, so that a status is the index of its row: "no such record"
// is an everyday answer and its lookup should cost nothing.
var storageRows = answers(StorageLayer,
	Row{Status: wire.StatusOK, Executed: true, Why: "success"},
	Row{Status: wire.StatusNotFound, Executed: true, Why: "no such record, or unknown scan context"},
	Row{Status: wire.StatusCorruption, Executed: true, Why: "corrupted storage"},
	Row{Status: wire.StatusNotSupported, Executed: true, Why: "not supported"},
	Row{Status: wire.StatusInvalidArgument, Executed: true, Why: "bad request, or a value that is no integer or overflows"},
	Row{Status: wire.StatusIOError, Executed: true, Why: "storage I/O error"},
	Row{Status: wire.StatusMergeInProgress, Executed: true, Why: "merge in progress"},
	Row{Status: wire.StatusIncomplete, Executed: true, Why: "partial result because of a limit"},
	Row{Status: wire.StatusShutdownInProgress, Executed: true, Why: "storage is shutting down"},
	Row{Status: wire.StatusTimedOut, Executed: true, Why: "storage timed out"},
	Row{Status: wire.StatusAborted, Executed: true, Why: "aborted"},
	Row{Status: wire.StatusBusy, Executed: true, Why: "storage is busy"},
	Row{Status: wire.StatusExpired, Executed: true, Why: "expired"},
	Row{Status: wire.StatusTryAgain, Executed: true, Why: "the check did not pass"},
	Row{Status: statusCompactionTooLarge, Executed: true, Why: "compaction too large"},
	Row{Status: statusColumnFamilyDropped, Executed: true, Why: "column family dropped"},
)

// Statuses that exist in the storage engine and are not expected from a server.
const (
	statusCompactionTooLarge  wire.Status = 14
	statusColumnFamilyDropped wire.Status = 15
)

// transportRows are the failures without a usable answer (docs/protocol.md, recommended rules for a
// new client). Losing a node is the usual sign that its partitions moved, so routing is refreshed.
// A reply that cannot be decoded would most likely come again, so it is not asked for.
var transportRows = accidents(
	Row{Cause: ConnectFailed, Outcome: NotSent, Action: Refresh, Why: "no connection to the node"},
	Row{Cause: LostBeforeSent, Outcome: NotSent, Action: Refresh, Why: "the connection died before the request was sent"},
	Row{Cause: NoPrimary, Outcome: NotSent, Action: Refresh, Why: "the partition has no primary"},
	Row{Cause: Moved, Outcome: NotSent, Action: Refresh, Why: "the partition moved while the request waited to be sent"},
	Row{Cause: LostAfterSent, Outcome: InDoubt, Executed: true, Action: Refresh, Why: "the connection died before the reply came"},
	Row{Cause: AttemptTimedOut, Outcome: InDoubt, Executed: true, Action: Refresh, Why: "no reply in time"},
	Row{Cause: Undecodable, Outcome: InDoubt, Executed: true, Action: Return, Why: "the reply could not be understood"},
	Row{Cause: OKWithoutBody, Outcome: Answered, Action: Return, Why: "the write was refused, most likely for a secondary's disk"},
)
