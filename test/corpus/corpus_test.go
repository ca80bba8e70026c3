package corpus

import (
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// generated are the inputs of FuzzArguments.
var generated = map[string]Inputs{"FuzzArguments": {
	"one_of_each": {[]byte("\x00\xff`\"\n"), "\x00\xff`\"\n", byte(0xff), uint16(0xffff), -1, true},
	"zeros":       {[]byte{}, "", byte(0), uint16(0), 0, false},
}}

func TestCorpora(t *testing.T) { Verify(t, generated) }

// FuzzArguments takes arguments of all types. Those of the committed files arrive as they were generated.
func FuzzArguments(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte, text string, b byte, u uint16, i int, is bool) {
		if want, ok := generated["FuzzArguments"][path.Base(t.Name())]; ok {
			require.Equal(t, want, Input{data, text, b, u, i, is})
		}
	})
}

func TestDifferences(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "FuzzX")
	faults := func(inputs Inputs) []string {
		t.Helper()
		faults, err := compare(folder, inputs)
		require.NoError(t, err)
		return faults
	}
	first := Inputs{"a": {1}, "b": {2}}
	require.Equal(t, []string{"a is missing; see -update", "b is missing; see -update"}, faults(first))
	require.NoError(t, write(folder, first))
	require.Empty(t, faults(first))

	require.NoError(t, os.WriteFile(filepath.Join(folder, "found_it"), nil, 0o600))
	require.Empty(t, faults(first))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "771e938e4458e983"), nil, 0o600))
	second := Inputs{"a": {true}, "c": {3}}
	require.Equal(t, []string{
		"771e938e4458e983 is not generated; if the fuzzer found it, call it found_what_it_is",
		"a is out of date; see -update",
		"b is not generated; if the fuzzer found it, call it found_what_it_is",
		"c is missing; see -update",
	}, faults(second))

	require.NoError(t, write(folder, second))
	require.Empty(t, faults(second))
	left, err := list(folder)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "c", "found_it"}, left)
}

func TestUnknownType(t *testing.T) {
	inputs := Inputs{"a": {1.5}}
	_, err := compare(t.TempDir(), inputs)
	require.ErrorContains(t, err, "float64")
	require.Error(t, write(t.TempDir(), inputs))
}

func TestDeclaredTargets(t *testing.T) {
	names, err := declaredTargets(".")
	require.NoError(t, err)
	require.Equal(t, []string{"FuzzArguments"}, names)
}
