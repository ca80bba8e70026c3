package main

import (
	"fmt"
	"time"
)

// openRow is a line of the open loop's report. See the command's documentation for what the numbers are.
type openRow struct {
	Operation string `json:"op"`
	Slow      string `json:"slow"`
	Hedging   string `json:"hedging"`
	Rate      int    `json:"rate_per_s"`
	PerSecond number `json:"ops_per_s"`
	P50       number `json:"p50_us"`
	P99       number `json:"p99_us"`
	P999      number `json:"p999_us"`
	Max       number `json:"max_us"`
	ExtraLoad number `json:"extra_load"`
	Hedges    uint64 `json:"hedges"`
	HedgesWon uint64 `json:"hedges_won"`
	Late      number `json:"late_p99_us"`
	CPU       number `json:"cpu_us_per_op"`
	ServerCPU number `json:"server_cpu_us_per_op"`
	Failed    int    `json:"failed"`
	Overflow  int    `json:"overflow"`
}

var openColumns = []column[openRow]{
	{"operation", -9, func(r *openRow) string { return r.Operation }},
	{"slow", -14, func(r *openRow) string { return orDash(r.Slow) }},
	{"hedging", -8, func(r *openRow) string { return r.Hedging }},
	{"rate/s", 7, func(r *openRow) string { return number(r.Rate).text(0) }},
	{"ops/s", 7, func(r *openRow) string { return r.PerSecond.text(0) }},
	{"p50 us", 8, func(r *openRow) string { return r.P50.text(1) }},
	{"p99 us", 9, func(r *openRow) string { return r.P99.text(1) }},
	{"p99.9 us", 9, func(r *openRow) string { return r.P999.text(1) }},
	{"max us", 9, func(r *openRow) string { return r.Max.text(1) }},
	{"extra load", 10, func(r *openRow) string { return (100 * r.ExtraLoad).text(2) + "%" }},
	{"hedges", 7, func(r *openRow) string { return fmt.Sprint(r.Hedges) }},
	{"won", 7, func(r *openRow) string { return fmt.Sprint(r.HedgesWon) }},
	{"late p99 us", 11, func(r *openRow) string { return r.Late.text(1) }},
	{"CPU us/op", 9, func(r *openRow) string { return r.CPU.text(2) }},
	{"server CPU us/op", 16, func(r *openRow) string { return r.ServerCPU.text(2) }},
	{"failed", 6, func(r *openRow) string { return fmt.Sprint(r.Failed) }},
	{"overflow", 8, func(r *openRow) string { return fmt.Sprint(r.Overflow) }},
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// summarizeOpen makes a row of the slices of one contender, all together.
func summarizeOpen(c *openContender, rate int, rounds []*openSlice) openRow {
	total := sumOf(rounds)
	micros := func(nanoseconds int64) number { return number(float64(nanoseconds) / float64(time.Microsecond)) }
	perOperation := func(amount number) number { return amount / number(total.begun()) }
	return openRow{
		Operation: "open_get", Slow: c.slow.String(), Hedging: c.hedging.name, Rate: rate,
		PerSecond: number(float64(total.succeeded) / total.elapsed.Seconds()),
		P50:       micros(total.latency.ValueAtPercentile(50)),
		P99:       micros(total.latency.ValueAtPercentile(99)),
		P999:      micros(total.latency.ValueAtPercentile(99.9)),
		Max:       micros(total.latency.Max()),
		ExtraLoad: perOperation(total.server.Reads) - 1,
		Hedges:    total.hedges,
		HedgesWon: total.hedgesWon,
		Late:      micros(total.late.ValueAtPercentile(99)),
		CPU:       perOperation(number(total.cpu * 1e6)),
		ServerCPU: perOperation(total.server.CPUSeconds * 1e6),
		Failed:    total.failed, Overflow: total.overflow,
	}
}

// begun is how many operations were begun.
func (s *openSlice) begun() int { return s.succeeded + s.failed }

// sumOf puts slices together. Tails need all samples there are.
func sumOf(rounds []*openSlice) *openSlice {
	total := sumUp(nil, 0)
	for _, s := range rounds {
		total.arrived += s.arrived
		total.succeeded += s.succeeded
		total.failed += s.failed
		total.overflow += s.overflow
		total.hedges += s.hedges
		total.hedgesWon += s.hedgesWon
		total.elapsed += s.elapsed
		total.cpu += s.cpu
		total.server.CPUSeconds += s.server.CPUSeconds
		total.server.Reads += s.server.Reads
		total.latency.Merge(s.latency)
		total.late.Merge(s.late)
		if s.failure != nil {
			total.failure = s.failure
		}
	}
	return total
}
