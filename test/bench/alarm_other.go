//go:build !linux

package main

import "time"

// An alarm lets one goroutine sleep.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

// sleep returns after so many nanoseconds, at least one.
func (*alarm) sleep(nanoseconds int64) error {
	timer := time.NewTimer(time.Duration(nanoseconds))
	<-timer.C
	return nil
}

func (*alarm) close() error { return nil }
