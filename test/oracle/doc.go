// Package oracle holds package wire to the library that everybody else uses: Apache Thrift's own for
// Go. What thrift's TBinaryProtocol writes, wire has to read, what wire writes, thrift has to read,
// and of arbitrary bytes both have to say the same. It consists of tests only.
//
// It is a module of its own because a requirement on thrift in the main module would enter the module
// graph of everybody who imports that, and thrift's generated code is tied to its version.
//
// The two do not agree on everything, and should not. The tests know these exceptions:
//
//   - Pegasus's irregular types (blob, gpid, host_port ...) are marked as structs but are not encoded
//     like structs. Thrift's skipper loses its way on them, so wire refuses unknown fields of struct
//     type, which thrift skips. See TestThriftLosesItsWay.
//   - A bool is true unless its byte is 0, as for the C++ library that servers use; for the Go library
//     it is true if its byte is 1.
//   - The type UUID is newer than Pegasus and unknown to wire.
//   - Unknown containers may be nested 17 deep; thrift's limit can be chosen and is set to the same.
//   - A list may come once only in a struct, its elements must be of the type expected, and more than
//     1024 of them need room for all their fields that are not optional.
package oracle
