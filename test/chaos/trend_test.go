package chaos

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// series is a quantity sampled over time.
type series struct {
	name, unit string
	allowance  float64 // how much it may rise whatever its size
	values     []float64
}

// secondHalf returns the samples, and their moments, of the second half of the time.
func (s *series) secondHalf(at []time.Duration) (values []float64, moments []time.Duration) {
	first, _ := slices.BinarySearch(at, at[len(at)-1]/2)
	return s.values[first:], at[first:]
}

// rise returns by how much the trend rises in the given samples, and by how much it may.
func (s *series) rise(values []float64, at []time.Duration) (rises, may float64) {
	var sum float64
	for _, value := range values {
		sum += value
	}
	return slope(values, at) * (at[len(at)-1] - at[0]).Seconds(), sum/float64(len(values))/10 + s.allowance
}

// slope returns the median of the slopes, per second, between any two samples: unlike the slope of
// least squares, it does not depend on the few samples that are far off.
func slope(values []float64, at []time.Duration) float64 {
	var slopes []float64
	for i := range values {
		for j := range i {
			slopes = append(slopes, (values[i]-values[j])/(at[i]-at[j]).Seconds())
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2]
}

// Sizes of a plot, in pixels.
const (
	plotWidth, plotHeight = 900, 160
	plotMargin            = 30
)

// plot draws the series one below the other, from zero, as an SVG image.
func plot(all []*series, at []time.Duration) string {
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth+2*plotMargin, len(all)*(plotHeight+2*plotMargin))
	fmt.Fprintln(&svg, `<rect width="100%" height="100%" fill="white"/>`)
	for i, s := range all {
		top := i*(plotHeight+2*plotMargin) + plotMargin
		most := max(slices.Max(s.values), 1)
		fmt.Fprintf(&svg, `<text x="%d" y="%d">%s, at most %.4g %s, over %v</text>`+"\n",
			plotMargin, top-8, s.name, most, s.unit, at[len(at)-1].Truncate(time.Second))
		fmt.Fprintf(&svg, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="silver"/>`+"\n", plotMargin, top, plotWidth, plotHeight)
		var points []string
		for j, value := range s.values {
			x := plotMargin + plotWidth*at[j].Seconds()/math.Max(at[len(at)-1].Seconds(), 1e-9)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, float64(top)+plotHeight*(1-value/most)))
		}
		fmt.Fprintf(&svg, `<polyline fill="none" stroke="steelblue" stroke-width="1.5" points="%s"/>`+"\n", strings.Join(points, " "))
	}
	return svg.String() + "</svg>\n"
}

// seconds returns as many moments, a second apart.
func seconds(count int) (at []time.Duration) {
	for i := range count {
		at = append(at, time.Duration(i+1)*time.Second)
	}
	return at
}

func TestSlope(t *testing.T) {
	require.Zero(t, slope([]float64{5}, seconds(1)))
	require.InDelta(t, 2, slope([]float64{1, 3, 5, 7}, seconds(4)), 1e-9)
	require.InDelta(t, 0, slope([]float64{5, 5, 900, 5, 5, 5, 5}, seconds(7)), 1e-9, "one is far off")
	require.InDelta(t, -1, slope([]float64{9, 8, 7, 600, 5, 4, 3}, seconds(7)), 1e-9)
}

func TestRise(t *testing.T) {
	at := seconds(20)
	leaking := &series{values: make([]float64, 20), allowance: 1}
	for i := range leaking.values {
		leaking.values[i] = 100 + 3*float64(i)
	}
	values, moments := leaking.secondHalf(at)
	require.Len(t, values, 11)
	rises, may := leaking.rise(values, moments)
	require.InDelta(t, 30, rises, 1e-9)
	require.Less(t, may, rises)

	growsAtFirst := &series{values: append([]float64{1, 20, 50, 70, 90, 95, 99, 100, 100}, slices.Repeat([]float64{100, 102}, 6)[:11]...), allowance: 1}
	rises, may = growsAtFirst.rise(growsAtFirst.secondHalf(at))
	require.Less(t, rises, may)
}

func TestPlot(t *testing.T) {
	svg := plot([]*series{{name: "memory", unit: "MiB", values: []float64{0, 5, 10}}, {name: "goroutines", values: []float64{0, 0, 0}}}, seconds(3))
	require.True(t, strings.HasPrefix(svg, "<svg ") && strings.HasSuffix(svg, "</svg>\n"))
	require.Equal(t, 2, strings.Count(svg, "<polyline"))
	require.Contains(t, svg, `points="330.0,190.0 630.0,110.0 930.0,30.0"`)
	require.NotContains(t, svg, "NaN")
}
