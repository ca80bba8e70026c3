//go:build linux && !386 && !race && !msan && !asan

package rpc

import (
	"syscall"
	"unsafe"
)

// The system calls here never wait, whatever mode the socket is in: somebody who shares it may have
// changed that. So the runtime need not know of them. It would be told of each by syscall.Read and
// syscall.Write, and then have a thread look every 20 microseconds whether it still goes on, which
// cost a quarter of the processor time of a busy connection.

// receiveNow reads what there is. The error is a syscall.Errno: EAGAIN if there is nothing.
func receiveNow(fd uintptr, buffer []byte) (n int, err error) {
	return transferNow(syscall.SYS_RECVFROM, fd, buffer, syscall.MSG_DONTWAIT)
}

// sendNow writes what the system takes. The error is a syscall.Errno: EAGAIN if that is nothing.
func sendNow(fd uintptr, batch []byte) (n int, err error) {
	if len(batch) > shortCall {
		return syscall.Write(int(fd), batch)
	}
	return transferNow(syscall.SYS_SENDTO, fd, batch, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
}

// transferNow makes a system call on a socket and some bytes, without an address.
func transferNow(call, fd uintptr, bytes []byte, flags uintptr) (n int, err error) {
	done, _, errno := syscall.RawSyscall6(call, fd,
		uintptr(unsafe.Pointer(unsafe.SliceData(bytes))), uintptr(len(bytes)), flags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(done), nil
}
