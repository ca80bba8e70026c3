package retry

import "strconv"

// Outcome says what may have happened at the server. The values are ordered by how much can have
// gone wrong, so the outcome of an operation that failed after several attempts is the max of
// theirs: one attempt in doubt leaves the operation in doubt, whatever the later ones were told.
type Outcome uint8

const (
	// NotSent means that the request certainly never reached a server whole. Any operation may be
	// sent again.
	NotSent Outcome = iota
	// Answered means that the server decided: it succeeded, or refused and said why.
	Answered
	// InDoubt means that the request may or may not have been executed. Only an operation that may
	// be executed twice can be sent again.
	InDoubt
)

// String returns the outcome in words, for example "in doubt".
func (o Outcome) String() string {
	return nameOf("outcome", o, "not sent", "answered", "in doubt")
}

// Action says what to do about a failed attempt.
type Action uint8

const (
	// Return hands the failure to the caller.
	Return Action = iota
	// RetryHere sends the request again at once to the same place.
	RetryHere
	// Refresh says that the routing is stale: ask for new routing, choose partition and node anew,
	// and send the request there. Whoever refreshes waits for the new routing; the pause that
	// [Patience.Again] gives comes on top of it.
	Refresh
	// BackOff waits, then sends the request again with the current routing.
	BackOff
	// AskOthers is for meta servers only: this one is not the one to ask, so ask another.
	AskOthers
)

// String returns the action in words, for example "back off".
func (a Action) String() string {
	return nameOf("action", a, "return", "retry here", "refresh", "back off", "ask others")
}

// Layer says who reported a failure.
type Layer uint8

const (
	// FrameLayer is the error name in the header of a replica server's reply: routing, admission and
	// permission.
	FrameLayer Layer = iota
	// MetaLayer is the error name of a meta server's reply, in its body or in its header.
	MetaLayer
	// StorageLayer is the status that the storage engine put in field 1 of a data reply.
	StorageLayer
	// TransportLayer is the client itself: no answer came, or none that could be used.
	TransportLayer
)

// String returns the layer in one word, for example "frame".
func (l Layer) String() string {
	return nameOf("layer", l, "frame", "meta", "storage", "transport")
}

// Cause names the failures that the client sees without an answer to explain them.
type Cause uint8

const (
	// ConnectFailed means that no connection to the node could be made.
	ConnectFailed Cause = iota + 1
	// LostBeforeSent means that the connection died before the whole request was handed to it.
	LostBeforeSent
	// LostAfterSent means that the connection died when the request may have been on its way.
	LostAfterSent
	// AttemptTimedOut means that no reply came within the time given to one attempt. A server drops
	// some requests without a reply (docs/protocol.md, requests that get no reply at all).
	AttemptTimedOut
	// OKWithoutBody means that the reply's header says ERR_OK but there is no result: a write that
	// was refused because of the disk of a secondary (docs/protocol.md, the disk check quirk).
	OKWithoutBody
	// Undecodable means that a reply came and its bytes make no sense.
	Undecodable
	// NoPrimary means that the routing names no primary for the partition, so there was no one to
	// send the request to.
	NoPrimary
	// Moved means that the request waited to be sent until the routing named another node for it.
	Moved
)

// String returns the cause in words, for example "connect failed".
func (c Cause) String() string {
	return nameOf("cause", c, "none", "connect failed", "lost before sent", "lost after sent",
		"attempt timed out", "ERR_OK without body", "response undecodable", "no primary", "moved")
}

// nameOf returns the value's name, or its kind and number when it has none.
func nameOf[T ~uint8](kind string, value T, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return kind + "(" + strconv.Itoa(int(value)) + ")"
}

// Decide returns what to do after an attempt that failed as row says with the given outcome. It is
// the row's action, except that a request which may have been executed is never sent again unless
// the operation is idempotent: incr, check_and_set and check_and_mutate would be applied twice.
//
// The outcome is a parameter of its own because the connection knows more than the row: a request
// that timed out while it still waited to be written was NotSent. NotSent permits a retry, it does
// not ask for one.
func Decide(row Row, outcome Outcome, idempotent bool) Action {
	certain := outcome == NotSent || outcome == Answered
	if !certain && !idempotent {
		return Return
	}
	return row.Action
}
