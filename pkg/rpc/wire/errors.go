package wire

// ErrorName is the name of an error as Pegasus servers send it, for example "ERR_BUSY". Names are
// the only form in which errors travel, and servers learn new ones with every release: a name that
// is not listed here is carried unchanged and treated as an opaque failure of its own request,
// never as a reason to distrust the connection (docs/protocol.md, errors).
type ErrorName string

// Names that the client acts upon or that a server is known to send to clients. The meaning of each,
// and what the client does about it, is the table in package retry.
const (
	ErrOK                     ErrorName = "ERR_OK"
	ErrUnknown                ErrorName = "ERR_UNKNOWN"
	ErrTimeout                ErrorName = "ERR_TIMEOUT"
	ErrServiceNotActive       ErrorName = "ERR_SERVICE_NOT_ACTIVE"
	ErrBusy                   ErrorName = "ERR_BUSY"
	ErrForwardToOthers        ErrorName = "ERR_FORWARD_TO_OTHERS"
	ErrObjectNotFound         ErrorName = "ERR_OBJECT_NOT_FOUND"
	ErrHandlerNotFound        ErrorName = "ERR_HANDLER_NOT_FOUND"
	ErrInvalidParameters      ErrorName = "ERR_INVALID_PARAMETERS"
	ErrCapacityExceeded       ErrorName = "ERR_CAPACITY_EXCEEDED"
	ErrInvalidState           ErrorName = "ERR_INVALID_STATE"
	ErrInactiveState          ErrorName = "ERR_INACTIVE_STATE"
	ErrNotEnoughMember        ErrorName = "ERR_NOT_ENOUGH_MEMBER"
	ErrInvalidData            ErrorName = "ERR_INVALID_DATA"
	ErrStateFreezed           ErrorName = "ERR_STATE_FREEZED"
	ErrNotImplemented         ErrorName = "ERR_NOT_IMPLEMENTED"
	ErrNoNeedOperate          ErrorName = "ERR_NO_NEED_OPERATE"
	ErrTryAgain               ErrorName = "ERR_TRY_AGAIN"
	ErrAppExist               ErrorName = "ERR_APP_EXIST"
	ErrAppNotExist            ErrorName = "ERR_APP_NOT_EXIST"
	ErrAppDropped             ErrorName = "ERR_APP_DROPPED"
	ErrBusyCreating           ErrorName = "ERR_BUSY_CREATING"
	ErrBusyDropping           ErrorName = "ERR_BUSY_DROPPING"
	ErrNetworkFailure         ErrorName = "ERR_NETWORK_FAILURE"
	ErrUnderRecovery          ErrorName = "ERR_UNDER_RECOVERY"
	ErrOperationDisabled      ErrorName = "ERR_OPERATION_DISABLED"
	ErrUnauthenticated        ErrorName = "ERR_UNAUTHENTICATED"
	ErrACLDeny                ErrorName = "ERR_ACL_DENY"
	ErrSplitting              ErrorName = "ERR_SPLITTING"
	ErrParentPartitionMisused ErrorName = "ERR_PARENT_PARTITION_MISUSED"
	ErrChildNotReady          ErrorName = "ERR_CHILD_NOT_READY"
	ErrChildRegistered        ErrorName = "ERR_CHILD_REGISTERED"
	ErrDiskInsufficient       ErrorName = "ERR_DISK_INSUFFICIENT"
	ErrDiskIOError            ErrorName = "ERR_DISK_IO_ERROR"
	ErrRDBCorruption          ErrorName = "ERR_RDB_CORRUPTION"
)

// knownErrorNames maps each name above to itself, so that decoding a known one copies nothing.
var knownErrorNames = func() map[string]ErrorName {
	names := []ErrorName{
		ErrOK, ErrUnknown, ErrTimeout, ErrServiceNotActive, ErrBusy, ErrForwardToOthers,
		ErrObjectNotFound, ErrHandlerNotFound, ErrInvalidParameters, ErrCapacityExceeded,
		ErrInvalidState, ErrInactiveState, ErrNotEnoughMember, ErrInvalidData, ErrStateFreezed,
		ErrNotImplemented, ErrNoNeedOperate, ErrTryAgain, ErrAppExist, ErrAppNotExist,
		ErrAppDropped, ErrBusyCreating, ErrBusyDropping, ErrNetworkFailure, ErrUnderRecovery,
		ErrOperationDisabled, ErrUnauthenticated, ErrACLDeny, ErrSplitting,
		ErrParentPartitionMisused, ErrChildNotReady, ErrChildRegistered, ErrDiskInsufficient,
		ErrDiskIOError, ErrRDBCorruption,
	}
	known := make(map[string]ErrorName, len(names))
	for _, name := range names {
		known[string(name)] = name
	}
	return known
}()

// InternErrorName turns the bytes of an error name into an ErrorName. It allocates only for names
// this package does not list, and keeps no reference to name.
func InternErrorName(name []byte) ErrorName {
	if string(name) == string(ErrOK) { // by far the most frequent, and cheaper to compare than to look up
		return ErrOK
	}
	if known, ok := knownErrorNames[string(name)]; ok {
		return known
	}
	return ErrorName(name)
}

// Status is the storage engine's verdict in field 1 of every data response (a RocksDB status code,
// docs/protocol.md, errors).
type Status int32

// Statuses that a client can meet. Servers produce OK, NotFound, InvalidArgument, Incomplete and
// TryAgain on purpose; the others tell of trouble in the storage engine. Values not listed are
// carried unchanged.
const (
	StatusOK                 Status = 0
	StatusNotFound           Status = 1
	StatusCorruption         Status = 2
	StatusNotSupported       Status = 3
	StatusInvalidArgument    Status = 4
	StatusIOError            Status = 5
	StatusMergeInProgress    Status = 6
	StatusIncomplete         Status = 7
	StatusShutdownInProgress Status = 8
	StatusTimedOut           Status = 9
	StatusAborted            Status = 10
	StatusBusy               Status = 11
	StatusExpired            Status = 12
	StatusTryAgain           Status = 13
)
