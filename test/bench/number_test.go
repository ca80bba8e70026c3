package main

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNumberAsJSON(t *testing.T) {
	text, err := json.Marshal([]number{1, 0.25, 123456.78901, number(notAvailable)})
	require.NoError(t, err)
	require.Equal(t, "[1.0000,0.2500,123456.7890,null]", string(text))

	var numbers []number
	require.NoError(t, json.Unmarshal([]byte("[1.5,null]"), &numbers))
	require.InDelta(t, 1.5, float64(numbers[0]), 0)
	require.True(t, math.IsNaN(float64(numbers[1])))
	require.Error(t, json.Unmarshal([]byte(`["x"]`), &numbers))

	_, err = json.Marshal(number(math.Inf(1)))
	require.Error(t, err)
}

func TestNumberAsText(t *testing.T) {
	for _, test := range []struct {
		n        number
		decimals int
		want     string
	}{
		{0, 0, "0"},
		{999, 0, "999"},
		{1000, 0, "1,000"},
		{1234567, 0, "1,234,567"},
		{123456.78, 1, "123,456.8"},
		{0.0049, 2, "0.00"},
		{number(notAvailable), 2, "-"},
	} {
		require.Equal(t, test.want, test.n.text(test.decimals))
	}
}

func TestMedian(t *testing.T) {
	values := []float64{5, 1, 3}
	require.InDelta(t, 3, median(values), 0)
	require.Equal(t, []float64{5, 1, 3}, values, "left as they were")
	require.InDelta(t, 2.5, median([]float64{4, 1, 3, 2}), 0)
	require.InDelta(t, 7, median([]float64{7}), 0)
	require.True(t, math.IsNaN(median([]float64{1, notAvailable, 2})))
}
