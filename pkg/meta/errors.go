package meta

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Errors of this package, to be compared with errors.Is.
var (
	// ErrNoSuchTable means that the meta leader does not know a table of that name, because it was
	// never made or because it was dropped.
	ErrNoSuchTable = errors.New("no such table")
	// ErrNoLeader means that no meta server answered as leader before the time was over.
	ErrNoLeader = errors.New("no meta leader answered")
	// ErrAddress means that an address in the list of meta servers cannot be one.
	ErrAddress = errors.New("not a meta server address")
	// ErrRouting means that a meta server sent a routing that contradicts itself.
	ErrRouting = errors.New("routing makes no sense")
)

// ServerError is a meta server's refusal of a question. A refusal because the table does not exist
// also satisfies errors.Is(err, ErrNoSuchTable).
type ServerError struct {
	// Address is the meta server's.
	Address string
	// Name is the error as the server names it, possibly one this client does not know.
	Name wire.ErrorName
}

// Error implements error.
func (e *ServerError) Error() string { return fmt.Sprintf("meta %s answered %s", e.Address, e.Name) }

// Is makes ERR_OBJECT_NOT_FOUND an ErrNoSuchTable.
func (e *ServerError) Is(target error) bool {
	return target == ErrNoSuchTable && e.Name == wire.ErrObjectNotFound
}

// NoLeaderError tells why no answer could be had from the meta servers. It satisfies errors.Is for
// ErrNoLeader, for the error of the context that ended the search, and for what each server's last
// failure was.
type NoLeaderError struct {
	// Rounds is how often the servers were asked.
	Rounds int
	// Err is why the search ended, an error of the context as a rule.
	Err error
	// Failures are the last failures, one per server asked.
	Failures []error
}

// Error implements error.
func (e *NoLeaderError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%v in %d rounds: %v", ErrNoLeader, e.Rounds, e.Err)
	for _, failure := range e.Failures {
		fmt.Fprintf(&text, "; %v", failure)
	}
	return text.String()
}

// Unwrap returns ErrNoLeader, the error that ended the search, and the servers' failures.
func (e *NoLeaderError) Unwrap() []error {
	return append([]error{ErrNoLeader, e.Err}, e.Failures...)
}
