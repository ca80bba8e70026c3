package onebox

// negotiationName is the RPC by which clients prove who they are.
const negotiationName = "RPC_NEGOTIATION"

// authenticationDisabled is the answer to whatever a client negotiates: status 9, with which it goes on
// without authentication (docs/protocol.md, authentication). It implements wire.Arguments.
type authenticationDisabled struct{}

// AppendField appends the result struct: the status, and an empty message.
func (authenticationDisabled) AppendField(dst []byte, id int16) []byte {
	return append(dst,
		12, byte(id>>8), byte(id),
		8, 0, 1, 0, 0, 0, 9,
		12, 0, 2, 0, 0, 0, 0,
		0)
}
