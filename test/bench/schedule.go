package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// schedule is when the operations of an open loop begin, counted from the beginning of the slice, in
// order. It is made beforehand: nothing that happens later can move an arrival.
type schedule []time.Duration

// arrivals makes a schedule of so many operations per second.
type arrivals struct {
	name string
	make func(rate int, duration time.Duration, random *rand.Rand) schedule
}

var allArrivals = []arrivals{{"poisson", poisson}, {"even", evenly}}

// poisson lets operations arrive as independent users do: how long it is to the next says nothing about
// the past. The number of arrivals varies like that of users.
func poisson(rate int, duration time.Duration, random *rand.Rand) schedule {
	s := make(schedule, 0, expected(rate, duration))
	mean := float64(time.Second) / float64(rate)
	for at := random.ExpFloat64() * mean; at < float64(duration); at += random.ExpFloat64() * mean {
		s = append(s, time.Duration(at))
	}
	return s
}

// evenly lets operations arrive at equal distances, the first at once. The distances are not rounded, so
// that the last arrivals are no less exact than the first.
func evenly(rate int, duration time.Duration, _ *rand.Rand) schedule {
	s := make(schedule, expected(rate, duration))
	for i := range s {
		whole, part := i/rate, i%rate
		s[i] = time.Duration(whole)*time.Second + time.Duration(part)*time.Second/time.Duration(rate)
	}
	return s
}

// expected is how many operations arrive in the given time on average, rounded up.
func expected(rate int, duration time.Duration) int64 {
	whole, part := int64(duration/time.Second), duration%time.Second
	return int64(rate)*whole + int64((part*time.Duration(rate)+time.Second-1)/time.Second)
}

func parseArrivals(name string) (arrivals, error) {
	i := slices.IndexFunc(allArrivals, func(a arrivals) bool { return a.name == name })
	if i < 0 {
		return arrivals{}, fmt.Errorf("-arrivals: %q is neither poisson nor even", name)
	}
	return allArrivals[i], nil
}
