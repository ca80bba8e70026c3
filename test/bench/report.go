package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// report prints rows as they come: a table, or JSON lines with everything that is not a row on
// another stream.
type report[Row any] struct {
	out     io.Writer // rows
	words   io.Writer // header and targets
	json    bool
	columns []column[Row]
	rows    []Row
}

func newReport[Row any](s *settings, columns []column[Row], stdout, stderr io.Writer) *report[Row] {
	r := &report[Row]{out: stdout, words: stdout, json: s.json, columns: columns}
	if s.json {
		r.words = stderr
	}
	return r
}

// column is a column of the table.
type column[Row any] struct {
	title string
	width int // negative: to the left
	text  func(r *Row) string
}

var columns = []column[row]{
	{"operation", -15, func(r *row) string { return r.Operation }},
	{"callers", 7, func(r *row) string { return fmt.Sprint(r.Callers) }},
	{"ops/s", 11, func(r *row) string { return r.PerSecond.text(0) }},
	{"MB/s", 6, func(r *row) string { return r.MegabytesPerSecond.text(0) }},
	{"of floor", 8, func(r *row) string { return (100 * r.FloorRatio).text(1) + "%" }},
	{"p50 us", 9, func(r *row) string { return r.P50.text(1) }},
	{"p99 us", 9, func(r *row) string { return r.P99.text(1) }},
	{"p99.9 us", 9, func(r *row) string { return r.P999.text(1) }},
	{"CPU us/op", 9, func(r *row) string { return r.CPU.text(2) }},
	{"allocs/op", 9, func(r *row) string { return r.Allocations.text(3) }},
	{"bytes/op", 8, func(r *row) string { return r.AllocatedBytes.text(1) }},
	{"server CPU us/op", 16, func(r *row) string { return r.ServerCPU.text(2) }},
}

// header prints what is measured where, and the titles of the columns.
func (r *report[Row]) header(lines []string) error {
	fmt.Fprintln(r.words, strings.Join(lines, "\n"))
	if r.json {
		return nil
	}
	fmt.Fprintln(r.out)
	return r.line(func(c column[Row]) string { return c.title })
}

// add prints a row.
func (r *report[Row]) add(line Row) error {
	r.rows = append(r.rows, line)
	if r.json {
		return json.NewEncoder(r.out).Encode(line)
	}
	return r.line(func(c column[Row]) string { return c.text(&line) })
}

func (r *report[Row]) line(cell func(c column[Row]) string) error {
	cells := make([]string, len(r.columns))
	for i, c := range r.columns {
		cells[i] = fmt.Sprintf("%*s", c.width, cell(c))
	}
	_, err := fmt.Fprintln(r.out, strings.Join(cells, "  "))
	return err
}

// targets prints how the rows compare with what was aimed at.
func targets(r *report[row]) {
	fmt.Fprintln(r.words)
	for _, t := range allTargets {
		for i := range r.rows {
			if t.concerns(&r.rows[i]) {
				fmt.Fprintln(r.words, t.verdict(&r.rows[i]))
			}
		}
	}
}
