// Package corpus keeps the committed inputs of fuzz targets: the files under testdata/fuzz that go test gives to a
// target every time, whether or not it fuzzes.
//
// Most are written by a generator, a test of the package that has the targets, which calls [Verify]: one file for each
// way in which bytes can be hostile, with a name that says which. The test fails when they differ from what the
// generator makes. When that is meant:
//
//	go test ./pkg/meta ./pkg/pegasus ./pkg/rpc/... -run TestCorpora -update
//
// Files whose names begin with [Found] are none of the generator's: the fuzzer found them. It gives its findings names
// that are hashes of them, which Verify refuses, so whoever commits one has to say what it is.
package corpus
