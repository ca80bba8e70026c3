//go:build unix && (!linux || 386)

package rpc

import "syscall"

// receiveNow reads what there is. The error is a syscall.Errno: EAGAIN if there is nothing.
func receiveNow(fd uintptr, buffer []byte) (n int, err error) { return syscall.Read(int(fd), buffer) }

// sendNow writes what the system takes. The error is a syscall.Errno: EAGAIN if that is nothing.
func sendNow(fd uintptr, batch []byte) (n int, err error) { return syscall.Write(int(fd), batch) }
