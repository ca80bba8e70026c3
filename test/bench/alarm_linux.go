package main

import (
	"os"
	"syscall"
	"unsafe"
)

// An alarm lets one goroutine sleep. On Linux it is a timerfd: while nothing else is to be done, the Go
// scheduler rounds the time up to whole milliseconds, which is several times what an operation takes.
type alarm struct{ file *os.File }

// clockMonotonic is CLOCK_MONOTONIC of <time.h>, which package syscall does not have.
const clockMonotonic = 1

// itimerspec is the kernel's.
type itimerspec struct{ interval, value syscall.Timespec }

func newAlarm() (*alarm, error) {
	const flags = syscall.O_NONBLOCK | syscall.O_CLOEXEC // TFD_NONBLOCK and TFD_CLOEXEC
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, flags, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("timerfd_create", errno)
	}
	return &alarm{os.NewFile(fd, "timerfd")}, nil
}

// sleep returns after so many nanoseconds, at least one.
func (a *alarm) sleep(nanoseconds int64) error {
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	setting := itimerspec{value: syscall.NsecToTimespec(nanoseconds)}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&setting)), 0, 0, 0)
	})
	if err == nil && errno != 0 {
		err = os.NewSyscallError("timerfd_settime", errno)
	}
	if err != nil {
		return err
	}
	var expirations [8]byte
	_, err = a.file.Read(expirations[:])
	return err
}

func (a *alarm) close() error { return a.file.Close() }
