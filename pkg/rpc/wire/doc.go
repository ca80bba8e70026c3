// Package wire is the Pegasus client protocol as bytes: frames, the thrift profile with Pegasus's
// irregular types, the structs of each RPC, and the encoding and hashing of keys. It does no I/O and
// knows nothing of connections, routing or time.
//
// Encoders append to a slice that the caller owns and allocate nothing else. Decoders read from a
// [Reader] over a frame that the caller owns; byte slices in decoded structs point into that frame
// and are valid only as long as it is (fields say so). Every length is checked against the bytes
// that are really there before anything is allocated for it, fields of ordinary types that are not
// known are skipped, and a fault is an error that names the place, never a panic.
//
// Each RPC is a [Method] plus an argument and a result. Adding one means: a Method in method.go, and
// its structs in the shape of those in single.go, each with a method that lists its fields and from
// which both directions follow. Both exist for every struct, because a test cluster needs the
// server's half.
package wire
