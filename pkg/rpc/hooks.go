package rpc

import "time"

// Hooks are functions that a Pool calls when something happens to the connections of a node; those that
// are nil are not. They are called outside all locks, by goroutines that the fate of the connection
// depends on and that Pool.Close waits for: so they return soon, make no calls, and do not close the
// pool. Package pegasus has hooks without such conditions.
type Hooks struct {
	// DialBegin is called before a dial.
	DialBegin func(address string)
	// DialEnd is called when a dial has ended, with the error that its callers get.
	DialEnd func(address string, took time.Duration, err error)
	// ConnectionLost is called when a connection has ended and its calls have failed. The cause is
	// ErrRetired or ErrClosed if the client had no more use for it.
	ConnectionLost func(address string, cause error)
	// CircuitChanged is called when the circuit of a node has changed, in the order of the changes.
	CircuitChanged func(CircuitChange)
}

// Times tell where a call has spent its time. The caller of Node.Call owns them.
type Times struct {
	// Entered is when the request was handed to the connection, after the connection was made and had
	// room for it; zero if that did not happen.
	Entered time.Time
}

// entered notes that the request was handed to the connection.
func (q *Request) entered() {
	if q.Times != nil {
		q.Times.Entered = time.Now()
	}
}
