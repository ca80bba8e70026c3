package main

import "time"

// row is a line of the report. See the command's documentation for what the numbers are.
type row struct {
	Operation      string `json:"op"`
	Callers        int    `json:"callers"`
	PerSecond      number `json:"ops_per_s"`
	FloorRatio     number `json:"floor_ratio"`
	P50            number `json:"p50_us"`
	P99            number `json:"p99_us"`
	P999           number `json:"p999_us"`
	CPU            number `json:"cpu_us_per_op"`
	Allocations    number `json:"allocs_per_op"`
	AllocatedBytes number `json:"bytes_per_op"`
	ServerCPU      number `json:"server_cpu_us_per_op"`
	// MegabytesPerSecond is only available for scans.
	MegabytesPerSecond number `json:"mb_per_s"`
	floorPerSecond     number
}

// summarize makes a row of a contender's slices and the floor's slices of the same rounds.
func summarize(name string, callers int, rounds, base []*slice) row {
	const micros = 1e6 // in a second
	latency := newLatency()
	ratios := make([]float64, len(rounds))
	for i, s := range rounds {
		latency.Merge(s.latency)
		ratios[i] = s.rate() / base[i].rate()
	}
	percentile := func(p float64) number {
		return number(float64(latency.ValueAtPercentile(p)) / float64(time.Microsecond))
	}
	return row{
		Operation: name, Callers: callers,
		PerSecond:      medianOf(rounds, (*slice).rate),
		FloorRatio:     number(median(ratios)),
		P50:            percentile(50),
		P99:            percentile(99),
		P999:           percentile(99.9),
		CPU:            medianOf(rounds, func(s *slice) float64 { return s.perOperation(s.cpu * micros) }),
		Allocations:    medianOf(rounds, func(s *slice) float64 { return s.perOperation(float64(s.mallocs)) }),
		AllocatedBytes: medianOf(rounds, func(s *slice) float64 { return s.perOperation(float64(s.bytes)) }),
		ServerCPU:      medianOf(rounds, func(s *slice) float64 { return s.perOperation(s.serverCPU * micros) }),
		floorPerSecond: medianOf(base, (*slice).rate),
	}
}

func medianOf(rounds []*slice, quantity func(*slice) float64) number {
	values := make([]float64, len(rounds))
	for i, s := range rounds {
		values[i] = quantity(s)
	}
	return number(median(values))
}
