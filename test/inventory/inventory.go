// Package inventory lists the tests of this module, for tables and documents that name them: a test
// that is renamed or removed must not leave them claiming what nobody shows any more.
package inventory

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Inventory knows which test functions there are: tests, benchmarks, fuzz targets and examples.
type Inventory struct {
	folders map[string][]string // by the function's name; slash-separated, relative to the module
}

// Take reads the test files of the module that the current directory belongs to, those of modules
// inside it included.
func Take() (*Inventory, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	inventory := &Inventory{folders: map[string][]string{}}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		return inventory.read(path, filepath.ToSlash(folder))
	})
	return inventory, err
}

// Root returns the outermost directory with a go.mod that the current directory is in.
func Root() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	root := ""
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			root = folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			break
		}
		folder = parent
	}
	if root == "" {
		return "", errors.New("inventory: not inside a module")
	}
	return root, nil
}

func (i *Inventory) read(path, folder string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, declaration := range file.Decls {
		if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil && isTest(function.Name.Name) {
			i.folders[function.Name.Name] = append(i.folders[function.Name.Name], folder)
		}
	}
	return nil
}

func isTest(name string) bool {
	for _, prefix := range []string{"Test", "Benchmark", "Fuzz", "Example"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Has says whether a folder, such as "pkg/rpc", has a test function of that name.
func (i *Inventory) Has(folder, name string) bool { return slices.Contains(i.folders[name], folder) }

// Names returns the names of all test functions that begin with prefix, in alphabetical order.
func (i *Inventory) Names(prefix string) (names []string) {
	for name := range i.folders {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
