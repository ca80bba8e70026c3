//go:build !linux

package main

import (
	"errors"
	"fmt"
)

// pin confines this process to one processor, which only Linux can do.
func pin(int) error { return fmt.Errorf("-processors: %w", errors.ErrUnsupported) }
