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

	floor   comparison // the floor's numbers
	timesOf comparison // the numbers here as multiples of the floor's
}

// comparison are the numbers that count in relation to the floor's.
type comparison struct{ perSecond, p99, cpu number }

// summarize makes a row of a contender's slices and the floor's slices of the same rounds.
func summarize(name string, callers int, rounds, base []*slice) row {
	latency, floorLatency := newLatency(), newLatency()
	for i, s := range rounds {
		latency.Merge(s.latency)
		floorLatency.Merge(base[i].latency)
	}
	percentile := func(p float64) number { return micros(latency.ValueAtPercentile(p)) }
	r := row{
		Operation: name, Callers: callers,
		PerSecond:      medianOf(rounds, (*slice).rate),
		P50:            percentile(50),
		P99:            percentile(99),
		P999:           percentile(99.9),
		CPU:            medianOf(rounds, (*slice).cpuMicros),
		Allocations:    medianOf(rounds, func(s *slice) float64 { return s.perOperation(float64(s.mallocs)) }),
		AllocatedBytes: medianOf(rounds, func(s *slice) float64 { return s.perOperation(float64(s.bytes)) }),
		ServerCPU:      medianOf(rounds, func(s *slice) float64 { return s.perOperation(s.serverCPU * microsPerSecond) }),
		floor: comparison{
			medianOf(base, (*slice).rate), micros(floorLatency.ValueAtPercentile(99)), medianOf(base, (*slice).cpuMicros),
		},
	}
	r.FloorRatio = medianRatio(rounds, base, (*slice).rate)
	r.timesOf = comparison{r.FloorRatio, r.P99 / r.floor.p99, medianRatio(rounds, base, (*slice).cpuMicros)}
	return r
}

const microsPerSecond = 1e6

func micros(nanoseconds int64) number {
	return number(float64(nanoseconds) / float64(time.Microsecond))
}

// cpuMicros is the processor time of the process per operation.
func (s *slice) cpuMicros() float64 { return s.perOperation(s.cpu * microsPerSecond) }

// medianRatio compares round by round, since a machine that others use has a different speed in each.
func medianRatio(rounds, base []*slice, quantity func(*slice) float64) number {
	ratios := make([]float64, len(rounds))
	for i := range rounds {
		ratios[i] = quantity(rounds[i]) / quantity(base[i])
	}
	return number(median(ratios))
}

func medianOf(rounds []*slice, quantity func(*slice) float64) number {
	values := make([]float64, len(rounds))
	for i, s := range rounds {
		values[i] = quantity(s)
	}
	return number(median(values))
}
