package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// slowness is the distribution of delays of a slow server's answers to reads: shares of the answers and
// how much later they come. The rest is not delayed. Written "10%:20ms,1%:200ms"; "" delays nothing.
type slowness []slowAnswers

type slowAnswers struct {
	percent float64
	delay   time.Duration
}

func parseSlowness(text string) (slowness, error) {
	if text == "" {
		return nil, nil
	}
	var s slowness
	total := 0.0
	for part := range strings.SplitSeq(text, ",") {
		share, delay, _ := strings.Cut(strings.TrimSpace(part), "%:")
		percent, err := strconv.ParseFloat(share, 64)
		if err != nil || !(percent > 0 && percent <= 100) { // so that NaN is refused
			return nil, fmt.Errorf("-slow: %q does not begin with a share of 0%% to 100%%, as in 10%%:20ms", part)
		}
		d, err := time.ParseDuration(delay)
		if err != nil || d <= 0 || d >= greatestLatency {
			return nil, fmt.Errorf("-slow: %q does not end with a delay below %v, as in 10%%:20ms", part, greatestLatency)
		}
		total += percent
		s = append(s, slowAnswers{percent, d})
	}
	if total > 100 {
		return nil, fmt.Errorf("-slow: %v%% of all answers", total)
	}
	return s, nil
}

func (s slowness) String() string {
	parts := make([]string, len(s))
	for i, a := range s {
		parts[i] = fmt.Sprintf("%v%%:%v", a.percent, a.delay)
	}
	return strings.Join(parts, ",")
}

// inject makes a server slow until remedy is called.
func (s slowness) inject(node *onebox.Node) (remedy func()) {
	var removes []func()
	for i, chance := range s.chances() {
		removes = append(removes, node.Inject(onebox.Fault{
			Match: func(r *onebox.Request) bool { return r.Is(wire.Get) && rand.Float64() < chance },
			Delay: s[i].delay,
		}))
	}
	return func() {
		for _, remove := range removes {
			remove()
		}
	}
}

// chances returns the probability of each delay if those before it were not drawn, since the first fault
// that matches is the one that disturbs.
func (s slowness) chances() []float64 {
	chances, left := make([]float64, len(s)), 100.0
	for i, a := range s {
		chances[i] = min(a.percent/left, 1)
		left -= a.percent
	}
	return chances
}
