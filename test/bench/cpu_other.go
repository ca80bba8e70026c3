//go:build !unix

package main

// processCPU returns notAvailable: there is no getrusage here.
func processCPU() float64 { return notAvailable }
