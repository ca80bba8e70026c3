//go:build unix

package main

import "syscall"

// processCPU returns the CPU time that this process has used so far, user and system, in seconds.
func processCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return notAvailable
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}
