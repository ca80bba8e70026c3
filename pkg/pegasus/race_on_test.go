//go:build race

package pegasus_test

// raceDetector says whether the tests run under the race detector, which allocates.
const raceDetector = true
