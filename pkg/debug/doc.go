// Package debug shows what a client knows and does, as a page for people and as JSON for programs:
//
//	recorder := debug.NewRecorder(0)
//	client, err := pegasus.Open(metas, pegasus.WithHooks(recorder.Hooks()))
//	...
//	http.Handle("/debug/bridle", debug.NewHandler(client, recorder))
//
// The page is for operators, not for the public: it names servers, tables and the texts of errors. Errors
// carry no keys and no values. It only reads, and costs the client what Client.Snapshot and Client.Stats
// cost; the Recorder costs nothing per operation, unless it is also to record those that are slow or fail:
//
//	pegasus.WithHooks(recorder.OperationHooks(time.Second))
package debug
