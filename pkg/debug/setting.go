package debug

import (
	"fmt"
	"strconv"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// Setting is one of the client's settings, in words.
type Setting struct {
	// Name is what it is about.
	Name string
	// Value is what was set, or the default.
	Value string
}

// settingsOf picks those that say how the client behaves when servers are slow, busy or away.
func settingsOf(s pegasus.Settings) []Setting {
	return []Setting{
		{"operation timeout", s.OperationTimeout.String()},
		{"try timeout", orElse(s.TryTimeout, "none")},
		{"requests in flight", orElse(s.MaxInFlight, "any number")},
		{"without a place", choose(s.FailFast, "fail", "wait")},
		{"doubtful writes", choose(s.RetryDoubtfulWrites, "repeated if harmless", "not repeated")},
		{"ERR_BUSY", choose(s.Retry.RetryBusy, "retried", "returned")},
		{"adaptive rate", adaptive(s.AdaptiveRate)},
		{"hedged reads", hedged(s.Hedging)},
	}
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// orElse is a value in words, which are special for zero.
func orElse[T int | time.Duration](value T, zero string) string {
	return choose(value == 0, zero, fmt.Sprint(value))
}

func adaptive(a *pegasus.AdaptiveRate) string {
	if a == nil {
		return "off"
	}
	return fmt.Sprintf("× %v when busy, at least %v per second", a.Backoff, a.MinRate)
}

func hedged(h *pegasus.Hedging) string {
	if h == nil {
		return "off"
	}
	after := "p" + strconv.FormatFloat(100*h.Quantile, 'f', -1, 64)
	if h.Delay > 0 {
		after = h.Delay.String()
	}
	return fmt.Sprintf("after %s, at most %v %% of all", after, 100*h.MaxExtraLoad)
}
