package onebox

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// throttleKind is what a throttle counts.
type throttleKind int

const (
	throttleReads throttleKind = iota
	throttleWrites
	throttleWriteSize // bytes of bodies
	throttleBackups
	throttleKinds
)

// throttling is what a table environment variable says about one kind; 0 units mean no rule
// (docs/protocol.md, throttling envs).
type throttling struct {
	delay, reject throttleRule
}

// throttleRule says what happens to what exceeds so many units in a second.
type throttleRule struct {
	units int64
	after time.Duration
}

// parseThrottling reads "<units>*delay*<ms>,<units>*reject*<ms>", either part or both. Each of the
// partitions gets its share.
func parseThrottling(value string, partitions int) (*throttling, error) {
	t := &throttling{}
	for part := range strings.SplitSeq(value, ",") {
		fields := strings.Split(strings.TrimSpace(part), "*")
		if len(fields) != 3 {
			return nil, fmt.Errorf("%w: throttling %q", ErrEnvironment, value)
		}
		units, unitsErr := parseUnits(fields[0])
		millis, millisErr := strconv.ParseUint(fields[2], 10, 31)
		rule := map[string]*throttleRule{"delay": &t.delay, "reject": &t.reject}[fields[1]]
		if unitsErr != nil || millisErr != nil || rule == nil || rule.units != 0 {
			return nil, fmt.Errorf("%w: throttling %q", ErrEnvironment, value)
		}
		*rule = throttleRule{units/int64(partitions) + 1, time.Duration(millis) * time.Millisecond}
	}
	return t, nil
}

// parseUnits reads a number that may end in K or M.
func parseUnits(text string) (int64, error) {
	shift := 0
	switch {
	case strings.HasSuffix(text, "K"):
		text, shift = text[:len(text)-1], 10
	case strings.HasSuffix(text, "M"):
		text, shift = text[:len(text)-1], 20
	}
	units, err := strconv.ParseUint(text, 10, 63-shift)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	return int64(units) << shift, nil
}

// throttles are the counters of a replica. The zero value has counted nothing.
type throttles struct {
	mu       sync.Mutex
	counters [throttleKinds]struct{ second, units int64 }
	bytes    bucket
}

// bucket holds the bytes that may be read now. It may be overdrawn.
type bucket struct {
	tokens   float64
	refilled time.Time
}

func (b *bucket) refill(rate float64, now time.Time) {
	if passed := now.Sub(b.refilled).Seconds(); passed > 0 {
		b.tokens, b.refilled = math.Min(rate, b.tokens+passed*rate), now
	}
}

// readable tells whether the replica may read anything now, by the rate in bytes per second.
func (t *throttles) readable(rate float64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes.refill(rate, now)
	return t.bytes.tokens > 0
}

// charge takes bytes that were read.
func (t *throttles) charge(bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes.tokens -= float64(bytes)
}

// admit decides about a request of so many units. Units that are rejected do not count.
func (t *throttles) admit(kind throttleKind, limit *throttling, units int, now time.Time, timeout int32) verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	counter := &t.counters[kind]
	if second := now.Unix(); second != counter.second {
		counter.second, counter.units = second, 0
	}
	total := counter.units + int64(units)
	if limit.reject.units > 0 && total > limit.reject.units {
		return verdict{name: wire.ErrBusy, after: limit.reject.within(timeout)}
	}
	counter.units = total
	if limit.delay.units > 0 && total > limit.delay.units {
		return verdict{later: true, after: limit.delay.within(timeout)}
	}
	return admitted
}

// within returns the delay, at most half of the client's timeout in milliseconds if there is one.
func (r throttleRule) within(timeout int32) time.Duration {
	if timeout > 0 {
		return min(r.after, time.Duration(timeout)*time.Millisecond/2)
	}
	return r.after
}
