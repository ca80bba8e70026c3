package hostile

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

// Flags; see the package's documentation.
var (
	seed      = flag.Uint64("seed", 1, "seed of the mutations")
	mutations = flag.Int("mutations", 2, "mutations of each recorded response")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
