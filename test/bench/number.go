package main

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
)

// number is a measured quantity. JSON shows it with four decimals, or as null if it is not available.
type number float64

// notAvailable stands for a number that cannot be had. Whatever is computed with it is not available
// either.
var notAvailable = math.NaN()

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'f', 4, 64), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*n = number(notAvailable)
		return nil
	}
	return json.Unmarshal(data, (*float64)(n))
}

// text returns the number with so many decimals, and commas between thousands, or "-".
func (n number) text(decimals int) string {
	if math.IsNaN(float64(n)) {
		return "-"
	}
	digits := strconv.FormatFloat(float64(n), 'f', decimals, 64)
	whole := len(digits)
	if decimals > 0 {
		whole -= decimals + 1
	}
	for i := whole - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// median returns the middle one of the values, or the mean of the two in the middle. There must be
// one; a value that is not available makes the median so.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if math.IsNaN(sorted[0]) { // they sort first
		return notAvailable
	}
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
