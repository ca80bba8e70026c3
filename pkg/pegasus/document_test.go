package pegasus_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// operationsDocument describes every operation of this package.
const operationsDocument = "../../docs/operations.md"

func readDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(operationsDocument)
	require.NoError(t, err)
	return string(text)
}

// parseFiles returns the syntax trees of this directory's files whose names match one of the patterns.
func parseFiles(t *testing.T, files *token.FileSet, pattern string) (parsed []*ast.File) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	require.NoError(t, err)
	for _, name := range names {
		file, err := parser.ParseFile(files, name, nil, parser.ParseComments)
		require.NoError(t, err)
		parsed = append(parsed, file)
	}
	return parsed
}

// bodies returns the lines of the examples that are run.
func bodies(t *testing.T) (examples [][]string) {
	t.Helper()
	files := token.NewFileSet()
	for _, example := range doc.Examples(parseFiles(t, files, "*example*_test.go")...) {
		if example.Output == "" {
			continue
		}
		begin, end := files.Position(example.Code.Pos()), files.Position(example.Code.End())
		source, err := os.ReadFile(begin.Filename)
		require.NoError(t, err)
		examples = append(examples, strings.Split(string(source[begin.Offset:end.Offset]), "\n"))
	}
	return examples
}

// contains says whether the quoted lines follow one another somewhere in the example, indented anyhow.
func contains(example, quoted []string) bool {
	for i := range example[:max(0, len(example)-len(quoted)+1)] {
		indentation, found := strings.CutSuffix(example[i], quoted[0])
		for j := 0; found && j < len(quoted); j++ {
			blank := quoted[j] == "" && example[i+j] == ""
			found = blank || example[i+j] == indentation+quoted[j]
		}
		if found && strings.Trim(indentation, "\t") == "" {
			return true
		}
	}
	return false
}

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)\n```$")

// TestDocumentQuotesExamples makes sure that the Go code of the document compiles and does what it says:
// each piece is from an example of this package that is run, and whose output is checked.
func TestDocumentQuotesExamples(t *testing.T) {
	examples := bodies(t)
	require.NotEmpty(t, examples)
	quotes := goBlock.FindAllStringSubmatch(readDocument(t), -1)
	require.NotEmpty(t, quotes)
	for _, quote := range quotes {
		lines := strings.Split(quote[1], "\n")
		found := false
		for _, example := range examples {
			found = found || contains(example, lines)
		}
		if !found {
			t.Errorf("not in any example of this package:\n%s", quote[1])
		}
	}
	require.Equal(t, len(quotes), strings.Count(readDocument(t), "```go"), "a block that is not closed")
}

// TestDocumentIsComplete makes sure that no operation and no error is forgotten: every method of Table has
// a heading, every error of the package is mentioned.
func TestDocumentIsComplete(t *testing.T) {
	text := readDocument(t)
	headings := strings.Join(regexp.MustCompile(`(?m)^### .*$`).FindAllString(text, -1), "\n")
	for table, i := reflect.TypeFor[*pegasus.Table](), 0; i < table.NumMethod(); i++ {
		if name := table.Method(i).Name; name != "Name" && name != "Close" {
			require.Regexp(t, `\b`+name+`\b`, headings, "Table.%s", name)
		}
	}
	for _, name := range errorNames(t) {
		require.True(t, strings.Contains(text, "`"+name+"`"), "%s is not described", name)
	}
}

// errorNames returns the names of the package's errors, with a star before types.
func errorNames(t *testing.T) (names []string) {
	t.Helper()
	add := func(id *ast.Ident, is bool, prefix string) {
		if is && id.IsExported() {
			names = append(names, prefix+id.Name)
		}
	}
	for _, file := range parseFiles(t, token.NewFileSet(), "*.go") {
		for _, declaration := range file.Decls {
			group, _ := declaration.(*ast.GenDecl)
			if group == nil {
				continue
			}
			for _, spec := range group.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					add(spec.Names[0], strings.HasPrefix(spec.Names[0].Name, "Err"), "")
				case *ast.TypeSpec:
					add(spec.Name, strings.HasSuffix(spec.Name.Name, "Error"), "*")
				}
			}
		}
	}
	require.Contains(t, names, "ErrNotFound")
	require.Contains(t, names, "*StatusError")
	return names
}

// TestDocumentLinks makes sure that links within the document lead somewhere.
func TestDocumentLinks(t *testing.T) {
	text := readDocument(t)
	anchors := make(map[string]bool)
	for _, heading := range regexp.MustCompile(`(?m)^##+ (.*)$`).FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	for _, link := range regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1) {
		require.Contains(t, anchors, link[1])
	}
	for _, link := range regexp.MustCompile(`\]\(([^#):]+)\)`).FindAllStringSubmatch(text, -1) {
		require.FileExists(t, filepath.Join(filepath.Dir(operationsDocument), link[1]))
	}
}

// TestQuotes shows what counts as a quotation.
func TestQuotes(t *testing.T) {
	example := strings.Split("{\n\ta()\n\tfor {\n\t\tb()\n\n\t\tc()\n\t}\n}", "\n")
	for quoted, want := range map[string]bool{
		"a()": true, "a()\nfor {": true, "b()\n\nc()": true, "for {\n\tb()": true,
		"b()": true, "()": false, "b()\nc()": false, "b()\n\n\tc()": false, "d()": false,
		"b()\n\nc()\n}\n}\n}": false,
	} {
		require.Equal(t, want, contains(example, strings.Split(quoted, "\n")), "%q", quoted)
	}
}
