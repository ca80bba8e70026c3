//go:build unix && (!linux || 386 || race || msan || asan)

package rpc

import "syscall"

// Where there are no system calls with flags, or where package syscall tells the race detector and the like
// what the system has done to memory, and what follows from what: who tests with a server in the same
// process relies on that.

// receiveNow reads what there is. The error is a syscall.Errno: EAGAIN if there is nothing.
func receiveNow(fd uintptr, buffer []byte) (n int, err error) { return syscall.Read(int(fd), buffer) }

// sendNow writes what the system takes. The error is a syscall.Errno: EAGAIN if that is nothing.
func sendNow(fd uintptr, batch []byte) (n int, err error) { return syscall.Write(int(fd), batch) }
