package defects

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/inventory"
)

var testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark|Example)[A-Z][A-Za-z0-9_]*`)

// TestReliabilityNamesTests checks that what docs/reliability.md claims is shown by tests that exist, in
// every row of its tables of faults.
func TestReliabilityNamesTests(t *testing.T) {
	root, err := inventory.Root()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs", "reliability.md"))
	require.NoError(t, err)
	tests, err := inventory.Take()
	require.NoError(t, err)
	named := testName.FindAllString(string(text), -1)
	require.NotEmpty(t, named)
	for _, name := range named {
		require.True(t, slices.Contains(tests.Names(name), name), "there is no %s", name)
	}
	rows := 0
	for _, table := range strings.Split(string(text), "\n| Fault ")[1:] {
		table, _, _ = strings.Cut(table, "\n\n")
		for _, row := range strings.Split(table, "\n")[2:] {
			require.Regexp(t, testName, row)
			rows++
		}
	}
	require.Greater(t, rows, 20)
}
