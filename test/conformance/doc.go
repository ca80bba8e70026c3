// Package conformance holds test/onebox, and any live cluster on request, to the answers of real Apache
// Pegasus servers. It contains tests only.
//
// The answers were recorded, byte for byte; pkg/rpc/wire/testdata/README.md tells from which servers and in
// which form. There are two kinds of recordings. A script is a whole conversation with a table that starts
// empty. An exchange stands alone, and what was behind it has to be brought about first.
//
// # What is tested
//
//   - TestScripts plays every script from the top, over plain connections, against an empty cluster whose
//     clock follows the recording.
//   - TestScenarios brings about the states behind the exchanges, with the switches of the cluster, and sends
//     the recorded requests.
//   - TestTwins accepts an exchange that a script contains as well, if both recordings agree.
//   - TestEveryExchangeIsAccountedFor fails for an exchange that none of these tests covers and that
//     uncovered does not list with a reason, and for what is listed in vain.
//   - TestEveryBehaviourHasATest names the test of each thing that a correct client does, in whatever package it
//     is, or the reason for having none, and fails when a test is no longer there.
//
// An answer must be the recorded one byte for byte, but for the values that freeFields lists with reasons,
// such as log positions, and for the numbers of tables, which a cluster gives as it likes.
//
// # Against a live cluster
//
//	go test ./test/conformance -run TestScripts -meta 10.0.0.1:34601,10.0.0.2:34601
//
// plays the scripts against the cluster with those meta servers instead. It creates tables named
// conformance_... with three replicas, or what the flag -replicas says, and drops them at the end. It needs a
// cluster without authentication, and the right to create tables. The recorded waits are real then: it takes
// about 15 seconds, and the time the cluster takes to assign the replicas of new tables. A remaining life may
// differ by two seconds. What a script contains for a table with a setting of its own is left out; liveSkips
// lists it.
//
// # Map
//
//	recording_test.go   reads the recordings
//	request_test.go     makes a recorded request fit another cluster
//	answer_test.go      compares answers
//	free_test.go        what may differ (data)
//	player_test.go      sends requests and receives answers
//	script_test.go      plays the scripts
//	onebox_test.go      a fake cluster to play against
//	live_test.go        a live cluster to play against
//	admin_test.go       creates and drops its tables
//	front_test.go       tests the way to a live cluster, with a fake one
//	scenario_test.go    plays scenarios
//	*_scenarios_test.go the scenarios (data)
//	coverage_test.go    what is covered and what is not (data)
//	behaviours_test.go  what a correct client does, and the tests for it (data)
//	client_test.go      tests of what the client sends
//	scans_test.go       tests of scans by what they return
package conformance
