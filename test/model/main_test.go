package model_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain makes more and longer runs than rapid by itself, unless flags or its environment variables say
// otherwise.
func TestMain(m *testing.M) {
	for variable, byDefault := range map[string]struct{ name, value string }{
		"RAPID_CHECKS": {"rapid.checks", "200"}, "RAPID_STEPS": {"rapid.steps", "40"},
	} {
		if _, set := os.LookupEnv(variable); !set {
			_ = flag.Set(byDefault.name, byDefault.value) // both exist
		}
	}
	goleak.VerifyTestMain(m)
}
