package chaos

import (
	"flag"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Flags; see the package's documentation.
var (
	firstSeed = flag.Uint64("seed", 1, "first seed")
	seedCount = flag.Int("seeds", 4, "how many seeds, one after the other")
	perSeed   = flag.Duration("duration", 1200*time.Millisecond, "how long the faults of one seed go on")
	soakFor   = flag.Duration("soak", 0, "run TestSoak for so long")
	plotFile  = flag.String("svg", "", "file in which TestSoak plots its samples")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
