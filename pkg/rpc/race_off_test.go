//go:build !race

package rpc

// raceDetector says whether the tests run under the race detector, which allows 8128 goroutines.
const raceDetector = false
