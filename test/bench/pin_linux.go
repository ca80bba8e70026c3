package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// pin confines this process to one processor of those that it may use, the first of which is 0.
func pin(index int) error {
	var allowed, chosen unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if allowed.Count() <= index {
		return fmt.Errorf("-processors: this process may use only %d", allowed.Count())
	}
	for processor, seen := 0, -1; seen < index; processor++ {
		if allowed.IsSet(processor) {
			seen++
			chosen.Zero()
			chosen.Set(processor)
		}
	}
	for all := false; !all; {
		var err error
		if all, err = confine(&chosen); err != nil {
			return err
		}
	}
	runtime.GOMAXPROCS(1)
	return nil
}

// confine confines all threads of this process. It returns true if they all were already: until then, a
// thread that was not may have started another one that is not.
func confine(chosen *unix.CPUSet) (all bool, err error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return false, err
	}
	all = true
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return false, err
		}
		var current unix.CPUSet
		if err = unix.SchedGetaffinity(id, &current); err == nil && current != *chosen {
			all = false
			err = unix.SchedSetaffinity(id, chosen)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended meanwhile
			return false, os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return all, nil
}
