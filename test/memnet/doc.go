// Package memnet is a network in memory, for tests of code that dials,
// listens, reads and writes. It behaves as TCP does where a client or server
// can tell the difference, and it can be told to misbehave: latency, packets
// that vanish, resets, refusals, data that comes in small pieces.
//
//	network := memnet.New()
//	listener, err := network.Listen("10.0.0.1:34601")
//	...
//	conn, err := network.DialContext(ctx, "tcp", "10.0.0.1:34601")
//	network.Blackhole("10.0.0.1:34601", true)
//
// # Addresses
//
// An address is a literal IP address and a port, such as "10.0.0.1:34601" or
// "[fd00::1]:34601". There are no names, no wildcard addresses and no routes:
// a dial reaches the listener whose address is the same, or none. Addresses
// need no set-up, and what is configured for one holds for the connections it
// has and for those it will have. Whoever dials gets an address of its own
// from 192.0.2.1 or 2001:db8::1, which can be configured as well.
//
// # Virtual time
//
// A Network works inside a bubble of [testing/synctest] as it works outside of
// one:
//
//	synctest.Test(t, func(t *testing.T) {
//		network := memnet.New()
//		network.SetLatency("10.0.0.1:34601", 30*time.Millisecond)
//		...
//	})
//
// Whatever blocks in it, blocks durably, so the clock of the bubble moves
// on; latency and deadlines take exactly their time; and the network starts no
// goroutine of its own. The Network, its users and the contexts they pass must
// belong to the same bubble.
//
// # How close to TCP it is
//
//   - Each direction of a connection holds up to [BufferSize] bytes that were
//     written and not read yet, those on their way included. A writer who finds
//     no room waits for the reader.
//   - Closing delivers what was written before, then [io.EOF]. Once the peer
//     knows of it, it cannot write any more: EPIPE. TCP would accept its first
//     write, and would reset the connection if it was closed with bytes unread.
//   - A dial takes a round trip, a refusal as well. The connection can be
//     accepted when half of it is over.
//   - A packet that is held by a black hole is not lost; see
//     [Network.Blackhole].
//   - Errors are *[net.OpError] and wrap the error number that the operating
//     system would give, so [errors.Is] works on both sides of a fault.
package memnet
