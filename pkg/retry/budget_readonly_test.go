//go:build linux && !race

// The race detector performs atomic operations in C code, where a fault cannot be recovered from.

package retry

import (
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// Success on a full budget must not write, not even the value that is there: hundreds of goroutines
// would pass the cache line around. The budget is put into memory that cannot be written, where any
// store and any compare-and-swap faults.
func TestSuccessOnAFullBudgetWritesNothing(t *testing.T) {
	page, err := syscall.Mmap(-1, 0, syscall.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	defer func() { require.NoError(t, syscall.Munmap(page)) }()

	full := NewBudget(DefaultBudgetCapacity, DefaultBudgetRefill)
	copy(page, unsafe.Slice((*byte)(unsafe.Pointer(full)), unsafe.Sizeof(*full)))
	require.NoError(t, syscall.Mprotect(page, syscall.PROT_READ))
	frozen := (*Budget)(unsafe.Pointer(&page[0]))

	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	require.NotPanics(t, frozen.Success)
	require.Panics(t, func() { frozen.Spend() }, "the memory is not protected, so the test proves nothing")
}
