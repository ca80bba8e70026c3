package defects

import (
	"go/format"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/test/inventory"
)

// TestDocumentsNameTests checks that every test that a document, or what a package says of itself, names
// exists.
func TestDocumentsNameTests(t *testing.T) {
	root, err := inventory.Root()
	require.NoError(t, err)
	tests, err := inventory.Take()
	require.NoError(t, err)
	named := 0
	for _, pattern := range []string{"docs/*.md", "pkg/*/doc.go", "pkg/rpc/wire/doc.go", "test/*/doc.go"} {
		documents, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		require.NoError(t, err)
		require.NotEmpty(t, documents, pattern)
		for _, document := range documents {
			text, err := os.ReadFile(document)
			require.NoError(t, err)
			for _, name := range testName.FindAllString(string(text), -1) {
				require.True(t, slices.Contains(tests.Names(name), name), "%s: there is no %s", document, name)
				named++
			}
		}
	}
	require.Greater(t, named, 150)
}

// TestFileMapIsComplete checks that the file map of docs/design.md leads to every file of the library, and
// nowhere else. A name without a folder is in that of the one before it.
func TestFileMapIsComplete(t *testing.T) {
	root, err := inventory.Root()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "docs", "design.md"))
	require.NoError(t, err)
	_, files, found := strings.Cut(string(text), "\n## File map\n")
	require.True(t, found)
	files, _, _ = strings.Cut(files, "\n## ")
	mapped, folder, quoted := map[string]bool{}, "", regexp.MustCompile("`([^`\n]+)`")
	for _, match := range quoted.FindAllStringSubmatch(files, -1) {
		if strings.Contains(match[1], "/") {
			folder = path.Dir(match[1])
		}
		paths, err := filepath.Glob(filepath.Join(root, folder, path.Base(match[1])))
		require.NoError(t, err)
		require.NotEmpty(t, paths, "there is no %s in %s", match[1], folder)
		for _, file := range paths {
			mapped[file] = true
		}
	}
	for file := range library(t) {
		require.True(t, mapped[file] || filepath.Base(file) == "doc.go", "the file map lacks %s", file)
	}
}

// TestReadmeCompiles has the compiler and vet look at the program in README.md, which users copy.
func TestReadmeCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a program")
	}
	root, err := inventory.Root()
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	_, program, found := strings.Cut(string(text), "```go\n")
	require.True(t, found)
	program, _, found = strings.Cut(program, "```\n")
	require.True(t, found)
	formatted, err := format.Source([]byte(program))
	require.NoError(t, err)
	require.Equal(t, string(formatted), program)
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	command := exec.CommandContext(t.Context(), "go", "vet", file)
	command.Dir = root // for the module that it imports
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
}
