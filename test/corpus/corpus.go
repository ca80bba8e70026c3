package corpus

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated inputs of fuzz targets")

// Found is how the names of files begin that the fuzzer found.
const Found = "found_"

// Input is the arguments of a fuzz target, in order: of the types that its function takes.
type Input []any

// Inputs are the generated inputs of one target, by name. A name is a file's name.
type Inputs map[string]Input

// Verify fails the test unless the files of the package in the current directory are the given ones, and every target
// of the package has some. With the flag -update it writes them, and removes those that nobody generates any more.
func Verify(t *testing.T, targets map[string]Inputs) {
	t.Helper()
	declared, err := declaredTargets(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range declared {
		if len(targets[target]) == 0 {
			t.Errorf("nothing is generated for %s", target)
		}
	}
	for target, inputs := range targets {
		if !slices.Contains(declared, target) {
			t.Errorf("there is no %s", target)
			continue
		}
		folder := filepath.Join("testdata", "fuzz", target)
		if *update {
			if err := write(folder, inputs); err != nil {
				t.Fatal(err)
			}
		}
		faults, err := compare(folder, inputs)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range faults {
			t.Errorf("%s: %s", target, fault)
		}
	}
}

var declaration = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(\w+ \*testing\.F\)`)

// declaredTargets returns the names of the fuzz targets in a folder.
func declaredTargets(folder string) (names []string, err error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, match := range declaration.FindAllSubmatch(source, -1) {
			names = append(names, string(match[1]))
		}
	}
	return names, nil
}

// encode returns the content of a file, in the form that go test writes.
func encode(input Input) ([]byte, error) {
	text := bytes.NewBufferString("go test fuzz v1\n")
	for _, argument := range input {
		switch a := argument.(type) {
		case []byte:
			fmt.Fprintf(text, "[]byte(%q)\n", a)
		case string:
			fmt.Fprintf(text, "string(%q)\n", a)
		case byte:
			fmt.Fprintf(text, "byte(%q)\n", a)
		case uint16, int, bool:
			fmt.Fprintf(text, "%T(%v)\n", a, a)
		default:
			return nil, fmt.Errorf("corpus: no argument is of type %T", argument)
		}
	}
	return text.Bytes(), nil
}

// compare says how the files in a folder differ from the inputs.
func compare(folder string, inputs Inputs) (faults []string, err error) {
	names, err := list(folder)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if inputs[name] == nil && !strings.HasPrefix(name, Found) {
			faults = append(faults, fmt.Sprintf("%s is not generated; if the fuzzer found it, call it %swhat_it_is", name, Found))
		}
	}
	for name, input := range inputs {
		want, err := encode(input)
		if err != nil {
			return nil, err
		}
		switch got, err := os.ReadFile(filepath.Join(folder, name)); {
		case errors.Is(err, fs.ErrNotExist):
			faults = append(faults, name+" is missing; see -update")
		case err != nil:
			return nil, err
		case !bytes.Equal(got, want):
			faults = append(faults, name+" is out of date; see -update")
		}
	}
	slices.Sort(faults)
	return faults, nil
}

// write makes the files in a folder those that it should have, but for those that the fuzzer found.
func write(folder string, inputs Inputs) error {
	names, err := list(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		if inputs[name] == nil && !strings.HasPrefix(name, Found) {
			if err := os.Remove(filepath.Join(folder, name)); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for name, input := range inputs {
		content, err := encode(input)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// list returns the names of the files in a folder, which need not exist.
func list(folder string) (names []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names, nil
}
