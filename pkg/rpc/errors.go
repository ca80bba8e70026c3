package rpc

import (
	"errors"
	"fmt"
	"time"

	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Causes of failed calls and lost connections. They stand behind a *[CallError]; use errors.Is.
var (
	// ErrClosed means that the user closed the client, and only that.
	ErrClosed = errors.New("client closed")
	// ErrSilent means that a node sent nothing for longer than Options.ReadSilenceLimit although reads
	// were waiting, or than Options.SilenceLimit although writes were, and that the call or the
	// connection was given up for it.
	ErrSilent = errors.New("node is silent")
	// ErrProtocol means that a node sent bytes that are not the Pegasus protocol, and that the
	// connection was given up for it.
	ErrProtocol = errors.New("protocol violation")
	// ErrResponseTooLarge means that an answer is larger than Options.MaxResponseBytes. It costs the
	// connection, and the call should ask for less.
	ErrResponseTooLarge = errors.New("answer is too large")
	// ErrRetired means that a connection was closed because the client had no more use for it.
	ErrRetired = errors.New("connection retired")
	// ErrNoResult means that a server answered ERR_OK without a result. The request was not executed
	// (docs/protocol.md, the disk check quirk).
	ErrNoResult = errors.New("server answered without a result")
	// ErrConnect means that no connection to the node could be made.
	ErrConnect = errors.New("cannot connect")
	// ErrMoved means that a request waited for its turn until it belonged on another node, see
	// Request.Route.
	ErrMoved = errors.New("the request belongs on another node by now")
)

// ServerError is a frame error: the server's refusal to execute a request.
type ServerError struct {
	// Name is the error as the server names it, possibly one this client does not know.
	Name wire.ErrorName
}

// Error implements error.
func (e *ServerError) Error() string { return "server answered " + string(e.Name) }

// ResultError means that an answer came whose result could not be decoded. The connection goes on,
// unless it is for ErrResponseTooLarge.
type ResultError struct {
	// Err is, or leads to, a *wire.DecodeError.
	Err error
}

// Error implements error.
func (e *ResultError) Error() string { return fmt.Sprintf("cannot read the answer: %v", e.Err) }

// Unwrap returns the cause.
func (e *ResultError) Unwrap() error { return e.Err }

// Stage is how far a call had come.
type Stage uint8

// The stages in their order.
const (
	// StageConnecting means that the call waited for a connection.
	StageConnecting Stage = iota
	// StageAdmission means that the call waited for a place in the connection's window.
	StageAdmission
	// StageQueued means that the call's frame waited for the writer.
	StageQueued
	// StageAwaiting means that the frame was handed to the system and an answer was awaited.
	StageAwaiting
)

// String returns the stage in words, for error messages.
func (s Stage) String() string {
	switch s {
	case StageConnecting:
		return "connecting"
	case StageAdmission:
		return "waiting for admission"
	case StageQueued:
		return "queued"
	case StageAwaiting:
		return "awaiting the answer"
	}
	return fmt.Sprintf("Stage(%d)", uint8(s))
}

// CallError is the failure of a call that got no answer.
type CallError struct {
	// Address is the node's.
	Address string
	// Stage is how far the call had come.
	Stage Stage
	// Outcome is NotSent if the server certainly never had the whole request, InDoubt otherwise.
	Outcome retry.Outcome
	// Err is the cause: an error of the caller's context, one of the causes above, or what the
	// system reported.
	Err error
}

// Error implements error.
func (e *CallError) Error() string {
	return fmt.Sprintf("node %s: %s: %v", e.Address, e.Stage, e.Err)
}

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Err }

// ConnectError is the failure to make a connection. It satisfies errors.Is(err, ErrConnect).
type ConnectError struct {
	// RetryIn is the time until the node may be dialled again; calls before fail at once.
	RetryIn time.Duration
	// Err is what the dialler reported.
	Err error
}

// Error implements error.
func (e *ConnectError) Error() string { return fmt.Sprintf("%v: %v", ErrConnect, e.Err) }

// Unwrap returns ErrConnect and what the dialler reported.
func (e *ConnectError) Unwrap() []error { return []error{ErrConnect, e.Err} }
