package main

import "fmt"

// placement says on which of the machine's processors the benchmark and the server that it starts run.
// Where the system is free to choose, it chooses anew all the time, and how dear it is to wake the other
// side depends on that more than on anything else: with one caller, throughput varies by a factor of four.
type placement string

const (
	anywhere placement = ""
	apart    placement = "apart"    // a processor for each process
	together placement = "together" // one processor for both
)

func (p placement) check() error {
	switch p {
	case anywhere, apart, together:
		return nil
	}
	return fmt.Errorf("-processors: %q is neither %s nor %s", string(p), apart, together)
}

// placeClient puts this process where the client has to be. The server must have been started before, since
// a process inherits the choice of processors.
func (p placement) placeClient() error {
	if p == anywhere {
		return nil
	}
	return pin(0)
}

// placeServer puts this process where the server has to be.
func (p placement) placeServer() error {
	switch p {
	case apart:
		return pin(1)
	case together:
		return pin(0)
	default:
		return nil
	}
}

// describe is what the report says of it, after the description of the server.
func (p placement) describe() string {
	switch p {
	case apart:
		return ", a processor for each process"
	case together:
		return ", one processor for both processes"
	default:
		return ""
	}
}
