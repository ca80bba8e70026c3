package defects

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/inventory"
)

const module = "github.com/bridle-kv/bridle/"

// TestDefect45FewDependencies reads what the library imports: the standard library and two packages
// that import nothing else. Whatever else the module requires is for its tests.
func TestDefect45FewDependencies(t *testing.T) {
	allowed := []string{"go.uber.org/atomic", "github.com/cenkalti/backoff/v4"}
	seen := map[string]bool{}
	for name, file := range library(t) {
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			first, _, _ := strings.Cut(path, "/")
			if strings.HasPrefix(path, module+"pkg/") || !strings.Contains(first, ".") {
				continue
			}
			require.Contains(t, allowed, path, name)
			seen[path] = true
		}
	}
	require.Len(t, seen, len(allowed), "the files that were read are not all")
}

// TestDefect46NothingHappensOnImport checks that no package of the library has code that runs before
// somebody calls it, logs by itself, or uses more of package os than its errors: no files, no exit.
func TestDefect46NothingHappensOnImport(t *testing.T) {
	for name, file := range library(t) {
		for _, spec := range file.Imports {
			require.NotEqual(t, `"log"`, spec.Path.Value, name)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.FuncDecl:
				require.False(t, node.Recv == nil && node.Name.Name == "init", name)
			case *ast.SelectorExpr:
				if from, ok := node.X.(*ast.Ident); ok && from.Name == "os" {
					require.Contains(t, node.Sel.Name, "Err", name)
				}
			}
			return true
		})
	}
}

// library returns the files of the packages that users import.
func library(t *testing.T) map[string]*ast.File {
	t.Helper()
	root, err := inventory.Root()
	require.NoError(t, err)
	files := map[string]*ast.File{}
	err = filepath.WalkDir(filepath.Join(root, "pkg"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files[path], err = parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}
